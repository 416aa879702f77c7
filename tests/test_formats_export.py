"""What holds for every export: its suffix is its own, restricted items and losses are counted, and who may read it."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset

from workbench.cli import main
from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, export_evalset, import_evalset

FILES = {
    **{"table": ["t.csv", "t.tsv", "t.jsonl", "t.json", "t.parquet"], "mlflow_records": ["t.jsonl", "t.json"]},
    **{"inspect_ai": ["t.jsonl"], "promptfoo": ["t.yaml", "t.yml"], "lm_eval": ["t.yaml", "t.yml"]},
    **{"openai_evals": ["t.jsonl", "t.yaml", "t.yml"], "huggingface": ["t"]},
    **{"promptfoo_tests": ["t.csv", "t.jsonl", "t.json", "t.yaml", "t.yml"]},
}
EVERY = [(format, name) for format, names in FILES.items() for name in names]
OTHERS = ("t.csv", "t.tsv", "t.json", "t.jsonl", "t.yaml", "t.yml", "t.parquet", "t.txt", "t")


def labeled(project: Path, *labels: str, **changes: Any) -> EvalSet:
    """An eval set with an item of each of these sensitivities."""
    items = [item(f"i{n}", f"thing {n}", sensitivity=label) for n, label in enumerate(labels)]
    return load_evalset(write_evalset(project, "colors", items, **changes))


def with_items(path: Path) -> list[Path]:
    """The files beside and in what was written that hold an item's text."""
    found = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.stem}.*")
    return [each for each in found if b"thing 0" in each.read_bytes()]


def test_every_format_is_tried() -> None:
    assert {format for format, _ in EVERY} == set(FORMATS.names())


@pytest.mark.parametrize(
    ("format", "name"), [(f, name) for f in FILES if f != "huggingface" for name in OTHERS if name not in FILES[f]]
)
def test_a_file_of_another_suffix_is_refused_and_nothing_is_written(project: Path, format: str, name: str) -> None:
    evalset = labeled(project, "public")
    suffixes = [file.removeprefix("t") for file in FILES[format]]
    with pytest.raises(InputError) as refused:
        export_evalset(evalset, format, f"out/{name}")
    assert str(refused.value).startswith(f"out/{name}: ") and all(suffix in str(refused.value) for suffix in suffixes)
    assert not (project / "out").exists()


@pytest.mark.parametrize(("format", "name"), EVERY)
def test_what_is_written_is_the_file_that_was_named(project: Path, format: str, name: str) -> None:
    done = export_evalset(labeled(project, "public", "internal"), format, f"out/{name}")
    assert done.path == project / "out" / name and done.path.exists()
    again = import_evalset(done.path, "evalsets/again", format=format)
    assert again.items == done.items == 2


@pytest.mark.parametrize(("format", "name"), EVERY)
def test_restricted_items_are_counted_and_kept_to_the_owner(project: Path, format: str, name: str) -> None:
    done = export_evalset(labeled(project, "restricted", "public", "restricted"), format, f"out/{name}")
    assert (done.items, done.restricted) == (3, 2)
    assert "2 of 3 items are restricted: the file holds them in clear" in str(done)
    held = with_items(done.path)
    assert held and {stat.S_IMODE(path.stat().st_mode) for path in held} == {0o600}


@pytest.mark.parametrize(("format", "name"), EVERY)
def test_without_restricted_items_all_may_read(project: Path, format: str, name: str) -> None:
    done = export_evalset(labeled(project, "internal", "public"), format, f"out/{name}")
    assert done.restricted == 0 and "restricted" not in str(done).partition("\n")[0]
    assert {stat.S_IMODE(path.stat().st_mode) for path in with_items(done.path)} == {0o644}


def test_a_file_that_all_could_read_is_closed_when_it_is_written_over(project: Path) -> None:
    export_evalset(labeled(project, "public"), "table", "t.csv")
    export_evalset(labeled(project, "restricted"), "table", "t.csv")
    assert stat.S_IMODE((project / "t.csv").stat().st_mode) == 0o600


