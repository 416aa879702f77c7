"""Weights files: found in packages without importing them, joined where they come in parts, checked by SHA-256.

path, digest = locate(models["smollm2-q4"])               # hashed once, and again where its size or time has changed
folder, digest = locate_folder(models["qwen3-vllm"])       # all its files; a hub id's, out of its cache
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path

from workbench import project
from workbench.catalog import Model
from workbench.errors import EngineError, WorkbenchError
from workbench.files import write_atomic
from workbench.servers import intact

SUFFIXES = (".safetensors", ".gguf", ".bin", ".pt", ".pth")
_INDEX = "model.safetensors.index.json"
_OF_TRAINING = {"training_args.bin", "optimizer.bin", "optimizer.pt", "scheduler.pt", "scaler.pt"}
_BLOCK = 1 << 22
_DIGESTS = "digests.json"
# What the Makefile makes itself, by the folder in .weights; every other package of weights comes with 'make weights'.
_MADE = {
    "smollm2-gguf": "make ggufs",
    "smollm2-hf": "make vllm checkpoints",
    "smollm2-w8a8": "make vllm checkpoints",
    "smollm2-w4a16": "make vllm checkpoints",
}
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+(@[\w.-]+)?")


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
        raise EngineError(f"{model.id}: no weights: {inside} is not there. {_make(name)}.")
    path = project.resolve(name)
    if not path.is_file():
        raise EngineError(f"{model.id}: no weights: there is no file {project.shown(path)}. Mend its model entry.")
    return path


def made_by(name: str) -> str | None:
    """The command that makes or installs a model's weights, as models.yaml names them; None for a file of one's own."""
    parts = Path(name.removeprefix("package:")).parts
    if not name.startswith("package:"):
        inside = parts[1:2] if parts[:1] == (".weights",) else ()
        return _MADE.get(inside[0]) if inside else None
    return _MADE.get(parts[0], "make weights") if parts else None


def _make(name: str) -> str:
    """What to do about weights that are not there."""
    command = made_by(name)
    if command is None:
        return "Mend its model entry"
    return f"{'Install' if command == 'make weights' else 'Make'} them with '{command}'"


def missing(model: Model) -> str | None:
    """Why a managed model's weights are not there, or None."""
    try:
        parts = [_find(model, name) for name in _parts(model)]
    except EngineError as failure:
        return str(failure)
    return _damaged(model, parts[0], lambda: intact.wrong_gguf(parts[0], cut=len(parts) > 1))


def _damaged(model: Model, path: Path, look: Callable[[], str | None]) -> str | None:
    """Why a file is no weights file, or None."""
    try:
        found = look()
    except OSError as failure:
        found = f"cannot be read ({failure.strerror})"
    return f"{model.id}: {project.shown(path)} {found}." if found else None


def _parts(model: Model) -> list[str]:
    return [model.model] if isinstance(model.model, str) else list(model.model)


def first_part(model: Model) -> Path:
    """The file that has the head of a model's weights; they need not be joined for it.

    Raises:
        EngineError: it is missing.
    """
    return _find(model, _parts(model)[0])


def locate(model: Model) -> tuple[Path, str]:
    """A model's weights file and its SHA-256.

    Raises:
        EngineError: it is missing, or is not the file that models.yaml names by its hash.
    """
    parts = [_find(model, name) for name in _parts(model)]
    path = parts[0] if len(parts) == 1 else _joined(model, parts)
    digest = _digest(path)
    if model.sha256 and digest != model.sha256 and len(parts) > 1:
        path.unlink()  # the joined file may be damaged where the parts are not
        path = _joined(model, parts)
        digest = _digest(path)
    _check(model, path, digest)
    return path, digest


def _check(model: Model, path: Path, digest: str) -> None:
    if model.sha256 and digest != model.sha256:
        what = "folder" if path.is_dir() else "file"
        raise EngineError(
            f"{model.id}: the weights {what} {project.shown(path)} is not the one that models.yaml names: its SHA-256 "
            f"is {digest[:12]}…, not {model.sha256[:12]}…. It is damaged, or another version. Install it again, or "
            "mend sha256."
        )


def _digest(path: Path) -> str:
    return _digests([path])[0]


def _digests(paths: Iterable[Path]) -> list[str]:
    """The SHA-256 of files; each is hashed once, and again where its size or time has changed."""
    known: dict[str, str] = {}
    with contextlib.suppress(OSError, ValueError, TypeError, WorkbenchError):  # what is wrong with it costs time only
        known = dict(json.loads((project.state("weights") / _DIGESTS).read_text()))
    found, new = [], False
    for path in paths:
        about = path.stat()
        mark = f"{path} {about.st_size} {about.st_mtime_ns}"
        if mark not in known:
            known[mark], new = _hashed(path, about.st_size, about.st_mtime_ns), True
        found.append(known[mark])
    if new:
        with contextlib.suppress(WorkbenchError):
            write_atomic(project.state("weights") / _DIGESTS, json.dumps(known, indent=0), mode=0o600)
    return found


