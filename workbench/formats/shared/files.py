"""Files that a source names, found without leaving its folder; and the beginning of one, for a guess at what it is.

inside(root, "prompts/*.txt")                # the files that it means, none of them outside of root
"""

from __future__ import annotations

import errno
import re
from pathlib import Path

from workbench import project
from workbench.errors import InputError

FILES_AT_MOST = 10_000


def head(path: Path, size: int = 8192) -> str:
    """The beginning of a text file, for a guess at what it is; empty for a folder and for what cannot be read."""
    return head_of(path, size).decode("utf-8", errors="ignore")


def top_keys(path: Path, names: str) -> set[str]:
    """Which of these names, parted by |, are keys at the top of a YAML or JSON file, as far as its beginning tells."""
    return set(re.findall(rf"(?m)^[{{\s]*\"?({names})\"?\s*:", head(path)))


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

    Raises:
        InputError: a folder cannot be searched, as on a disk that fails.
    """
    name = name.removeprefix("file://").replace("\0", "")
    for folder in dict.fromkeys([base or root, root]) if name else ():
        try:
            found = sorted(folder.glob(name)) if any(mark in name for mark in "*?[") else [folder / name]
        except (ValueError, NotImplementedError):  # no pattern: it means no file, which is told
            return []
        except OSError as failure:
            if failure.errno == errno.ENAMETOOLONG:  # nothing has such a name
                return []
            raise InputError(f"{project.shown(folder)}: cannot be searched ({failure.strerror}).") from None
        kept = [path for path in found[:FILES_AT_MOST] if is_inside(path, root) and path.is_file()]
        if kept:
            return kept
    return []


def is_inside(path: Path, root: Path) -> bool:
    """Whether there is such a file or folder, and it does not lie outside of root, links followed.

    The hub's own cache has the files of a snapshot next to it.
    """
    roots = [root, root.parent.parent / "blobs"] if root.parent.name == "snapshots" else [root]
    try:
        return path.exists() and any(path.resolve().is_relative_to(each.resolve()) for each in roots)
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        return False
