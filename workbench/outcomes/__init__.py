"""The outcome table, the narrow waist: its schema, reading it from anywhere, writing it privately.

    from workbench.outcomes.table import read_outcomes
    table = read_outcomes("runs/…/outcomes.parquet")       # Parquet, CSV or JSONL, any source
    table.attrs["sample"]                                  # {'support_triage': {'n': 40, 'of': 80}}

One row is one outcome: an item × candidate × repeat after all its attempts. Only `task`, `item_id`, `model` and
`score` are required. What is missing is never read in the permissive sense. A run writes its table as it goes
(`spool`), without pandas; what reads one (`table`) loads it.
"""

from workbench.outcomes.schema import (
    COLUMNS,
    KEY,
    LOST,
    OWN,
    REQUIRED,
    RUN_FILE,
    UNSCORED,
    candidate_id,
    split_candidate,
)

__all__ = ["COLUMNS", "KEY", "LOST", "OWN", "REQUIRED", "RUN_FILE", "UNSCORED", "candidate_id", "split_candidate"]
