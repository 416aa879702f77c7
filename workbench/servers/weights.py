"""Weights files: found in packages without importing them, joined where they come in parts, checked by SHA-256.

path, digest = locate(models["smollm2-q4"])
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from workbench import project
from workbench.catalog import Model
from workbench.errors import EngineError

_BLOCK = 1 << 22


def weights_folders() -> list[Path]:
    """Where `package:` looks: `WORKBENCH_WEIGHTS`, the project's .weights, and the installed packages."""
    named = os.environ.get("WORKBENCH_WEIGHTS")
    return [
        *([Path(named)] if named else []),
        project.root() / ".weights",
        *(Path(entry) for entry in sys.path if entry),
    ]


def _find(model: Model, name: str) -> Path:
    if name.startswith("package:"):
        inside = Path(name.removeprefix("package:"))
        if inside.is_absolute() or ".." in inside.parts:
            raise EngineError(f"{model.id}: '{name}' must name a file inside a package.")
        for folder in weights_folders():
            if (folder / inside).is_file():
                return folder / inside
        raise EngineError(f"{model.id}: no weights: {inside} is not installed. Install them with 'make weights'.")
    path = project.resolve(name)
    if not path.is_file():
        raise EngineError(f"{model.id}: no weights: there is no file {project.shown(path)}. Mend its model entry.")
    return path


def missing(model: Model) -> str | None:
    """Why a managed model's weights are not there, or None."""
    try:
        for name in _parts(model):
            _find(model, name)
    except EngineError as failure:
        return str(failure)
    return None


def _parts(model: Model) -> list[str]:
    return [model.model] if isinstance(model.model, str) else list(model.model)


def locate(model: Model) -> tuple[Path, str]:
    """A model's weights file and its SHA-256.

    Raises:
        EngineError: it is missing, or is not the file that models.yaml names by its hash.
    """
    parts = [_find(model, name) for name in _parts(model)]
    path = parts[0] if len(parts) == 1 else _joined(model, parts)
    digest = _digest(path, path.stat().st_size, path.stat().st_mtime_ns)
    if model.sha256 and digest != model.sha256 and len(parts) > 1:
        path.unlink()  # the joined file may be damaged where the parts are not
        path = _joined(model, parts)
        digest = _digest(path, path.stat().st_size, path.stat().st_mtime_ns)
    if model.sha256 and digest != model.sha256:
        raise EngineError(
            f"{model.id}: the weights file {project.shown(path)} is not the one that models.yaml names: its SHA-256 is "
            f"{digest[:12]}…, not {model.sha256[:12]}…. It is damaged, or another version. Install it again, or mend "
            "sha256."
        )
    return path, digest


@lru_cache(maxsize=32)
def _digest(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _joined(model: Model, parts: list[Path]) -> Path:
    """The parts in one file under .workbench/weights, written once."""
    stem = f"{(model.sha256 or 'unchecked')[:12]}-{parts[0].name.rsplit('.part', 1)[0]}"
    target = project.state("weights") / stem
    size = sum(part.stat().st_size for part in parts)
    if target.is_file() and target.stat().st_size == size:
        return target
    scratch = target.with_name(f".{stem}.{os.getpid()}")
    with scratch.open("wb") as file:
        for block in _blocks(parts):
            file.write(block)
    os.replace(scratch, target)
    return target


def _blocks(parts: list[Path]) -> Iterable[bytes]:
    for part in parts:
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block
