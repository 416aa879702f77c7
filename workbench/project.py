"""Where things are: the project's root, and the folders that the workbench keeps there.

project.root()            # the folder with models.yaml or evalsets/, found from the working directory upward
project.state("runs")     # <root>/.workbench/runs, private to the user and ignored by git
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from workbench.errors import JournalError

_MARKS = ("models.yaml", "evalsets")


def root() -> Path:
    """The project's root: `WORKBENCH_ROOT`, or the nearest folder upward that has models.yaml or evalsets/."""
    named = os.environ.get("WORKBENCH_ROOT")
    if named:
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in (here, *here.parents):
        if any((folder / mark).exists() for mark in _MARKS):
            return folder
    return here


def resolve(path: str | Path) -> Path:
    """A path as the user means it: from the working directory, else from the project's root.

    A notebook runs in notebooks/, so `evalsets` there means the project's. What goes upward is meant from where one is,
    or what does not exist yet would lie outside the project.
    """
    path = Path(path).expanduser()
    if path.is_absolute() or path.parts[:1] == ("..",) or path.exists():
        return path.resolve()
    return root() / path


def target(path: str | Path) -> Path:
    """Where something new goes: below the working directory where it has the path's first folder, else the root's."""
    path = Path(path).expanduser()
    here = path.is_absolute() or len(path.parts) < 2 or Path(path.parts[0]).exists()
    return path.resolve() if here else root() / path


def folder(path: str | Path) -> Path:
    """A folder that a notebook or a view writes to: from the project's root, in whichever folder the kernel runs.

    `workbench notebook` and JupyterLab run a notebook in its own folder, papermill in the one where somebody stands.
    What goes upward is meant from where one is.

    Raises:
        RuntimeError: `~name`, where nobody of that name has a home.
    """
    given = Path(path).expanduser()
    return given.resolve() if given.parts[:1] == ("..",) else root() / given


def state(*parts: str) -> Path:
    """A folder below `<root>/.workbench`, made with mode 0700 where it is missing.

    Raises:
        JournalError: it cannot be made.
    """
    base = root() / ".workbench"
    folder = base.joinpath(*parts)
    try:
        base.mkdir(mode=0o700, parents=True, exist_ok=True)
        ignore = base / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise JournalError(
            f"{shown(folder)}: cannot be written ({failure.strerror}). Mend permissions or free space."
        ) from None
    return folder


def kept(*parts: str) -> Path:
    """The folder that `state` makes, for who only reads: it may not be there."""
    return (root() / ".workbench").joinpath(*parts)


def shown(path: str | Path) -> str:
    """A path for messages: relative to the working directory or the root where it lies below them."""
    path = Path(path)
    for base in (Path.cwd(), root()):
        try:
            return str(path.resolve().relative_to(base))
        except ValueError:
            continue
    return str(path)


def private_file(path: Path) -> Path:
    """Make sure that a file that may hold restricted text is readable by its owner only."""
    path.touch(mode=0o600, exist_ok=True)
    path.chmod(0o600)
    return path


def listed(names: str | Iterable[str] | None) -> list[str] | None:
    """Names out of a list, or out of text with commas; None where there are none, which stands for all."""
    if isinstance(names, str):
        names = [name.strip() for name in names.split(",") if name.strip()]
    return list(names or []) or None
