"""What other tools keep as metadata of a test: all of an item that they have no place of their own for; in and out.

fields = item_fields({"topic": "billing", "id": "t-7", "tags": ["a"]}, "tests.csv:2", ledger)
# {'id': 't-7', 'slice': {'topic': 'billing'}, …}, and a loss: metadata 'tags' is a list
metadata_of(item, "items.jsonl", ledger, inputs={"text"}, expectations={"answer"})      # … and the other ones of both
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, get_args

from workbench.evalset import Item
from workbench.formats.shared.ledger import Ledger
from workbench.privacy import Sensitivity

OURS = "workbench"  # the key of a row, or its column, with an item's metadata
_OWN = ("id", "cluster", "sensitivity")
BESIDE = ("inputs", "expectations")  # objects of these names are the item's own, as exports of ours write them
_SLICE_LENGTH = 100  # a slice is a group; a longer text is a remark


def item_fields(
    metadata: Mapping[str, Any],
    place: str,
    ledger: Ledger,
    inputs: Mapping[str, Any] | None = None,
    expectations: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """An item's fields out of metadata, with inputs and expectations, also those given; what stays behind is a loss."""
    fields: dict[str, Any] = {"inputs": {}, "expectations": {}}
    slices: dict[str, str] = {}
    for key, value in metadata.items():
        text, lost = scalar_text(value), ""
        if key in BESIDE and isinstance(value, dict):
            fields[key] = dict(value)
        elif key == "sensitivity":
            known = isinstance(value, str) and value in get_args(Sensitivity)
            fields[key] = value if known else "restricted"
            lost = "" if known else "none of public, internal, restricted: taken as restricted"
        elif text is None or (key in _OWN and not text):
            lost = "empty" if value in (None, "") else "a list" if isinstance(value, list) else "an object"
        elif key in _OWN:
            fields[key] = text
        elif len(text) > _SLICE_LENGTH:
            lost = f"a text of more than {_SLICE_LENGTH} characters"
        else:
            slices[str(key)] = text
        if lost:
            ledger.tally(place, f"metadata '{str(key)[:60]}' is {lost}")
    fields["inputs"] |= inputs or {}
    fields["expectations"] |= expectations or {}
    return {**fields, "slice": slices} if slices else fields


def scalar_text(value: Any) -> str | None:
    """A text, number or boolean as the text that other tools show; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def one_or_all(values: list[Any]) -> Any:
    """A value that has several alternatives as a list, and by itself where it has none."""
    return values[0] if len(values) == 1 else values


def metadata_of(
    item: Item, place: str, ledger: Ledger, *, inputs: Collection[str] | None = None, expectations: Collection[str] = ()
) -> dict[str, Any]:
    """An item's id, cluster, sensitivity and slices as flat metadata, and what else of it has no place elsewhere.

    A slice called like one of these is a loss.

    Args:
        inputs: the names of those that are written elsewhere; None where all are.
        expectations: the same of the expectations.
    """
    own: dict[str, Any] = {"id": item.id, "cluster": item.cluster, "sensitivity": item.sensitivity}
    rest = {} if inputs is None else {name: value for name, value in item.inputs.items() if name not in inputs}
    own |= {"inputs": rest or None}
    own["expectations"] = {name: value for name, value in item.expectations.items() if name not in expectations} or None
    for name in item.slice:
        if name in own:
            ledger.tally(place, f"slice '{name}': metadata of this name is the item's own")
    slices = {name: value for name, value in item.slice.items() if name not in own}
    return {**slices, **{key: value for key, value in own.items() if value is not None}}
