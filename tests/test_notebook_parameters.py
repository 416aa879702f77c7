"""A notebook's parameters: unknown and mistyped ones are errors, in the kernel and before it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml
from conftest import environment
from hypothesis import given
from hypothesis import strategies as st

from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.notebooks import check_parameters, find_notebook, run_notebook
from workbench.notebooks.execute import parameters_of
from workbench.notebooks.parameters import _history, check_values, declared, typed

CELL = """\
sample: int = 12  # items; 0 asks all
share: float = 0.5
name: str = ""  # a = sign, which hides a parameter from papermill's own reading
deep: bool = False
limit: int | None = None
names: list[str] = ["a"]
other = 3
"""
CHECK = "from workbench.notebooks import check_parameters\n\ncheck_parameters()"


def notebook(folder: Path, *cells: str, name: str = "tiny", parameters: str = CELL) -> Path:
    """A notebook with a tagged parameters cell and then these."""
    made = nbformat.v4.new_notebook(
        metadata={"kernelspec": {"name": "python3", "display_name": "", "language": "python"}}
    )
    made.cells = [nbformat.v4.new_code_cell(parameters, metadata={"tags": ["parameters"]})]
    made.cells += [nbformat.v4.new_code_cell(source) for source in cells]
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.ipynb"
    nbformat.write(made, path)
    return path


def test_each_type_is_read_from_the_command_line() -> None:
    parameters = declared(CELL)
    assert parameters is not None
    given_ = {
        "sample": "4",
        "share": "1",
        "name": "12",
        "deep": "true",
        "limit": "null",
        "names": '["x", "y"]',
        "other": "7",
    }
    read = typed(parameters, given_, "here")
    assert read == {
        "sample": 4,
        "share": 1.0,
        "name": "12",
        "deep": True,
        "limit": None,
        "names": ["x", "y"],
        "other": "7",
    }
    assert isinstance(read["share"], float)
    check_values(parameters, read, "here")


@pytest.mark.parametrize(
    "given_",
    [
        "sample=null",
        "sample=4.5",
        "sample=",
        "sample=true",
        "share=half",
        "deep=1",
        "limit=x",
        'names={"a":1}',
        "names=a",
    ],
)
def test_a_value_of_another_type_is_one_clear_line(given_: str) -> None:
    parameters = declared(CELL)
    assert parameters is not None
    name, _, text = given_.partition("=")
    with pytest.raises(
        InputError,
        match=rf"^here: parameter '{name}' is .*, which is text; it must be {parameters[name].types[0].__name__}",
    ):
        typed(parameters, {name: text}, "here")


@pytest.mark.parametrize("value", ["null", 4.0, True, None, [4]])
def test_a_value_that_papermill_passes_is_of_the_annotated_type(value: object) -> None:
    parameters = declared(CELL)
    assert parameters is not None
    with pytest.raises(InputError, match=r"it must be int\."):
        check_values(parameters, {"sample": value}, "here")
    check_values(parameters, {"sample": 4, "share": 4, "limit": None, "other": value}, "here")


def test_an_unknown_name_has_the_closest_one_beside_it() -> None:
    parameters = declared(CELL)
    assert parameters is not None
    with pytest.raises(
        InputError, match=r"there is no parameter 'smaple'\. Did you mean 'sample'\? Its parameters: sample, share"
    ):
        check_values(parameters, {"smaple": 3}, "here")
    with pytest.raises(InputError, match=r"there is no parameter 'zzz'\. Leave it out\."):
        check_values(parameters, {"zzz": 3}, "here")


@pytest.mark.parametrize(
    "source",
    ["import x\na: int = 1", "print(1)", "a = 1", "", "a: int = 1\nfor b in c: pass", "a.b: int = 1", "a: int ="],
)
def test_only_a_cell_of_assignments_with_types_declares_parameters(source: str) -> None:
    assert declared(source) is None


@given(st.text(max_size=60))
def test_reading_a_cell_never_runs_or_breaks(source: str) -> None:
    declared(source.replace("\0", ""))


def test_the_history_is_searched_backward_for_the_cells() -> None:
    injected = "# Parameters\nsample = 4\n"
    parameters, names = _history(["", "a: int = 1", CELL, injected, "print(1)"])
    assert "sample" in parameters and names == ["sample"]
    assert _history(["", CELL, injected, CELL])[1] == []  # the tagged cell was run again, so its own values hold
    assert _history(["", "print(1)"]) == ({}, [])


def test_outside_a_notebook_nothing_is_checked() -> None:
    check_parameters()


# --- in the kernel: plain papermill, which only warns


def papermill(project: Path, path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "papermill",
        "--no-progress-bar",
        "-k",
        "python3",
        str(path),
        "out.ipynb",
        *options,
    ]
    return subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["-p", "smaple", "4"], "this notebook: there is no parameter 'smaple'. Did you mean 'sample'?"),
        (["-p", "sample", "null"], "this notebook: parameter 'sample' is 'null', which is text; it must be int."),
        (
            ["-p", "name", "12"],
            "parameter 'name' is 12, which is of type int; it must be str. papermill's -r passes text",
        ),
    ],
)
def test_plain_papermill_fails_with_one_line_and_no_traceback(project: Path, options: list[str], said: str) -> None:
    path = notebook(project, CHECK, "print('went on')")
    run = papermill(project, path, *options)
    assert run.returncode == 1
    made = nbformat.read(project / "out.ipynb", 4)
    (error,) = [output for cell in made.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    (line,) = error.traceback
    assert line.startswith("InputError: ") and said in line
    assert "went on" not in str(made.cells[-1].get("outputs"))


def test_plain_papermill_runs_with_parameters_that_fit(project: Path) -> None:
    run = papermill(project, notebook(project, CHECK, "print(sample)"), "-p", "sample", "4", "-p", "share", "1")
    assert run.returncode == 0, run.stderr[-2000:]


def test_a_tagged_cell_that_somebody_edits_is_held_against_its_own_types(project: Path) -> None:
    assert papermill(project, notebook(project, CHECK, parameters='sample: int = "12"')).returncode == 1


# --- the command


def test_the_command_refuses_before_a_kernel_and_writes_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notebook(project / "notebooks", "raise SystemExit('this ran')")
    before = sorted(project.rglob("*"))
    for options in (["-p", "smaple=4"], ["-p", "sample=null"], ["-p", "sample"], ["-p", "sample=1", "-p", "sample=2"]):
        assert main(["notebook", "tiny", *options]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    for arguments in (["tinny"], [], ["tiny", "--small"], ["tiny", "--all"], ["tiny", "--to", "notebooks/tiny.ipynb"]):
        assert main(["notebook", *arguments]) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
    assert sorted(project.rglob("*")) == before


def test_a_parameter_reaches_the_notebook_in_its_type_and_in_its_folder(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    show = "from pathlib import Path\nprint(repr(sample), repr(name), limit, Path.cwd().name)"
    notebook(project / "notebooks", CHECK, show)
    assert main(["notebook", "tiny", "-p", "sample=4", "-p", "name=12", "-p", "limit=none"]) == 0
    assert capsys.readouterr().out == "written: exports/tiny.ipynb\n"
    made = nbformat.read(project / "exports" / "tiny.ipynb", 4)
    assert made.cells[-1].outputs[0].text == "4 '12' None notebooks\n"
    assert str(project) not in nbformat.writes(made)  # its own record names no folder of this machine
    assert [path.name for path in (project / "exports").iterdir()] == ["tiny.ipynb"]


FAILURES = {
    "raises": ("1 / 0", "In [3]: ZeroDivisionError: division by zero"),
    "leaves": ("raise SystemExit(3)", "In [3]: SystemExit: 3"),
    "dies": ("import os\n\nos._exit(9)", "code cell 3: DeadKernelError: Kernel died"),
    "ours": ("from workbench.errors import InputError\n\nraise InputError('mend this')", "In [3]: mend this"),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failed_notebook_is_kept_with_its_error(project: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    source, said = FAILURES[name]
    path = notebook(project / "notebooks", "print('this far')", source, "print('never')", name=name)
    stored = path.read_bytes()
    earlier = project / "exports" / f"{name}.ipynb"
    earlier.parent.mkdir()
    earlier.write_text("an earlier success")
    assert main(["notebook", name]) == 1
    (line,) = [each for each in capsys.readouterr().err.splitlines() if each.startswith("workbench: ")]
    assert line == f"workbench: notebooks/{name}.ipynb: {said} (kept with its error: exports/{name}.failed.ipynb)"
    kept = nbformat.read(project / "exports" / f"{name}.failed.ipynb", 4)
    text = nbformat.writes(kept)
    assert "this far" in text and said.split(": ")[-1] in text and "never\\n" not in text
    errors = [output for cell in kept.cells for output in cell.get("outputs", ()) if output.output_type == "error"]
    assert len(errors) == 1
    assert str(project / "notebooks") not in text
    assert path.read_bytes() == stored and earlier.read_text() == "an earlier success"


def test_a_cell_that_hangs_is_ended(project: Path) -> None:
    path = notebook(project / "notebooks", "import time\n\ntime.sleep(600)")
    with pytest.raises(RunError, match=r"code cell 2: CellTimeoutError: .*tiny\.failed\.ipynb"):
        run_notebook(path, project / "exports" / "tiny.ipynb", {}, cell_timeout_s=2)


def test_what_is_no_notebook_is_said_to_be_none(project: Path) -> None:
    path = notebook(project / "notebooks", "1")
    with pytest.raises(InputError, match=r"tiny\.failed\.ipynb|ends in \.ipynb"):
        run_notebook(path, project / "exports" / "tiny.html", {})
    path.write_text('{"cells": [')
    with pytest.raises(InputError, match=r"notebooks/tiny\.ipynb: is no notebook of format 4 \("):
        parameters_of(find_notebook("tiny"))
    with pytest.raises(InputError, match=r"cell 1: a parameters cell only assigns"):
        parameters_of(notebook(project, "1", parameters="print(1)"))


@pytest.mark.slow
def test_all_notebooks_run_though_one_fails(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "notebooks"
    notebook(folder, CHECK, "print(f'{sample} items')", name="01_first")
    notebook(folder, "raise ValueError('no good')", name="02_second")
    notebook(folder, "import time\n\ntime.sleep(600)", name="03_third")
    notebook(folder, "print('ran as well')", name="04_fourth")
    index = {name: {"answers": "Why?", "budget_s": 60} for name in ("01_first", "02_second", "03_third", "04_fourth")}
    index["01_first"]["small"] = {"sample": 3}
    index["03_third"]["budget_s"] = 3
    (folder / "index.yaml").write_text(yaml.safe_dump({"schema": 1, "notebooks": index}))
    assert main(["notebook", "--all", "--small"]) == 1
    said = capsys.readouterr()
    told = [line for line in said.err.splitlines() if line.startswith("workbench: ")]
    assert len(told) == 2 and "ValueError: no good (kept" in told[0] and "CellTimeoutError: " in told[1]
    assert "02_second: FAILED" in said.out and "04_fourth: " in said.out
    made = sorted(path.name for path in (project / "exports" / "notebooks").iterdir())
    assert made == ["01_first.ipynb", "02_second.failed.ipynb", "03_third.failed.ipynb", "04_fourth.ipynb"]
    assert "3 items" in (project / "exports" / "notebooks" / "01_first.ipynb").read_text()


def test_another_jupyters_kernel_of_the_same_name_is_not_taken(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kernel = tmp_path / "other" / "kernels" / "python3" / "kernel.json"
    kernel.parent.mkdir(parents=True)
    kernel.write_text('{"argv": ["/nowhere/bin/python"], "display_name": "Another", "language": "python"}')
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "other"))
    notebook(project / "notebooks", "import sys\n\nprint(sys.prefix)")
    assert main(["notebook", "tiny"]) == 0
    made = nbformat.read(project / "exports" / "tiny.ipynb", 4)
    assert made.cells[-1].outputs[0].text.strip() == sys.prefix
    assert os.environ["JUPYTER_PATH"] == str(tmp_path / "other")
