"""Files that a source names, found without leaving its folder; and the beginning of one, for a guess at what it is.

inside(root, "prompts/*.txt")                # the files that it means, none of them outside of root
"""

from __future__ import annotations

from pathlib import Path

from workbench.errors import InputError
from workbench.formats.base import Options, where

_FILES_AT_MOST = 10_000


def refuse_mapping(source: Path, options: Options, format: str) -> None:
    """A format whose columns have fixed names takes no mapping.

    Raises:
        InputError: the user gave one.
    """
    if options.mapping:
        raise InputError(f"{where(source)}: {format} names its columns itself. Leave --map out, or say --format table.")


def head(path: Path, size: int = 8192) -> str:
    """The beginning of a text file, for a guess at what it is; empty for a folder and for what cannot be read."""
    return head_of(path, size).decode("utf-8", errors="ignore")


def head_of(path: Path, size: int) -> bytes:
    """The beginning of a file without its byte order mark."""
    try:
        with path.open("rb") as file:
            return file.read(size).removeprefix(b"\xef\xbb\xbf")
    except OSError:
        return b""


def inside(root: Path, name: str, base: Path | None = None) -> list[Path]:
    """The files that a name or pattern means, from `base` or else from `root`; only those inside root.

    A link that leads out of root counts as what it leads to.
    """
    name = name.removeprefix("file://").replace("\0", "")
    if not name or Path(name).is_absolute():
        return [path for path in [Path(name)] if name and _is_kept(path, root)]
    for folder in dict.fromkeys([base or root, root]):
        try:
            found = sorted(folder.glob(name)) if any(mark in name for mark in "*?[") else [folder / name]
        except (ValueError, NotImplementedError, OSError):  # no pattern: it means no file, which is told
            return []
        kept = [path for path in found[:_FILES_AT_MOST] if _is_kept(path, root)]
        if kept:
            return kept
    return []


def folder_inside(root: Path, name: str) -> Path | None:
    """The folder that a name means, if it is one inside root."""
    return root / name if name and "\0" not in name and _is_kept(root / name, root, folder=True) else None


def _is_kept(path: Path, root: Path, folder: bool = False) -> bool:
    try:
        there = path.is_dir() if folder else path.is_file()
        return there and path.resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False
