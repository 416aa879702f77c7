"""What the curated notebooks make of their parameters."""

from __future__ import annotations

import ast
import math
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import REPOSITORY, item, write_evalset, write_models

import workbench as wb
from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.notebooks import bring_in, folder, numbers, one, priced, share, to_ask

ASK = {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}


@pytest.fixture
def sets(project: Path) -> dict[str, EvalSet]:
    """An imported set with one variant, and one with more than are usual."""
    write_evalset(project, "tickets", [item("1")])
    write_evalset(project, "colors", [item("1")], variants={"default": ASK, "few_shot": ASK, "terse": ASK})
    return wb.load_evalsets("evalsets")


def test_a_set_without_the_usual_variants_is_asked_with_its_own(
    sets: dict[str, EvalSet], capsys: pytest.CaptureFixture[str]
) -> None:
    found, variants = to_ask(sets, "few_shot,terse", usual="few_shot,terse")
    assert capsys.readouterr().out == (
        "tickets has no variant few_shot or terse: it is asked with its own (default).\n"
    )
    assert {name: list(each.spec.variants) for name, each in found.items()} == {
        "colors": ["few_shot", "terse"],
        "tickets": ["default"],
    }
    assert found["tickets"].digest == sets["tickets"].digest  # what is asked of a set does not make it another
    assert sorted(variants.split(",")) == ["default", "few_shot", "terse"]
    alone, variants = to_ask({"tickets": sets["tickets"]}, "few_shot,terse", usual="few_shot,terse")
    assert list(alone) == ["tickets"] and variants == "default"
    assert to_ask(sets, "", usual="few_shot,terse") == (sets, "")


def test_a_variant_that_is_wished_and_nowhere_is_an_error_that_names_the_parameter(
    sets: dict[str, EvalSet],
) -> None:
    assert to_ask(sets, "terse", usual="few_shot,terse") == (sets, "terse")
    with pytest.raises(InputError) as failure:
        to_ask({"tickets": sets["tickets"]}, "few_shot", usual="few_shot,terse")
    assert str(failure.value) == (
        "parameter 'variants': none of these eval sets has a variant 'few_shot'. There are: default."
    )


@pytest.mark.parametrize("name", ["01_quickstart", "03_compare", "04_quantization"])
def test_what_is_usual_is_what_the_parameter_is_by_itself(name: str) -> None:
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    (by_itself,) = [line for line in ast.parse(code[0]).body if ast.unparse(line).startswith("variants:")]
    assert isinstance(by_itself, ast.AnnAssign) and isinstance(by_itself.value, ast.Constant)
    assert f'usual="{by_itself.value.value}")' in code[1]


def test_a_file_of_ones_own_is_called_by_its_name_and_the_example_stands_beside_it(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "notebooks" / "examples").mkdir(parents=True)
    (project / "notebooks" / "examples" / "handed_over.csv").write_text(
        "question,answer\nIs 1 even?,no\nIs 2 even?,yes\n"
    )
    (project / "my tickets (2).csv").write_text("question,answer\nIs 3 even?,no\nIs 4 even?,yes\n")
    for here in (project, project / "notebooks"):  # the example is made anew, wherever the kernel runs
        monkeypatch.chdir(here)
        assert bring_in("", "", "", False, project / "exports").path.name == "handed_over"
    monkeypatch.chdir(project)
    made = bring_in("my tickets (2).csv", "", "", False, project / "exports")
    assert made.path == project / "exports" / "evalsets" / "my_tickets_2"
    own = wb.load_evalsets(made.path.parent, made.path.name)[made.path.name]
    assert own.by_sensitivity["restricted"] == 2  # as nobody said otherwise
    with pytest.raises(InputError) as failure:
        bring_in("my tickets (2).csv", "", "", False, project / "exports")
    assert str(failure.value) == (
        "exports/evalsets/my_tickets_2: is there already. Set the parameter 'replace' to True to write over it, or "
        "'imported' to another name."
    )
    assert bring_in("my tickets (2).csv", "", "public", True, project / "exports").items == 2
    assert bring_in("my tickets (2).csv", "mine", "", False, project / "exports").path.name == "mine"


@pytest.mark.parametrize("name", ["", "nosuch", "tickets,colors"])
def test_what_names_not_one_is_told_with_its_parameter(sets: dict[str, EvalSet], name: str) -> None:
    assert one(sets, " tickets", "task") is sets["tickets"]
    with pytest.raises(InputError) as failure:
        one(sets, name, "task")
    assert str(failure.value) == f"parameter 'task' is '{name}': name one of colors, tickets."


def test_numbers_stand_with_commas_between_them() -> None:
    assert numbers("1, 4,", "levels") == [1, 4] and numbers("", "levels") is None
    for text, each in (("a", "a"), ("1,x", "x"), ("2,0", "0"), ("1;2", "1;2"), ("-1", "-1"), ("²", "²")):
        with pytest.raises(InputError) as failure:
            numbers(text, "levels")
        assert str(failure.value) == (
            f"parameter 'levels' is '{text}': '{each}' is no whole number from 1. Write it as 1,2,4."
        )


