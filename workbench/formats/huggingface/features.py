"""What the columns of a Hugging Face dataset are: the names behind the numbers of a ClassLabel.

features = of_info({"label": {"_type": "ClassLabel", "names": ["neg", "pos"]}})     # or of_readme([...])
decoded({"label": 1}, features)        # {'label': 'pos'}
"""

from __future__ import annotations

import json
from typing import Any

Feature = Any  # a list of names, {"each": Feature} for lists, {"fields": {…}} for objects, or None: as it is
_META = b"huggingface"


def of_info(features: Any) -> dict[str, Feature]:
    """The features of dataset_info.json, or of a file's metadata."""
    return {name: _of_info(about) for name, about in features.items()} if isinstance(features, dict) else {}


def _of_info(about: Any) -> Feature:
    if isinstance(about, list):
        return {"each": _of_info(about[0])} if len(about) == 1 else None
    if not isinstance(about, dict):
        return None
    kind = about.get("_type")
    if kind == "ClassLabel":
        return _names(about.get("names"))
    if kind in ("Sequence", "List", "LargeList"):
        return {"each": _of_info(about.get("feature"))}
    return {"fields": of_info(about)} if kind is None or isinstance(kind, dict) else None


def of_readme(features: Any) -> dict[str, Feature]:
    """The features of a README's front matter."""
    entries = [entry for entry in features if isinstance(entry, dict)] if isinstance(features, list) else []
    return {str(entry.get("name")): _of_readme(entry) for entry in entries}


def _of_readme(entry: dict[str, Any]) -> Feature:
    for key in ("sequence", "list"):
        inner = entry.get(key)
        if isinstance(inner, list):
            return {"each": {"fields": of_readme(inner)}}
        if isinstance(inner, dict):
            return {"each": _of_readme({"dtype": inner} if "class_label" in inner else inner)}
    if isinstance(entry.get("struct"), list):
        return {"fields": of_readme(entry["struct"])}
    kind = entry.get("dtype")
    label = kind.get("class_label") if isinstance(kind, dict) else None
    return _names(label.get("names")) if isinstance(label, dict) else None


def _names(names: Any) -> list[str] | None:
    if isinstance(names, dict):  # the README counts them out: {'0': neg, '1': pos}
        numbered = {str(key): name for key, name in names.items()}
        names = [numbered.get(str(index)) for index in range(len(numbered))]
    if not isinstance(names, list) or not names or None in names:
        return None
    return [str(name).lower() if isinstance(name, bool) else str(name) for name in names]


def of_metadata(metadata: dict[bytes, bytes]) -> dict[str, Feature]:
    """The features that datasets writes into a Parquet or Arrow file."""
    try:
        info = json.loads(metadata.get(_META, b"{}"))
        return of_info(info["info"]["features"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}


def decoded(row: dict[str, Any], features: dict[str, Feature]) -> dict[str, Any]:
    """A row with names for numbers; a number without a name (-1: not labeled) becomes null."""
    return {name: _decoded(value, features.get(name)) for name, value in row.items()}


def _decoded(value: Any, feature: Feature) -> Any:
    if feature is None or value is None:
        return value
    if isinstance(feature, list):
        if not isinstance(value, int) or isinstance(value, bool):
            return value
        return feature[value] if 0 <= value < len(feature) else None
    if "fields" in feature:
        return decoded(value, feature["fields"]) if isinstance(value, dict) else value
    inner = feature["each"]
    if isinstance(value, dict):  # a list of objects is stored as an object of lists
        fields = inner.get("fields", {}) if isinstance(inner, dict) else {}
        return {name: _decoded(each, {"each": fields.get(name)}) for name, each in value.items()}
    return [_decoded(each, inner) for each in value] if isinstance(value, list) else value


def class_names(features: dict[str, Feature]) -> dict[str, list[str]]:
    """By column, the names of its classes."""
    return {name: feature for name, feature in features.items() if isinstance(feature, list)}
