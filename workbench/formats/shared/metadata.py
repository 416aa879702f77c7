"""What other tools keep as metadata of a test: an item's id, cluster and sensitivity, and its slices.

fields, lost = item_fields({"topic": "billing", "id": "t-7", "tags": ["a"]})
# {'id': 't-7', 'slice': {'topic': 'billing'}}, {'tags': 'a list'}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from workbench.evalset import Item
from workbench.privacy import Sensitivity

RESERVED = ("id", "cluster", "sensitivity")
_SLICE_LENGTH = 100  # a slice is a group; a longer text is a remark


def item_fields(metadata: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """An item's fields out of metadata, and what stays behind: by key, what it is."""
    fields: dict[str, Any] = {}
    slices: dict[str, str] = {}
    lost: dict[str, str] = {}
    for key, value in metadata.items():
        text = scalar_text(value)
        if key == "sensitivity":
            known = isinstance(value, str) and value in get_args(Sensitivity)
            fields[key] = value if known else "restricted"
            lost |= {} if known else {key: "none of public, internal, restricted: taken as restricted"}
        elif text is None or (key in RESERVED and not text):
            empty = value is None or value == ""
            lost[key] = "empty" if empty else "a list" if isinstance(value, list) else "an object"
        elif key in RESERVED:
            fields[key] = text
        elif len(text) > _SLICE_LENGTH:
            lost[key] = f"a text of more than {_SLICE_LENGTH} characters"
        else:
            slices[str(key)] = text
    return ({**fields, "slice": slices} if slices else fields), lost


def scalar_text(value: Any) -> str | None:
    """A text, number or boolean as the text that other tools show; None for anything else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value) if isinstance(value, str | int | float) else None


def metadata_of(item: Item) -> dict[str, Any]:
    """An item's id, cluster, sensitivity and slices as flat metadata."""
    own = {"id": item.id, "cluster": item.cluster, "sensitivity": item.sensitivity}
    return {**item.slice, **{key: value for key, value in own.items() if value is not None}}


def hidden_slices(item: Item) -> Iterator[str]:
    """The slices that flat metadata has no room for: they are called like a field of the item."""
    yield from (name for name in item.slice if name in RESERVED)