def test_a_restricted_example_closes_the_file_of_a_prompt_that_may_show_it(project: Path) -> None:
    train = [item("tr", "a secret thing", sensitivity="restricted")]
    messages = [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]
    evalset = labeled(project, "public", train=train, variants={"default": {"messages": messages, "examples": 1}})
    done = export_evalset(evalset, "openai_evals", "t.jsonl")
    assert done.restricted == 0 and "may show restricted examples: it is readable by its owner only" in str(done)
    assert "a secret thing" in (project / "t.jsonl").read_text()
    assert stat.S_IMODE((project / "t.jsonl").stat().st_mode) == 0o600
    done = export_evalset(evalset, "table", "t.csv")
    assert (done.items, done.restricted) == (2, 1)


@pytest.mark.parametrize(
    ("format", "name"),
    [("promptfoo", "t.yaml"), ("inspect_ai", "t.jsonl"), ("lm_eval", "t.yaml"), ("openai_evals", "t.jsonl")],
)
def test_a_scorer_that_is_lost_says_of_how_many_items(project: Path, format: str, name: str) -> None:
    scorers = [{"type": "label"}, {"type": "numeric", "key": "size", "optional": True, "weight": 0}]
    items = [item(f"i{n}", sensitivity="public") for n in range(5)]
    for each in items[:3]:
        each["expectations"]["size"] = 1
    evalset = load_evalset(write_evalset(project, "colors", items, scorers=scorers))
    lost = [loss.what for loss in export_evalset(evalset, format, name).losses]
    assert any("'numeric'" in what and what.endswith("(3 items)") for what in lost), lost


def test_the_command_says_what_was_written_and_how_much_of_it_is_lost(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    labeled(project, "restricted", "public")
    assert main(["evalset", "export", "colors", "--format", "table", "--to", "t.csv"]) == 0
    first, held, count, *lines = capsys.readouterr().out.splitlines()
    assert first == "t.csv: 2 items, written as table"
    assert held.startswith("1 of 2 items are restricted: the file holds them in clear")
    assert count == f"not expressed: {len(lines)}" and all(line.startswith("  evalsets/colors/") for line in lines)


@pytest.mark.parametrize(
    ("format", "name"), [(f, name) for f in ("table", "mlflow_records", "huggingface") for name in FILES[f]]
)
def test_a_text_that_an_import_takes_for_a_list_is_told(project: Path, format: str, name: str) -> None:
    answers = ["Paris", "[1]", "Rome", '{"a": 1}']
    items = [
        {"id": f"i{n}", "inputs": {"thing": f"t{n}"}, "expectations": {"answer": a}} for n, a in enumerate(answers)
    ]
    kinds: dict[str, Any] = {"output": {"text": True}, "scorers": [{"type": "exact"}]}
    done = export_evalset(load_evalset(write_evalset(project, "cities", items, **kinds)), format, f"out/{name}")
    told = [str(loss) for loss in done.losses if "a text that is JSON may be read back as a list" in str(loss)]
    assert len(told) == 1 and "i1 expectations.answer" in told[0]


def test_lists_that_are_texts_are_told_as_guessed(project: Path) -> None:
    lines = [f'{{"question": "q{n}", "answer": "[{n}, {n + 1}]"}}' for n in range(4)]
    (project / "t.jsonl").write_text("\n".join(lines))
    guessed = " ".join(import_evalset("t.jsonl", "evalsets/s").notes)
    assert "any one is right (4 of the lists are texts that read as one)" in guessed


def test_a_count_of_one_is_one_item(project: Path) -> None:
    for split in ("test", "validation"):
        (project / "ds").mkdir(exist_ok=True)
        (project / f"ds/{split}.jsonl").write_text('{"question": "q", "answer": "a", "note": "n"}\n')
    done = import_evalset("ds", "evalsets/one", format="huggingface")
    losses = [loss.what for loss in done.losses]
    assert "split 'validation' is not used (1 row)" in losses
    assert str(done).startswith("evalsets/one: 1 item, read as huggingface")
    assert "\n1 item, imported from `ds`" in (done.path / "README.md").read_text()
    twice = [item("a", sensitivity="public"), item("b", sensitivity="public", slice={"mlflow.x": "y"})]
    twice = [{**each, "inputs": {"thing": "brick"}} for each in twice]
    evalset = load_evalset(write_evalset(project, "colors", twice, train=[item("c", "another")]))
    written = export_evalset(evalset, "mlflow_records", "t.jsonl")
    losses = [loss.what for loss in written.losses]
    assert any(what.startswith("1 item repeats another's inputs") for what in losses)
    assert any(what.endswith("its own meaning (1 item)") for what in losses)