def test_a_share_and_models_of_the_price_tables_are_checked() -> None:
    assert share(1.0, "utilization") == 1.0
    for value in (0.0, -0.2, 1.5, math.nan):
        with pytest.raises(InputError, match=r"parameter 'utilization' is .*: it is a share above 0 and at most 1"):
            share(value, "utilization")
    assert priced("openai/gpt-4o, a/b/c,", "against") == ["openai/gpt-4o", "a/b/c"] and priced("", "against") == []
    for text in ("gpt-4o", "/gpt-4o", "openai/"):
        with pytest.raises(InputError) as failure:
            priced(f"a/b,{text}", "against")
        assert str(failure.value) == (
            f"parameter 'against' is 'a/b,{text}': '{text}' is no PROVIDER/MODEL of the price tables. "
            "Write it as openai/gpt-4o-mini."
        )


AT_HAND = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "m", "zone": "local"}
PAID = {**AT_HAND, "zone": "hosted", "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}}


def test_the_serving_notebook_loads_a_hosted_model_under_a_ceiling(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_models(project, paid=PAID)
    notebook = nbformat.read(REPOSITORY / "notebooks" / "05_serving.ipynb", 4)
    parameters, first = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    names: dict[str, Any] = {}
    exec(parameters, names)
    exec(first, names | {"model": "paid", "max_cost_usd": 0.5})
    assert "and all together at most $0.5" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("02_evalsets", {"name": ""}, "parameter 'name' is '': name one of colors, tickets."),
        ("05_serving", {"model": "nosuch"}, "parameter 'model' is 'nosuch': name one of m, paid."),
        ("05_serving", {"model": "m", "levels": "a"}, "parameter 'levels' is 'a': "),
        ("05_serving", {"task": "tickets,colors"}, "parameter 'task' is 'tickets,colors': name one of "),
        ("05_serving", {"model": "m", "utilization": 20.0}, "parameter 'utilization' is 20: it is a share above 0 "),
        ("05_serving", {"model": "m", "against": "gpt-4o-mini"}, "parameter 'against' is 'gpt-4o-mini': "),
        ("05_serving", {"model": "m", "max_cost_usd": -1.0}, "a spend ceiling is a number of USD from 0 on, not -1."),
        ("05_serving", {"model": "paid"}, "paid: a load test sends many requests, at up to $"),
    ],
)
def test_a_mistyped_parameter_is_one_line_of_the_first_cell(
    project: Path, sets: dict[str, EvalSet], name: str, given: dict[str, Any], said: str
) -> None:
    """The first two cells on their own: no kernel is needed to be told."""
    write_models(project, m=AT_HAND, paid=PAID)
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4)
    parameters, first = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    names: dict[str, object] = {}
    exec(parameters, names)
    with pytest.raises(InputError) as failure:
        exec(first, names | given)
    assert str(failure.value).startswith(said)


@pytest.mark.parametrize("here", [".", "notebooks", "notebooks/exports"])
def test_a_notebook_writes_below_the_projects_root_wherever_its_kernel_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, here: str
) -> None:
    monkeypatch.setenv("WORKBENCH_ROOT", "")
    write_models(project)
    (project / "notebooks" / "exports").mkdir(parents=True)
    monkeypatch.chdir(project / here)
    assert folder("exports") == project / "exports" and folder(str(project / "x")) == project / "x"
    monkeypatch.chdir(project / "notebooks")
    assert folder("../out") == project / "out"  # from where one is, as a shell means it


@pytest.mark.parametrize("name", ["01_quickstart", "02_evalsets", "06_routing"])
def test_the_notebooks_write_there(name: str) -> None:
    notebook = nbformat.read(REPOSITORY / "notebooks" / f"{name}.ipynb", 4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert 'exports: str = "exports"' in code and "notebooks.folder(exports)" in code and "{exports}" not in code


def test_the_quantization_notebook_says_what_its_run_lacked_and_asks_nothing_of_a_table(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_evalset(project, "tickets", [item("1", "red")], rules={"rules": [{"pattern": "red", "answer": "red"}]})
    far = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "k", "zone": "local"}
    catalog = write_models(project, rules={"engine": "rules"}, keyed={**far, "api_key_env": "NOT_SET_ANYWHERE"})
    catalog.rename(project / "models-quantized.yaml")
    notebook = nbformat.read(REPOSITORY / "notebooks" / "04_quantization.ipynb", 4)
    parameters, first = [cell.source for cell in notebook.cells if cell.cell_type == "code"][:2]
    names: dict[str, Any] = {}
    exec(parameters, names)
    names |= {"models": "", "tasks": "tickets"}
    exec(first, names)
    said = capsys.readouterr().out
    assert "tickets has no variant few_shot" in said and "skipped: keyed: its key is not set." in said
    names["outcomes"] = str(names["run"].path / "outcomes.parquet")
    exec(first, names)
    assert names["run"] is None and len(names["table"]) == 1 and capsys.readouterr().out == ""


def test_a_run_is_shown_with_what_is_missing_before_two_of_it_are_looked_at() -> None:
    notebook = nbformat.read(REPOSITORY / "notebooks" / "03_compare.ipynb", 4)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    assert code.index("wb.run(") < code.index("wb.show(run)") < code.index("notebooks.pair(")