@lru_cache(maxsize=32)
def _hashed(path: Path, size: int, mtime_ns: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_of(model: Model) -> Path:
    """A model's folder of weights, which need not be there: a path, or what the hub's cache has for an id."""
    name = str(model.model)
    path = project.resolve(name)
    if path.exists() or not _HUB_ID.fullmatch(name):
        return path
    return _cached(name) or path


def missing_folder(model: Model) -> str | None:
    """Why a model's folder of weights is not there, or None. Nothing is downloaded for it."""
    name, folder = str(model.model), folder_of(model)
    if not folder.is_dir():
        if folder.is_file():
            return f"{model.id}: {project.shown(folder)} is a file: engine {model.engine} takes a folder of weights."
        if _HUB_ID.fullmatch(name):
            return (
                f"{model.id}: no weights: {name} is neither a folder here nor in the cache of the Hugging Face hub "
                f"({hub_cache()}). Download it with 'hf download {name}'; if it is gated, accept its terms on its page "
                "and set HF_TOKEN first."
            )
        return f"{model.id}: no weights: there is no folder {project.shown(folder)}. {_make(name)}."
    if not (folder / "config.json").is_file():
        return f"{model.id}: {project.shown(folder)} has no config.json: no folder of weights. Mend its entry."
    lacking = _lacking(folder)
    if lacking:
        again = f"'hf download {name}'" if folder.parent.name == "snapshots" else "the download"
        return f"{model.id}: {project.shown(folder)} lacks {lacking}. Run {again} again."
    files = weights_files(folder)
    return next((reason for path in files if (reason := _damaged(model, path, partial(intact.wrong, path)))), None)


def weights_files(folder: Path) -> list[Path]:
    """The files of a checkpoint that an engine reads weights from: those in safetensors where there are any.

    An index names them; hidden files and what training left behind are none.
    """
    there = [path for path in sorted(folder.glob("*")) if path.suffix in SUFFIXES and path.is_file()]
    files = [path for path in there if not path.name.startswith(".") and path.name not in _OF_TRAINING]
    chosen = [path for path in files if path.suffix == ".safetensors"] or files
    with contextlib.suppress(OSError, ValueError, KeyError, AttributeError, TypeError):
        named = set(json.loads((folder / _INDEX).read_text())["weight_map"].values())
        return [path for path in chosen if path.name in named] or chosen
    return chosen


def hub_cache() -> Path:
    """Where the Hugging Face hub keeps what was downloaded."""
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(os.environ.get("HF_HUB_CACHE") or Path(home) / "hub").expanduser()


def _cached(name: str) -> Path | None:
    """The snapshot of a hub id in the hub's cache: of its main branch, or of a revision behind an @."""
    repository, _, revision = name.partition("@")
    base = hub_cache() / f"models--{repository.replace('/', '--')}"
    with contextlib.suppress(OSError):
        revision = (base / "refs" / (revision or "main")).read_text().strip()
    found = base / "snapshots" / revision
    return found if revision and found.is_dir() else None


def _lacking(folder: Path) -> str | None:
    """A file that a checkpoint names and does not have."""
    index = folder / _INDEX
    if index.is_file():
        with contextlib.suppress(OSError, ValueError, KeyError, AttributeError):
            for name in sorted(set(json.loads(index.read_text())["weight_map"].values())):
                if not (folder / name).is_file():
                    return str(name)
        return None
    found = any(path.suffix in (".safetensors", ".bin", ".pt") for path in weights_files(folder))
    return None if found else "weights (*.safetensors)"


def missing_adapter(model: Model) -> str | None:
    """Why a model's LoRA adapter is not there, or None; also where it has none."""
    if model.lora is None:
        return None
    path = project.resolve(model.lora)
    there = path.is_file() if model.engine == "llamacpp" else (path / "adapter_config.json").is_file()
    what = "GGUF file" if model.engine == "llamacpp" else "folder with an adapter_config.json"
    if not there:
        return f"{model.id}: lora: there is no {what} at {project.shown(path)}. Mend its entry."
    return _damaged(model, path, lambda: intact.wrong_gguf(path, "adapter")) if path.is_file() else None


def locate_adapter(model: Model) -> tuple[Path, str] | None:
    """A model's LoRA adapter and its SHA-256; None where it has none.

    Raises:
        EngineError: it is missing, or cannot be read.
    """
    problem = missing_adapter(model)
    if problem:
        raise EngineError(problem)
    if model.lora is None:
        return None
    path = project.resolve(model.lora)
    try:
        if path.is_dir():
            return path, _folder_digest(path)
        return path, _digest(path)
    except OSError as failure:
        raise EngineError(f"{model.id}: {project.shown(path)} cannot be read ({failure.strerror}).") from None


def locate_folder(model: Model) -> tuple[Path, str]:
    """A model's folder of weights, and a SHA-256 over the names and contents of its files.

    Raises:
        EngineError: it is missing, cannot be read, or is not the one that models.yaml names by its hash.
    """
    problem = missing_folder(model)
    if problem:
        raise EngineError(problem)
    folder = folder_of(model)
    try:
        digest = _folder_digest(folder)
    except OSError as failure:
        raise EngineError(f"{model.id}: {project.shown(folder)} cannot be read ({failure.strerror}).") from None
    _check(model, folder, digest)
    return folder, digest


def _folder_digest(folder: Path) -> str:
    inside = ((path.relative_to(folder), path) for path in folder.rglob("*") if path.is_file())
    listed = sorted(each for each in inside if not any(part.startswith(".") for part in each[0].parts))
    whole = hashlib.sha256()
    for (name, _), digest in zip(listed, _digests(path for _, path in listed), strict=True):
        whole.update(f"{name.as_posix()}\0{digest}\n".encode())
    return whole.hexdigest()


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
