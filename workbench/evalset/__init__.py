"""Eval sets: what is asked. A folder with evalset.yaml, items.jsonl and what they name.

tasks = load_evalsets("evalsets")            # {'support_triage': EvalSet(…), …}
small = tasks["support_triage"].sample(24)   # stratified, the same items every time
"""

from workbench.evalset.corrections import Correction, add_correction
from workbench.evalset.items import Item
from workbench.evalset.load import check_variants, digest_now, load_evalset, load_evalsets, refreshed
from workbench.evalset.model import EvalSet
from workbench.evalset.save import save_evalset, save_items
from workbench.evalset.spec import DEFAULT_MARGIN, EvalSetFile, Limits, Message, Turns, Variant

__all__ = [
    "DEFAULT_MARGIN",
    "Correction",
    "EvalSet",
    "EvalSetFile",
    "Item",
    "Limits",
    "Message",
    "Turns",
    "Variant",
    "add_correction",
    "check_variants",
    "digest_now",
    "load_evalset",
    "load_evalsets",
    "refreshed",
    "save_evalset",
    "save_items",
]
