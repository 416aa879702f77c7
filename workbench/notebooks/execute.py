"""Running one notebook: a thin layer over papermill.

path = run_notebook(find_notebook("01_quickstart"), Path("exports/01_quickstart.ipynb"), {"sample": 4})
"""

from __future__ import annotations

import contextlib
import difflib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import project
from workbench.errors import InputError, RunError
from workbench.files import read_text, write_atomic
from workbench.notebooks.parameters import Parameter, check_values, declared
from workbench.strict import brief, on_one_line

if TYPE_CHECKING:
    from nbformat import NotebookNode

KERNEL = "python3"
FAILED = ".failed.ipynb"


def find_notebook(name: str) -> Path:
    """A notebook by its path, or by its name in notebooks/.

    Raises:
        InputError: there is none.
    """
    folder = project.resolve("notebooks")
    for path in (project.resolve(name), folder / name, folder / f"{name}.ipynb"):
        if path.suffix == ".ipynb" and path.is_file():
            return path
    known = sorted(path.stem for path in folder.glob("*.ipynb"))
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
    mend = f"Did you mean '{near[0]}'?" if near else f"There are: {', '.join(known) or 'none'}."
    raise InputError(f"{project.shown(folder)}: there is no notebook '{brief(name, 80)}'. {mend}")


def read_notebook(path: Path) -> NotebookNode:
    """A notebook of format 4.

    Raises:
        InputError: it cannot be read, or is none.
    """
    import nbformat

    text = read_text(path)
    try:
        return nbformat.reads(text, 4)
    except Exception as failure:  # noqa: BLE001  nbformat lets all kinds through, of JSON and of schemas
        problem = brief(on_one_line(str(failure)), 120)
        raise InputError(f"{project.shown(path)}: is no notebook of format 4 ({problem}).") from None


def parameters_of(path: Path) -> dict[str, Parameter]:
    """What the cell tagged `parameters` declares; nothing where no cell is tagged.

    Raises:
        InputError: the file is no notebook, or the tagged cell does more than to assign.
    """
    for number, cell in enumerate(read_notebook(path).cells, 1):
        if "parameters" in cell.metadata.get("tags", ()):
            found = declared(cell.source)
            if found is None:
                where = f"{project.shown(path)}: cell {number}"
                raise InputError(f"{where}: a parameters cell only assigns, with types: 'sample: int = 12'.")
            return found
    return {}


def run_notebook(source: Path, target: Path, values: Mapping[str, Any], cell_timeout_s: int | None = None) -> Path:
    """Run a notebook in its own folder, in this environment's kernel.

    While it runs, and where it fails, it is `NAME.failed.ipynb` beside `target`, with the error in its place.

    Returns:
        The executed notebook, `target`.

    Raises:
        InputError: a parameter that the notebook does not have, or of another type; nothing is run or written.
        RunError: a cell failed, or the kernel died.
    """
    check_values(parameters_of(source), values, project.shown(source))
    if target.suffix != ".ipynb":
        raise InputError(f"{project.shown(target)}: name a file that ends in .ipynb.")
    failed = target.with_name(target.stem + FAILED)
    if source.resolve() in (target.resolve(), failed.resolve()):
        raise InputError(f"{project.shown(target)}: would write over the notebook itself. Name another file.")
    write_atomic(failed, read_text(source))  # that it can be written is known before anything is asked
    with _surroundings():
        done = _executed(source, failed, dict(values), cell_timeout_s)
    _write(done, source, target)
    failed.unlink()
    return target


def _executed(source: Path, failed: Path, values: dict[str, Any], cell_timeout_s: int | None) -> NotebookNode:
    import papermill
    from papermill.exceptions import PapermillExecutionError

    try:
        return papermill.execute_notebook(
            str(source),
            str(failed),
            values,
            kernel_name=KERNEL,
            cwd=str(source.parent),
            progress_bar=sys.stderr.isatty(),
            execution_timeout=cell_timeout_s,
        )
    except PapermillExecutionError as failure:
        where, what = f"In [{failure.exec_count}]", _sentence(failure.ename, failure.evalue)
        _write(read_notebook(failed), source, failed)
    except Exception as failure:  # noqa: BLE001  a dead kernel, a time-out, no kernel at all: each has a class of its own
        what = _sentence(type(failure).__name__, str(failure))
        where = _mark(failed, source, type(failure).__name__, str(failure))
    raise RunError(f"{project.shown(source)}: {where}: {what} (kept with its error: {project.shown(failed)})")


def _sentence(kind: str, message: str) -> str:
    """A cell's error in one line; our own need no class in front."""
    first = brief(on_one_line(message.strip().split("\n")[0]), 400)
    return first if kind in ("InputError", "RunError") and first else f"{kind}: {first}".rstrip(": ")


def _mark(failed: Path, source: Path, kind: str, message: str) -> str:
    """Put an error that no cell has shown into the notebook, at the cell that ran; where that was."""
    import nbformat

    notebook = read_notebook(failed)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    started = [cell for cell in code if cell.metadata.get("papermill", {}).get("start_time")]  # "status" is wrong here
    cell = next(iter(started[-1:] or code), None)
    if cell is None:
        return "before the first cell"
    text = _sentence(kind, message)
    cell.outputs.append(nbformat.v4.new_output("error", ename=kind, evalue=message, traceback=[text]))
    _write(notebook, source, failed)
    return f"code cell {code.index(cell) + 1}"


def _write(notebook: NotebookNode, source: Path, target: Path) -> None:
    """Write an executed notebook, with paths that say nothing of the machine."""
    import nbformat

    noted = notebook.metadata.get("papermill", {})
    noted.update({"input_path": project.shown(source), "output_path": project.shown(target)})
    write_atomic(target, nbformat.writes(notebook))


@contextlib.contextmanager
def _surroundings() -> Iterator[None]:
    """The kernel is this environment's, whatever kernels the user has; runs in it report to this terminal."""
    before = dict(os.environ)
    own = str(Path(sys.prefix, "share", "jupyter"))
    os.environ["JUPYTER_PATH"] = os.pathsep.join([own, *filter(None, [before.get("JUPYTER_PATH")])])
    stderr = Path(f"/proc/{os.getpid()}/fd/2")
    if stderr.exists():
        os.environ.setdefault("WORKBENCH_PROGRESS", str(stderr))
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
