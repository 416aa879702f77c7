"""Tables of multiple choice, of chats with answers, and of labels that may be none: items can be answered as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from format_files import jsonl, lost, score, told

from workbench.evalset import EvalSet, load_evalset
from workbench.formats import Import, Options, import_evalset
from workbench.formats.shared.offered import choice_columns
from workbench.prompts import render


def bring(source: Path, **options: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(source, "evalsets/mine", options=Options(**options), replace=True)
    return done, load_evalset("evalsets/mine")


def prompt(evalset: EvalSet, index: int = 0) -> str:
    return render(evalset, "default", evalset.items[index]).messages[-1]["content"]


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["question", "A", "B", "C", "answer"], {"A": "a", "B": "b", "C": "c"}),
        (["option_a", "option_b"], {"option_a": "a", "option_b": "b"}),
        (["Choice 1", "Choice 2", "Choice 3"], {"Choice 1": "1", "Choice 2": "2", "Choice 3": "3"}),
        (["option0", "option1"], {"option0": "0", "option1": "1"}),
        (["A"], {}),
        (["B", "C"], {}),
        (["A", "C"], {}),
        (["a", "answer"], {}),
        (["text_1", "text_2"], {}),
    ],
)
def test_choices_are_columns_called_one_after_another(names: list[str], found: dict[str, str]) -> None:
    assert choice_columns(names) == found


@pytest.mark.parametrize(
    ("columns", "right", "labels"),
    [
        ("ABCD", "DA", ["A", "B", "C", "D"]),
        ("ABCD", "da", ["a", "b", "c", "d"]),
        ("1234", "12", ["1", "2", "3", "4"]),
    ],
)
def test_columns_of_choices_are_shown_and_every_one_can_be_answered(
    project: Path, columns: str, right: str, labels: list[str]
) -> None:
    cities = ["Rome", "Bonn", "Oslo", "Paris"]
    rows = [
        {"question": f"Which, {n}?", **dict(zip(columns, cities, strict=True)), "answer": each}
        for n, each in enumerate(right)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert done.losses == [] and evalset.spec.output.labels == labels
    assert f"answers name one of the choices: {', '.join(labels)}" in done.notes
    assert all(f"{mark}: {city}\n" in prompt(evalset) for mark, city in zip(columns, cities, strict=True))
    assert score(evalset, f"Answer: {right[0]}") == 1 and score(evalset, labels[2]) == 0


def test_answers_may_be_called_like_the_columns_or_be_the_choice_itself(project: Path) -> None:
    cities = {"option_a": "Rome", "option_b": "Bonn"}
    done, evalset = bring(jsonl(project / "t.jsonl", [{"question": "Which?", **cities, "answer": "option_b"}]))
    assert evalset.spec.output.labels == ["option_a", "option_b"] and score(evalset, "option_b") == 1
    rows = [{"question": f"Which {n}?", "option_a": f"r{n}", "option_b": f"b{n}", "answer": f"b{n}"} for n in range(3)]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.output.text and "option_a: r0\noption_b: b0" in prompt(evalset) and done.losses == []


@pytest.mark.parametrize(
    ("right", "marks"),
    [([0, 2], "0123"), (["1", "4"], "1234"), (["B", "A"], "ABCD"), (["b"], "abcd"), ([0, 3], "0123")],
)
def test_a_list_of_choices_is_shown_as_answers_call_them(project: Path, right: list[Any], marks: str) -> None:
    choices = ["Rome", "Bonn", "Oslo", "Paris"]
    rows = [{"question": f"Which {n}?", "choices": choices[: 4 - n], "answer": each} for n, each in enumerate(right)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.output.labels == list(marks)
    assert "".join(f"{mark}. {city}\n" for mark, city in zip(marks, choices, strict=True)) in prompt(evalset)
    assert evalset.items[0].expectations == {"label": str(right[0])} and score(evalset, str(right[0])) == 1


def test_numbers_beside_choices_that_are_none_of_their_places_stay_numbers(project: Path) -> None:
    rows = [{"question": f"q{n}", "choices": ["a", "b"], "answer": each} for n, each in enumerate((12, 7))]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.scorers == [{"type": "numeric"}]


# Several labels, or none


@pytest.mark.parametrize("scorer", [None, "multi_label"])
def test_rows_without_labels_are_kept_where_a_row_may_have_several(project: Path, scorer: str | None) -> None:
    rows = [
        {"text": f"t{n}", "labels": each} for n, each in enumerate([["a", "b"], [], ["a"], ["b"], ["b", "a"], None])
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows), scorer=scorer)
    assert [each.expectations["labels"] for each in evalset.items][1] == [] and len(evalset.items) == 5
    assert lost(done) == "t.jsonl:6: no expected answer; the item is left out"
    assert "where there is no label (2 rows), 'none' is right" in told(done)
    assert prompt(evalset).endswith('a, b\nIf none applies, answer "none".')
    assert score(evalset, "None", 1) == 1 and score(evalset, "a", 1) == 0


def test_an_empty_cell_is_no_label_and_a_missing_one_is_no_answer(project: Path) -> None:
    (project / "t.csv").write_text("text,labels\n" + "x,a;b\ny,\nz,a\nu,b\nw,a;b\nv\n")
    done, evalset = bring(project / "t.csv")
    assert [each.expectations["labels"] for each in evalset.items] == ["a;b", [], "a", "b", "a;b"]
    assert "t.csv:7: no expected answer; the item is left out" in lost(done)


def test_labels_that_read_otherwise_are_no_vocabulary(project: Path) -> None:
    cells = ["1) a;2) b", "1) a", "2) b", "1) a;2) b"]
    rows = [{"text": f"t{n}", "labels": each} for n, each in enumerate(cells)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.scorers == [{"type": "multi_label", "separator": ";"}]


def test_a_label_that_is_known_parts_an_answer(project: Path) -> None:
    rows = [
        {"text": f"t{n}", "labels": each}
        for n, each in enumerate([["a", "b"], ["c"], ["a"], ["b"], ["c"], ["c"], ["a"], ["b"]])
    ]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.scorers[0]["labels"] == ["a", "b", "c"]
    assert score(evalset, "b and a") == 1 and score(evalset, "b and c", 2) == 0


# Chats as models are tuned on them


def chat(*turns: str) -> dict[str, Any]:
    return {"messages": [dict(zip(("role", "content"), turn.split(": ", 1), strict=True)) for turn in turns]}


def test_the_assistants_last_turn_is_what_is_expected(project: Path) -> None:
    rows = [
        chat("system: Be brief.", "user: Hi", "assistant: Hello", "user: Capital of France?", "assistant: Paris"),
        chat("user: Of Italy?", "assistant: Rome"),
        chat("user: Of Spain?"),
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert [each.expectations for each in evalset.items] == [{"answer": "Paris"}, {"answer": "Rome"}]
    turns = render(evalset, "default", evalset.items[0]).messages
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert turns[-1]["content"] == "Capital of France?"
    assert lost(done) == "t.jsonl:3: no expected answer; the item is left out"


def test_a_chat_beside_an_answer_stays_as_it_is(project: Path) -> None:
    rows = [
        {**chat("user: Of Italy?", "assistant: Rome", "user: sure?"), "answer": "yes"},
        {**chat("user: a"), "answer": "no"},
    ]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert len(evalset.items[0].inputs["messages"]) == 3
