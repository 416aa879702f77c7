"""References of YAML and JSON, `$ref: '#/templates/x'` and `$ref: other.yaml#/y`, followed inside a folder.

data = without_refs(read_structured(path), root=path.parent)
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.files import Document
from workbench.formats._sources import inside, read_structured
from workbench.formats.base import where

_VALUES_AT_MOST = 2_000_000
_DEEPEST = 50
_NOWHERE = object()


def without_refs(document: Document, root: Path) -> Any:
    """A document's data with every reference replaced; one that leads nowhere stands as it is.

    Raises:
        InputError: references lead back to themselves, or stand for too much.
    """
    try:
        return _Refs(document, root).resolved(document.data)
    except RecursionError:
        raise InputError(f"{where(document.path)}: nested too deep.") from None


class _Refs:
    def __init__(self, document: Document, root: Path) -> None:
        self._path, self._whole, self._root = document.path, document.data, root
        self._left = _VALUES_AT_MOST

    def resolved(self, node: Any, under: tuple[str, ...] = ()) -> Any:
        self._left -= 1
        if self._left < 0:
            raise InputError(f"{where(self._path)}: its $refs stand for more than can be read. Write the parts out.")
        if isinstance(node, list):
            return [self.resolved(each, under) for each in node]
        if not isinstance(node, dict):
            return node
        name = node.get("$ref")
        target = self._target(name) if isinstance(name, str) else _NOWHERE
        if not isinstance(name, str) or target is _NOWHERE:
            return {key: self.resolved(each, under) for key, each in node.items()}
        if name in under or len(under) > _DEEPEST:
            raise InputError(f"{where(self._path)}: $ref '{name[:60]}' leads back to itself. Mend it.")
        rest = {key: value for key, value in node.items() if key != "$ref"}
        return self.resolved({**target, **rest} if isinstance(target, dict) else target, (*under, name))

    def _target(self, name: str) -> Any:
        file, _, pointer = name.partition("#")
        whole = self._whole
        if file:
            files = inside(self._root, file, self._path.parent)
            if not files:
                return _NOWHERE
            whole = read_structured(files[0]).data
        for step in [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/") if part]:
            if isinstance(whole, list) and step.isdigit() and int(step) < len(whole):
                whole = whole[int(step)]
            elif isinstance(whole, dict) and step in whole:
                whole = whole[step]
            else:
                return _NOWHERE
        return whole
