"""notebooks/index.yaml: what each notebook answers, and how it is run in CI.

for entry in load_index():
    entry.answers, entry.small, entry.budget_s
failures = run_all(load_index(), Path("exports"), small=True)
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from workbench import project
from workbench.errors import InputError, RunError, WorkbenchError
from workbench.files import StrictModel, read_yaml
from workbench.notebooks.execute import parameters_of, run_notebook
from workbench.notebooks.parameters import check_values


class _Entry(StrictModel):
    answers: str = Field(min_length=1)
    small: dict[str, Any] = {}
    budget_s: float = Field(gt=0)


class _IndexFile(StrictModel):
    version: Literal[1] = Field(alias="schema")
    notebooks: dict[str, _Entry] = Field(min_length=1)


@dataclass(frozen=True)
class Listed:
    """A notebook of the index.

    Attributes:
        answers: the question that it answers, for people.
        small: the parameters that it is run with in CI.
        budget_s: what it may take with those; what hangs is ended then.
    """

    path: Path
    answers: str
    small: dict[str, Any]
    budget_s: float

    @property
    def name(self) -> str:
        """Its file's name without the ending."""
        return self.path.stem


def load_index(folder: str | Path = "notebooks") -> list[Listed]:
    """The notebooks of a folder that its index.yaml names, in its order; what else lies there is nobody's business.

    Raises:
        InputError: the index names a notebook or a parameter that there is not.
    """
    folder = project.resolve(folder)
    document = read_yaml(folder / "index.yaml")
    listed = document.parse(_IndexFile).notebooks
    for name, entry in listed.items():
        path = folder / f"{name}.ipynb"
        if not path.is_file():
            raise document.error(("notebooks", name), f"there is no {name}.ipynb beside this file. Take it out.")
        try:
            check_values(parameters_of(path), entry.small, f"{name}.ipynb")
        except InputError as failure:
            raise document.error(("notebooks", name, "small"), str(failure)) from None
    return [
        Listed(folder / f"{name}.ipynb", entry.answers, entry.small, entry.budget_s) for name, entry in listed.items()
    ]


def run_all(
    index: Sequence[Listed], folder: Path, small: bool = False, say: Callable[[str], object] = print
) -> list[str]:
    """Run notebooks in their order into a folder; one that fails does not keep the others from running.

    Args:
        index: the notebooks.
        folder: where the executed ones go; a failed one as `NAME.failed.ipynb`.
        small: with the parameters of CI and within their time; else with the notebooks' own.
        say: is told of each.

    Returns:
        What failed, a line each.
    """
    failures = []
    for entry in index:
        started = time.monotonic()
        try:
            limit = round(entry.budget_s) if small else None
            done = run_notebook(entry.path, folder / f"{entry.name}.ipynb", entry.small if small else {}, limit)
            took = time.monotonic() - started
            if small and took > entry.budget_s:
                raise RunError(f"{entry.name}: took {took:.0f} s, and its budget is {entry.budget_s:g} s")
            say(f"{entry.name}: {took:.0f} s, {project.shown(done)}")
        except WorkbenchError as failure:
            failures.append(str(failure))
            say(f"{entry.name}: FAILED: {failure}")
    return failures
