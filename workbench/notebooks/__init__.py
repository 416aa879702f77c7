"""Curated notebooks: typed parameters, running them, and a static site of what they said.

from workbench import notebooks
notebooks.check_parameters()          # in a notebook's first cell: an unknown or mistyped parameter is an error
"""

from workbench.notebooks.conclusions import by_slice, chosen, links, pair, paired, routed, to_mend
from workbench.notebooks.execute import find_notebook, run_notebook
from workbench.notebooks.index import load_index, run_all
from workbench.notebooks.inputs import bring_in, numbers, one, priced, share, to_ask
from workbench.notebooks.lines import Lines
from workbench.notebooks.parameters import check_parameters
from workbench.notebooks.site import build_site
from workbench.project import folder

__all__ = [
    "Lines",
    "bring_in",
    "build_site",
    "by_slice",
    "check_parameters",
    "chosen",
    "find_notebook",
    "folder",
    "links",
    "load_index",
    "numbers",
    "one",
    "pair",
    "paired",
    "priced",
    "routed",
    "run_all",
    "run_notebook",
    "share",
    "to_ask",
    "to_mend",
]
