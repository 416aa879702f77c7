"""MLflow: a run's figures, traces and links, and the chosen policy, for people to look at and gates to find.

    track_run(run)                              # links in run.links; never loses the run
    pair_link(run, "gemma3-q4", "rules")        # MLflow's side-by-side of two candidates' samples
    register(policy); champion()                # the chosen policy, under an alias

The store is `sqlite:///<root>/mlruns/mlflow.db`, whatever the working directory; `MLFLOW_TRACKING_URI` takes another.
What goes there is redacted: the text of restricted items stays in the journal and the run's Parquet.
"""

from __future__ import annotations

from workbench.tracking.champion import champion, register
from workbench.tracking.links import pair_link
from workbench.tracking.store import EXPERIMENT, Store, local_uri, store_uri
from workbench.tracking.track import fingerprint, track_run

__all__ = [
    "EXPERIMENT",
    "Store",
    "champion",
    "fingerprint",
    "local_uri",
    "pair_link",
    "register",
    "store_uri",
    "track_run",
]
