"""Tables of multiple choice, of chats with answers, and of labels that may be none: items can be answered as asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from format_files import jsonl, lost, score, told

from workbench.errors import InputError
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
    assert f"answers name one of the choices ({', '.join(labels)})" in told(done)
    assert all(f"{mark}. {city}\n" in prompt(evalset) for mark, city in zip(labels, cities, strict=True))
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
    rows = [{"question": f"Which {n}?", "choices": choices, "answer": each} for n, each in enumerate(right)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.output.labels == list(marks)
    assert "".join(f"{mark}. {city}\n" for mark, city in zip(marks, choices, strict=True)) in prompt(evalset)
    assert evalset.items[0].expectations == {"label": str(right[0])} and score(evalset, str(right[0])) == 1


def test_numbers_beside_choices_that_are_none_of_their_places_stay_numbers(project: Path) -> None:
    rows = [{"question": f"q{n}", "choices": ["a", "b"], "answer": each} for n, each in enumerate((12, 7))]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.scorers == [{"type": "numeric"}]


@pytest.mark.parametrize(
    ("choices", "right"),
    [
        (["2", "3", "4", "1"], ["2", "4"]),  # choices themselves, which read like places
        (["x", "y", "z", "w"], [1, 2]),  # from 0, or from 1
        (["x", "y", "z", "w"], ["Q", "R"]),
        (["Yes", "No"], ["Y", "N"]),
    ],
)
def test_choices_are_not_marked_where_it_is_not_sure_what_answers_call_them(
    project: Path, choices: list[str], right: list[Any]
) -> None:
    rows = [{"question": f"q{n}", "choices": choices, "answer": each} for n, each in enumerate(right * 3)]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert "\n".join(choices) in prompt(evalset) and "answers name one of" not in told(done)


def test_places_count_from_1_where_the_last_choice_of_a_row_is_right(project: Path) -> None:
    rows = [{"question": f"q{n}", "choices": list("xyzwv")[: 5 - (n > 0)], "answer": 1 + n % 4} for n in range(16)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.output.labels == ["1", "2", "3", "4", "5"] and "1. x\n2. y" in prompt(evalset)


@pytest.mark.parametrize(("names", "right"), [(("choice1", "choice2"), (0, 1)), (("option_a", "option_b"), (1, 2))])
def test_answers_may_be_the_places_of_columns(project: Path, names: tuple[str, str], right: tuple[int, int]) -> None:
    rows = [{"premise": f"p{n}", names[0]: "x", names[1]: "y", "label": each} for n, each in enumerate(right)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.spec.output.labels == list(map(str, right)) and f"{right[0]}. x\n{right[1]}. y" in prompt(evalset)


def test_a_choice_that_some_rows_lack_is_shown_where_it_is(project: Path) -> None:
    rows = [{"question": f"q{n}", "A": "x", "B": "y", "C": "z" if n else "", "answer": "AB"[n]} for n in range(2)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert "C." not in prompt(evalset) and "C. z" in prompt(evalset, 1)


@pytest.mark.parametrize(
    "row",
    [
        {"question": "q", "answer": "right", "answer1": "right too", "answer2": "also right"},
        {"question": "q", "gold_answer": "g", "answer_a": "of one model", "answer_b": "of another"},
        {"text": "t", "a": "pos", "b": "neg", "c": "pos", "label": "pos"},
    ],
)
def test_references_and_votes_are_no_choices(project: Path, row: dict[str, str]) -> None:
    rows = [{key: f"{value} {n}" if len(value) > 3 else value for key, value in row.items()} for n in range(4)]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert len(evalset.items[0].inputs) == 1 and "is not used" in lost(done)


# Several labels, or none


@pytest.mark.parametrize("scorer", [None, "multi_label"])
def test_rows_without_labels_are_kept_where_a_row_may_have_several(project: Path, scorer: str | None) -> None:
    rows = [
        {"text": f"t{n}", "labels": each} for n, each in enumerate([["a", "b"], [], ["a"], ["b"], ["b", "a"], None])
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows), scorer=scorer)
    assert [each.expectations["labels"] for each in evalset.items][1] == [] and len(evalset.items) == 5
    assert lost(done) == "t.jsonl:6: no expected answer; the item is left out"
    assert "where there is no label (1 row), 'none' is right" in told(done)  # null says nothing
    assert prompt(evalset).endswith('a, b\nIf none applies, answer "none".')
    assert score(evalset, "None", 1) == 1 and score(evalset, "a", 1) == 0


def test_none_may_be_a_label_of_its_own(project: Path) -> None:
    rows = [
        {"text": f"t{n}", "labels": each}
        for n, each in enumerate([["a"], [], ["none"], ["a", "b"], ["b"], ["none"], ["none"], ["a"], ["b"]])
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert len(evalset.items) == 8 and "If none applies" not in prompt(evalset)
    assert "t.jsonl:2: no expected answer; the item is left out" in lost(done)


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


@pytest.mark.parametrize("column", ["ok", "verdict", "expectations.label", "human_label"])
def test_a_chat_that_is_judged_keeps_its_last_turn(project: Path, column: str) -> None:
    rows = [{**chat(f"user: {n}?", "assistant: Yes"), column: "safe"} for n in range(3)]
    with pytest.raises(InputError, match="chat turns that do not end with the user's"):
        bring(jsonl(project / "t.jsonl", rows), mapping={"inputs.messages": "messages", "expectations.label": column})


def test_a_chat_beside_an_answer_stays_as_it_is(project: Path) -> None:
    rows = [
        {**chat("user: Of Italy?", "assistant: Rome", "user: sure?"), "answer": "yes"},
        {**chat("user: a"), "answer": "no"},
    ]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert len(evalset.items[0].inputs["messages"]) == 3
