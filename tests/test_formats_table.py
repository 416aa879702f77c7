"""Tables: what a column is, how answers are scored, what gets lost; written and read again."""

from __future__ import annotations

import contextlib
import csv
import json
import random
import tracemalloc
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_evalset
from format_files import jsonl, lost, told
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, export_evalset, import_evalset
from workbench.prompts import render

COLORS = ["red", "green", "blue"]


def table(path: Path, rows: list[list[str]], delimiter: str = ",") -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter).writerows(rows)
    return path


def bring(source: Path | str, mapping: dict[str, str] | None = None, **more: Any) -> tuple[Import, EvalSet]:
    """Import a file as the eval set `mine`, over what was there."""
    done = import_evalset(source, "evalsets/mine", options=Options(mapping=mapping or {}, **more), replace=True)
    return done, load_evalset("evalsets/mine")


def asked(answers: list[Any], name: str = "answer") -> list[dict[str, Any]]:
    return [{"question": f"question {index}?", name: answer} for index, answer in enumerate(answers)]


def scored(evalset: EvalSet) -> dict[str, Any]:
    return evalset.spec.scorers[0]


# A mapping.

MAPPED = [
    ["qid", "question", "answer", "subject", "doc", "level", "note"],
    *(
        [f"q{n}", f"How warm is it on day {n}?", COLORS[n % 3], "weather", f"d{n // 2}", "internal", "x"]
        for n in range(9)
    ),
]
MAPPING = {
    "inputs.text": "question",
    "expectations.label": "answer",
    "id": "qid",
    "slice.topic": "subject",
    "cluster": "doc",
    "sensitivity": "level",
}


def test_a_mapping_fills_every_place(project: Path) -> None:
    done, evalset = bring(table(project / "t.csv", MAPPED), MAPPING)
    item = evalset.items[1]
    assert done.format == "table" and done.items == 9
    assert item.id == "q1" and item.inputs == {"text": "How warm is it on day 1?"}
    assert item.expectations == {"label": "green"} and item.slice == {"topic": "weather"}
    assert item.cluster == "d0" and item.sensitivity == "internal"
    assert evalset.spec.output.labels == ["blue", "green", "red"] and scored(evalset) == {"type": "label"}
    assert evalset.spec.accept.min_score == 1
    assert [str(loss) for loss in done.losses] == [
        "t.csv:2: column 'note' (9 rows have a value) is not used: use it by --map PLACE=COLUMN"
    ]


def test_a_mapping_may_name_the_column_first(project: Path) -> None:
    source = table(project / "t.csv", MAPPED)
    _, evalset = bring(source, MAPPING)
    _, turned = bring(source, {column: place for place, column in MAPPING.items()})
    assert turned.items == evalset.items


def test_where_both_sides_are_places_the_one_that_is_a_column_is_the_column(project: Path) -> None:
    source = jsonl(
        project / "t.jsonl", [{"id": f"i{n}", "cluster": f"text {n}", "answer": str(n % 2)} for n in range(6)]
    )
    _, evalset = bring(source, {"cluster": "inputs.text", "expectations.label": "answer"})
    assert evalset.items[2].inputs == {"text": "text 2"} and evalset.items[2].id == "i2"
    assert evalset.items[2].cluster is None


def test_with_a_mapping_nothing_else_is_guessed_but_id_split_and_sensitivity(project: Path) -> None:
    rows = [
        {"id": f"i{n}", "q": f"text {n}", "a": "yes", "topic": "t", "doc_id": "d", "sensitivity": "public"}
        for n in range(3)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows), {"inputs.text": "q", "expectations.label": "a"})
    item = evalset.items[0]
    assert (item.id, item.sensitivity, item.slice, item.cluster) == ("i0", "public", {}, None)
    assert "column 'topic' (3 rows" in lost(done) and "column 'doc_id' (3 rows" in lost(done)


def test_nested_columns_are_reached_by_dots_and_their_unused_parts_are_lost(project: Path) -> None:
    rows = [{"q": {"de": f"Frage {n}", "en": f"question {n}"}, "meta": {"gold": {"label": "yes"}}} for n in range(3)]
    done, evalset = bring(
        jsonl(project / "t.jsonl", rows), {"inputs.text": "q.de", "expectations.label": "meta.gold.label"}
    )
    assert evalset.items[2].inputs == {"text": "Frage 2"}
    assert evalset.items[2].expectations == {"label": "yes"}
    assert [str(loss).split(": ")[1] for loss in done.losses] == ["column 'q.en' (3 rows have a value) is not used"]


def test_a_column_whose_name_has_a_dot_goes_before_a_way_into_another(project: Path) -> None:
    rows = [{"q.de": f"flat {n}", "q": {"de": "nested"}, "a": "yes"} for n in range(3)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows), {"inputs.text": "q.de", "expectations.a": "a"})
    assert evalset.items[1].inputs == {"text": "flat 1"}


@pytest.mark.parametrize(
    ("mapping", "problem"),
    [
        ({"inputs.text": "nothing"}, r"there is no column 'nothing'. The columns are: qid, question"),
        ({"question": "answer"}, r"neither side is a place"),
        ({"question": "inputs.text", "answer": "inputs.text"}, r"two columns are inputs.text"),
        ({"inputs.text": "question.deeper"}, r"no column 'question.deeper'"),
    ],
)
def test_a_mapping_that_cannot_be(project: Path, mapping: dict[str, str], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        bring(table(project / "t.csv", MAPPED), mapping)
    assert not (project / "evalsets" / "mine").exists()


def test_several_mapped_answers_make_a_json_answer_with_numbers_out_of_cells(project: Path) -> None:
    rows = [["doc", "vendor", "due", "total", "paid"]]
    rows += [
        [f"Invoice {n} of a firm", f"Firm {n}", f"2026-03-{n + 10}", f"{n}.50", "true" if n % 2 else ""]
        for n in range(6)
    ]
    places = {f"expectations.{name}": name for name in ("vendor", "due", "total", "paid")}
    _, evalset = bring(table(project / "t.csv", rows), {"inputs.document": "doc", **places})
    assert scored(evalset) == {
        "type": "json_fields",
        "fields": {"vendor": "text", "due": "date", "total": "money", "paid": "boolean"},
    }
    assert evalset.items[3].expectations == {"vendor": "Firm 3", "due": "2026-03-13", "total": 3.5, "paid": True}
    assert evalset.items[2].expectations["paid"] is None
    assert evalset.output_schema is not None
    properties = evalset.output_schema["properties"]
    assert properties["total"] == {"type": "number"} and properties["paid"] == {"type": ["boolean", "null"]}
    assert properties["vendor"] == {"type": "string", "maxLength": 20}
    assert evalset.output_schema["required"] == ["vendor", "due", "total", "paid"]
    assert evalset.output_schema["additionalProperties"] is False
    assert evalset.spec.accept.min_score == 0.8


# A guess.


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("input", "output"),
        ("question", "answer"),
        ("prompt", "label"),
        ("text", "target"),
        ("query", "expected"),
        ("document", "ideal"),
        ("ticket", "reference"),
        ("User Input", "groundTruth"),
    ],
)
def test_columns_are_known_by_their_names(project: Path, question: str, answer: str) -> None:
    rows = [{"nr": n, answer: COLORS[n % 3], question: f"the color of {n}"} for n in range(9)]
    source = jsonl(project / "t.jsonl", rows)
    done = import_evalset(source, "evalsets/mine", format="table")
    evalset = load_evalset("evalsets/mine")
    assert list(evalset.items[0].inputs.values()) == ["the color of 0"]
    assert evalset.items[0].expectations == {"label": "red"}
    assert f"column '{question}' is inputs." in told(done)
    assert f"column '{answer}' is the expected answer, by its name" in told(done)


def test_ids_slices_clusters_are_known_by_their_names(project: Path) -> None:
    rows = [
        {
            "ID": 7 + n,
            "Question": f"q {n}",
            "Answer": "yes",
            "topic": "a",
            "Category": "b",
            "doc_id": n // 2,
            "mood": "?",
        }
        for n in range(4)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    item = evalset.items[3]
    assert (item.id, item.cluster, item.slice) == ("10", "1", {"topic": "a", "Category": "b"})
    assert "column 'mood' (4 rows" in lost(done) and len(done.losses) == 1
    assert sum("column '" in note for note in done.notes) == 6


def test_what_distinguishes_every_item_is_no_slice(project: Path) -> None:
    rows = [{"question": f"q {n}", "answer": "yes", "topic": f"topic {n}"} for n in range(30)]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.items[0].slice == {} and "column 'topic' (30 rows" in lost(done)


def test_deepeval_goldens(project: Path) -> None:
    golden = {"actual_output": None, "name": None, "source_file": "handbook.pdf", "tools_called": []}
    rows = [
        golden
        | {
            "input": f"May I return item {n}?",
            "expected_output": "yes" if n % 2 else "no",
            "context": ["ideal context"],
            "retrieval_context": ["first part", "second part"],
            "additional_metadata": {"difficulty": "easy", "tags": ["x"], "turn": 3},
        }
        for n in range(4)
    ]
    (project / "goldens.json").write_text(json.dumps(rows))
    done, evalset = bring(project / "goldens.json")
    item = evalset.items[1]
    assert item.inputs == {"input": "May I return item 1?", "retrieval_context": ["first part", "second part"]}
    assert item.expectations == {"label": "yes", "context": ["ideal context"]}
    assert item.slice == {"difficulty": "easy", "turn": "3"} and item.cluster == "handbook.pdf"
    text = render(evalset, "default", item).text
    assert "first part\nsecond part" in text and "ideal context" not in text
    assert "expectations.context: kept, but no scorer reads it (4 times)" in lost(done)
    assert "column 'additional_metadata.tags' (4 rows" in lost(done)
    for name in ("actual_output", "name", "tools_called"):
        assert f"column '{name}' (0 rows have a value) is not used: empty throughout" in lost(done)


def test_ragas(project: Path) -> None:
    rows = [
        {
            "user_input": f"What is {n}?",
            "reference": f"the {n}th of the numbers that there are, as everybody knows who has learnt to count",
            "retrieved_contexts": ["seen"],
            "reference_contexts": ["should be seen"],
        }
        for n in range(3)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.items[0].inputs == {"user_input": "What is 0?", "retrieved_contexts": ["seen"]}
    assert evalset.items[0].expectations["reference_contexts"] == ["should be seen"]
    assert scored(evalset) == {"type": "rouge", "metric": "rougeL"}
    assert "expectations.reference_contexts: kept" in lost(done)


def test_columns_of_unknown_names_are_told_by_their_contents(project: Path) -> None:
    rows = [
        {"nr": n, "kw": COLORS[n % 3], "frage": f"Welche Farbe hat Ding {n}, wenn man es ansieht?"} for n in range(9)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert list(evalset.items[0].inputs) == ["frage"] and evalset.items[0].expectations == {"label": "red"}
    assert "column 'kw' is the expected answer, by its contents" in told(done)
    assert "column 'frage' is inputs.frage, by its contents: the longest text" in told(done)
    assert "column 'nr' (9 rows" in lost(done)


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([{"answer": "yes"}], r"no column looks like an input. .*--map inputs.text=COLUMN.*The columns are: answer"),
        ([{"question": "why?"}], r"no column looks like an expected answer. .*--map expectations.answer=COLUMN"),
        ([{"question": "", "answer": ""}], r"no column looks like an input"),
    ],
)
def test_a_table_without_an_input_or_an_answer(project: Path, rows: list[dict[str, Any]], problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        bring(jsonl(project / "t.jsonl", rows))


def test_inputs_called_like_methods_or_not_like_names_reach_the_prompt(project: Path) -> None:
    rows = [
        {"inputs": {"items": f"n {n}", "my text": "t", 'q"}}': "x"}, "expectations": {"label": "yes"}} for n in range(2)
    ]
    _, evalset = bring(jsonl(project / "t.jsonl", [{"id": n, **row} for n, row in enumerate(rows)]))
    text = render(evalset, "default", evalset.items[1]).text
    assert 'items: n 1\nmy text: t\nq"}}: x\n' in text


def test_an_input_that_some_items_lack_is_left_out_of_their_prompt(project: Path) -> None:
    rows = [{"question": "q", "context": "c", "answer": "yes"}, {"question": "r", "answer": "no", "context": None}]
    _, evalset = bring(jsonl(project / "t.jsonl", [*rows, {"question": "s", "answer": "no"}]))
    texts = [render(evalset, "default", item).text for item in evalset.items]
    assert "context: c" in texts[0] and "None" not in texts[1] and "context: \n" in texts[2]


def test_labels_that_look_like_templates_stay_text(project: Path) -> None:
    rows = asked(["{{ inputs.x }}", "{% raw %}"] * 3, "label")
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert "{% raw %}, {{ inputs.x }}" in render(evalset, "default", evalset.items[0]).text


def test_choices_get_letters_where_the_answers_are_letters(project: Path) -> None:
    rows = [{"question": f"q{n}", "choices": ["one", "two"], "answer": "AB"[n % 2]} for n in range(6)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert "A. one\nB. two\n" in render(evalset, "default", evalset.items[0]).text


def test_chat_turns_are_sent_as_they_are(project: Path) -> None:
    turns = [{"role": "system", "content": "Be {{ brief }}."}, {"role": "user", "content": "Is it so?"}]
    rows: list[dict[str, Any]] = [{"messages": turns, "answer": "yes"}] * 3
    rows += [{"messages": [*turns, {"role": "assistant", "content": "Yes."}], "answer": "no"}]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert render(evalset, "default", evalset.items[0]).messages == turns
    assert [str(loss) for loss in done.losses] == [
        "t.jsonl:4: chat turns that do not end with the user's; the item is left out"
    ]


# Answers.


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["Yes", "No", "Yes"], ["Yes", "No"]),
        (["no"] * 3, ["yes", "no"]),
        (["YES", "no", "No"], ["YES", "NO"]),
        ([True, False], ["yes", "no"]),
        (["True", "False"], ["True", "False"]),
    ],
)
def test_yes_and_no_are_labels_however_few(project: Path, answers: list[Any], labels: list[str]) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert evalset.spec.output.labels == labels and scored(evalset) == {"type": "label"}
    assert {item.expectations["label"] for item in evalset.items} <= set(labels)
    wanted = [str(answer).casefold() in ("yes", "true") for answer in answers]
    assert [item.expectations["label"] == labels[0] for item in evalset.items] == wanted


def test_answers_that_repeat_are_labels_and_spellings_are_one(project: Path) -> None:
    done, evalset = bring(jsonl(project / "t.jsonl", asked(["Bug", "bug ", "Bug", "billing", "billing", "billing"])))
    assert evalset.spec.output.labels == ["billing", "Bug"]
    assert [item.expectations["label"] for item in evalset.items][:3] == ["Bug", "Bug", "Bug"]
    assert "6 answers are one of 2 that repeat (spellings" in told(done)
    assert "Answer with one of these only: billing, Bug" in render(evalset, "default", evalset.items[0]).text


@pytest.mark.parametrize(
    "answers",
    [
        ["a thing", "b thing", "c thing"],  # fewer than three times as many
        ["a thing", "b thing"] * 2 + ["c thing"],
        ["the same"] * 9,  # one is no choice
        [f"thing {n % 101}" for n in range(303)],  # more than 100
    ],
)
def test_what_are_no_labels_is_compared_as_text(project: Path, answers: list[str]) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert evalset.spec.output.text and evalset.spec.accept.min_score == 1
    assert scored(evalset) == {"type": "exact", "ignore": ["case", "punctuation"]}
    assert evalset.items[0].expectations == {"answer": answers[0]}


def test_a_hundred_labels_are_labels_and_long_texts_are_none(project: Path) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked([f"thing {n % 100}" for n in range(300)])))
    assert len(evalset.spec.output.labels or []) == 100
    long = "a label of far too many words, of which nobody can say that it is short any more, can one?"
    _, evalset = bring(jsonl(project / "t.jsonl", asked([long, long.upper() + "!"] * 6)))
    assert scored(evalset)["type"] == "rouge"


@pytest.mark.parametrize(
    ("answers", "type_"),
    [
        ([1204.5, 3, 18, 3, 3, 3], "numeric"),
        (["1,204.5", "3", "18 %", "-7"], "numeric"),
        (["2026-03-14", "14. März 2026", "3 May 2026"], "date"),
        (["$12.00", "13.50 EUR", "RM 7"], "money"),
        (["12", "about 3"], "exact"),
        ([1, 2, 3] * 3, "label"),  # grades
    ],
)
def test_numbers_dates_and_amounts_have_scorers_of_their_own(project: Path, answers: list[Any], type_: str) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert scored(evalset)["type"] == type_
    if type_ == "label":
        assert evalset.spec.output.labels == ["1", "2", "3"] and evalset.items[0].expectations == {"label": "1"}


def test_labels_joined_by_semicolons_are_several_labels(project: Path) -> None:
    answers = ["red;blue", "red", "blue; green", "green", "red;green", "blue"]
    done, evalset = bring(
        table(project / "t.csv", [["text", "colors"], *([f"thing {n}", a] for n, a in enumerate(answers))]),
        {"inputs.text": "text", "expectations.labels": "colors"},
    )
    assert (
        scored(evalset) == {"type": "multi_label", "separator": ";", "labels": ["blue", "green", "red"]}
        and evalset.spec.output.text
    )
    assert evalset.items[0].expectations == {"labels": "red;blue"}
    scorer, item = evalset.scorers[0], evalset.items[2]
    assert scorer.score(evalset.parse("green; blue"), item.expectations).value == 1
    assert scorer.score(evalset.parse("green"), item.expectations).value < 1
    assert "cells hold several of 3 labels" in told(done)


@pytest.mark.parametrize("answers", [["joy;fear", "joy", "anger; joy"], [["joy", "fear"], ["joy"], ["anger", "joy"]]])
def test_several_labels_that_were_asked_for_are_parted_as_they_are_joined(project: Path, answers: list[Any]) -> None:
    done, evalset = bring(jsonl(project / "t.jsonl", asked(answers)), scorer="multi_label")
    scorer, prompt = evalset.scorers[0], render(evalset, "default", evalset.items[0]).messages[0]["content"]
    assert scored(evalset) == {"type": "multi_label", "separator": ";", "labels": ["anger", "fear", "joy"]}
    assert scorer.score(evalset.parse("fear; joy"), evalset.items[0].expectations).value == 1
    assert scorer.score(evalset.parse("joy"), evalset.items[0].expectations).value < 1
    assert 'Answer with all of these that apply, separated by ";": anger, fear, joy' in prompt
    assert "as it was asked for" in told(done)


def test_labels_that_hold_a_comma_stay_whole_where_several_were_asked_for(project: Path) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(["a, b", "c", "a, b"])), scorer="multi_label")
    assert scored(evalset) == {"type": "multi_label"}  # nothing says that ";" joins here: the default it is


@pytest.mark.parametrize("answers", [["joy;fear", "anger", "calm; awe"], ["joy;fear", "anger", "joy;awe"] * 2])
def test_cells_that_look_joined_but_hardly_repeat_are_said(project: Path, answers: list[str]) -> None:
    done, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    joined = sum(";" in answer for answer in answers)
    assert scored(evalset)["type"] != "multi_label"
    assert f'{joined} answers ";" stands between words: if it joins labels, take --scorer multi_label' in told(done)


@pytest.mark.parametrize(
    ("answers", "ignore"),
    [
        (["A-", "A", "Ann"], ["case"]),
        (["x", "-x", "y"], ["case"]),
        ([str(n) + "!" * (n == 9) for n in range(600)] + ["9", "Ann"], ["case"]),
        (["(a)", "a"] * 3, ["case"]),
        (["Paris", "paris.", "St. Ann", "St Ann"], ["case", "punctuation"]),
        (["Paris", "-5", "C++", "19%", "C", "5", "19"], ["case", "punctuation"]),
    ],
)
def test_different_answers_are_not_made_the_same(project: Path, answers: list[str], ignore: list[str]) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert scored(evalset) == {"type": "exact", "ignore": ignore}
    right = {item.expectations["answer"] for item in evalset.items}
    for item in evalset.items:
        said = [a for a in right if evalset.scorers[0].score(evalset.parse(a), item.expectations).value]
        assert {a.casefold().replace(".", "") for a in said} == {
            item.expectations["answer"].casefold().replace(".", "")
        }


@pytest.mark.parametrize("answers", [["red", "blue", "green"], ["It is one; that is all of it", "No", "Yes, if so"]])
def test_nothing_is_said_of_joined_labels_where_none_are(project: Path, answers: list[str]) -> None:
    done, _ = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert "multi_label" not in told(done)


@pytest.mark.parametrize(
    "answers", [["+", "-", "x y"], ["*", "**", "a"], ["two", "?", "…"], [["a", "!"], ["b"], ["c"]]]
)
def test_answers_that_are_only_signs_are_compared_with_their_punctuation(project: Path, answers: list[Any]) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert scored(evalset) == {"type": "exact", "ignore": ["case"]}
    scorer = evalset.scorers[0]
    sign = next(a for each in answers for a in ([each] if isinstance(each, str) else each) if not a[0].isalnum())
    of = next(each for each in evalset.items if sign in each.expectations["answer"])
    assert scorer.score(evalset.parse(sign), of.expectations).value == 1
    assert scorer.score(evalset.parse("~"), of.expectations).value == 0


def test_semicolons_in_sentences_join_no_labels(project: Path) -> None:
    answers = [f"It is {n}; that is all of it, and nothing more was ever said about it" for n in range(6)]
    _, evalset = bring(jsonl(project / "t.jsonl", asked(answers)))
    assert scored(evalset)["type"] == "rouge"


def test_lists_in_a_column_called_by_a_plural_are_several_labels_too(project: Path) -> None:
    rows = asked([["red", "blue"], ["red"], ["blue", "green"], ["green"], ["red", "green"], ["blue"]], "labels")
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert scored(evalset) == {"type": "multi_label", "separator": ";", "labels": ["blue", "green", "red"]}
    assert evalset.items[0].expectations == {"labels": ["red", "blue"]}


@pytest.mark.parametrize("cell", [False, True])
def test_of_several_answers_in_a_list_any_is_right(project: Path, cell: bool) -> None:
    answers: list[Any] = [["Paris", "City of Light"], ["Rome"], "Bern"]
    if cell:
        rows = [["question", "answer"], *(["q?", a if isinstance(a, str) else json.dumps(a)] for a in answers)]
        source = table(project / "t.csv", rows)
    else:
        source = jsonl(project / "t.jsonl", asked(answers))
    done, evalset = bring(source)
    assert [item.expectations["answer"] for item in evalset.items] == answers
    assert evalset.scorers[0].score(evalset.parse("city of light."), evalset.items[0].expectations).value == 1
    assert "of several answers in a list any one is right" in told(done)


def test_an_empty_list_of_answers_is_no_answer(project: Path) -> None:
    done, evalset = bring(jsonl(project / "t.jsonl", asked([[], ["a"], ["b", ""]])))
    assert [item.expectations["answer"] for item in evalset.items] == [["a"], ["b"]]
    assert "t.jsonl:1: no expected answer; the item is left out" in lost(done)


@pytest.mark.parametrize("cell", [False, True])
def test_objects_are_json_answers_with_a_schema_of_their_values(project: Path, cell: bool) -> None:
    answers = [
        {
            "kind": "order" if n % 2 else "invoice",
            "date": f"0{n % 9 + 1}/02/2018",
            "total": f"RM {n}.50",
            "count": n,
            "rate": n / 2,
            "paid": n % 3 == 0,
            "vendor": None if n == 4 else f"Firm {n}",
            "lines": [{"sku": f"s{n}", "units": n}],
            "tags": ["a"],
        }
        for n in range(12)
    ]
    if cell:
        source = table(
            project / "t.csv", [["text", "expected"], *([f"t {n}", json.dumps(a)] for n, a in enumerate(answers))]
        )
    else:
        source = jsonl(project / "t.jsonl", asked(answers, "expected"))
    done, evalset = bring(source)
    assert scored(evalset)["fields"] == {
        "kind": "label",
        "date": "date",
        "total": "money",
        "count": "number",
        "rate": "number",
        "paid": "boolean",
        "vendor": "text",
        "lines": {"type": "list", "of": {"type": "object", "fields": {"sku": "text", "units": "number"}}},
        "tags": {"type": "list", "of": "text"},
    }
    assert evalset.output_schema is not None
    properties = evalset.output_schema["properties"]
    assert properties["kind"] == {"enum": ["invoice", "order"]}
    assert properties["count"] == {"type": "integer"} and properties["rate"] == {"type": "number"}
    assert properties["vendor"] == {"type": ["string", "null"], "maxLength": 20}
    assert properties["lines"]["items"]["properties"]["units"] == {"type": "integer"}
    assert evalset.items[4].expectations == answers[4]
    assert evalset.parse(json.dumps(answers[5])).format_ok
    assert "kind: label, date: date, total: money" in told(done)
    assert "Answer with a JSON object with these keys: kind, date" in render(evalset, "default", evalset.items[0]).text


def test_a_key_that_some_objects_lack_is_null(project: Path) -> None:
    _, evalset = bring(jsonl(project / "t.jsonl", asked([{"a": "x", "b": "y"}, {"a": "z"}, {"a": "", "b": "w"}])))
    assert [item.expectations for item in evalset.items] == [
        {"a": "x", "b": "y"},
        {"a": "z", "b": None},
        {"a": None, "b": "w"},
    ]
    assert evalset.output_schema is not None
    assert evalset.output_schema["properties"]["b"]["type"] == ["string", "null"]


def test_the_answers_of_squad_are_its_texts(project: Path) -> None:
    rows = [
        {
            "id": f"s{n}",
            "question": f"q {n}",
            "context": "c",
            "answers": {"text": [f"t {n}", "u"], "answer_start": [1, 2]},
        }
        for n in range(3)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert evalset.items[1].expectations == {"answer": ["t 1", "u"]} and scored(evalset)["type"] == "exact"
    assert "answer_start" in told(done)


@pytest.mark.parametrize(
    ("scorer", "name", "key"),
    [("rouge", "answer", "answer"), ("contains", "target", "answer"), ("label", "answer", "label")],
)
def test_the_scorer_can_be_named(project: Path, scorer: str, name: str, key: str) -> None:
    done, evalset = bring(jsonl(project / "t.jsonl", asked(["red", "blue", "red"], name)), scorer=scorer)
    assert scored(evalset) == {"type": scorer} and key in evalset.items[0].expectations
    assert f"scored by {scorer}" in told(done) and "as it was asked for" in told(done)
    assert evalset.spec.accept.min_score == (0.5 if scorer == "rouge" else 1)


def test_a_named_scorer_reads_a_mapped_expectation(project: Path) -> None:
    source = jsonl(project / "t.jsonl", asked(["red", "blue", "red"]))
    _, evalset = bring(source, {"inputs.q": "question", "expectations.gold": "answer"}, scorer="rouge")
    assert scored(evalset) == {"type": "rouge", "key": "gold"}
    with pytest.raises(InputError, match="there is no scorer 'best'"):
        bring(source, scorer="best")


def test_expectations_that_nothing_reads_are_kept_and_said(project: Path) -> None:
    rows = [
        {"id": n, "inputs": {"q": "x"}, "expectations": {"answer": f"a {n}", "why": "long " * 40}} for n in range(5)
    ]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert scored(evalset)["type"] == "exact" and "why" in evalset.items[0].expectations
    assert lost(done) == "t.jsonl:1, 2, 3 …: expectations.why: kept, but no scorer reads it (5 times)"


# Sensitivity and splits.


def test_an_unknown_sensitivity_is_restricted_and_a_missing_one_is_the_users(project: Path) -> None:
    rows = [{"text": "t", "label": "yes", "sensitivity": said} for said in ("Public", "secret", "", "internal")]
    done, evalset = bring(jsonl(project / "t.jsonl", rows), sensitivity="public")
    assert [item.sensitivity for item in evalset.items] == ["public", "restricted", "public", "internal"]
    assert "t.jsonl:2: a sensitivity that is none of public" in lost(done) and "secret" not in lost(done)


@pytest.mark.parametrize(
    "mapping", [{}, {"inputs.text": "text", "expectations.label": "label", "sensitivity": "level"}]
)
def test_a_row_that_ends_before_its_sensitivity_is_restricted(project: Path, mapping: dict[str, str]) -> None:
    head = ["text", "label", "level" if mapping else "sensitivity"]
    rows = [head, ["a", "yes", "public"], ["b", "no"], ["c", "yes", ""], ["d", "no"]]
    done, evalset = bring(table(project / "t.csv", rows), mapping, sensitivity="public")
    assert [each.sensitivity for each in evalset.items] == ["public", "restricted", "public", "restricted"]
    assert lost(done).splitlines() == [
        "t.csv:3, 5: fewer cells than columns: those that are missing count as empty (2 times)",
        "t.csv:3, 5: the row ends before its sensitivity: taken as restricted (2 times)",
    ]


def test_a_sensitivity_that_all_rows_end_before_makes_all_restricted(project: Path) -> None:
    rows = [["text", "label", "sensitivity"], ["a", "yes"], ["b", "no"]]
    _, evalset = bring(table(project / "t.csv", rows), sensitivity="public")
    assert [each.sensitivity for each in evalset.items] == ["restricted"] * 2


def test_a_mapping_does_not_drop_the_sensitivity(project: Path) -> None:
    rows = [{"text": "t", "label": "yes", "sensitivity": "restricted"}]
    source = jsonl(project / "t.jsonl", rows)
    _, evalset = bring(source, {"inputs.text": "text", "expectations.label": "label"}, sensitivity="public")
    assert evalset.items[0].sensitivity == "restricted"


def test_a_split_column_parts_items_from_examples(project: Path) -> None:
    splits = ["train", "test", "validation", "test", "train", "validation"]
    rows = [{"id": f"i{n}", "text": "t", "label": "yes", "split": split} for n, split in enumerate(splits)]
    done, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert [item.id for item in evalset.items] == ["i1", "i3"] and [item.id for item in evalset.train] == ["i0", "i4"]
    assert "t.jsonl:3, 6: of a split that is not used; the item is left out (2 times)" in lost(done)
    assert "left out: validation" in told(done) and done.items == 2


def test_a_split_column_of_other_words_is_a_slice(project: Path) -> None:
    rows = [{"text": "t", "label": "yes", "split": f"part {n % 2}"} for n in range(4)]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    assert len(evalset.items) == 4 and evalset.items[1].slice == {"split": "part 1"}


# Files.

PLAIN = [
    ["id", "text", "label"],
    *([f"i{n}", f'Ünïcode, "{n}"; with marks\nand lines', COLORS[n % 3]] for n in range(9)),
]


@pytest.mark.parametrize(
    ("delimiter", "name", "bom", "newline"),
    [
        (",", "t.csv", False, "\n"),
        (";", "t.csv", True, "\r\n"),
        ("\t", "t.tsv", True, "\n"),
        ("|", "t.txt", False, "\r\n"),
    ],
)
def test_every_csv_there_is(project: Path, delimiter: str, name: str, bom: bool, newline: str) -> None:
    with (project / name).open("w", encoding="utf-8-sig" if bom else "utf-8", newline="") as file:
        csv.writer(file, delimiter=delimiter, lineterminator=newline).writerows(PLAIN)
    done, evalset = bring(project / name)
    assert [item.id for item in evalset.items] == [f"i{n}" for n in range(9)] and not done.losses
    assert evalset.items[4].inputs == {"text": 'Ünïcode, "4"; with marks\nand lines'}


@pytest.mark.parametrize("name", ["t.jsonl", "t.json", "t"])
def test_jsonl_with_a_bom_blank_lines_and_crlf(project: Path, name: str) -> None:
    lines = [json.dumps({"id": f"ü{n}", "text": f"t {n}", "label": "ja/nein?"}, ensure_ascii=False) for n in range(3)]
    (project / name).write_bytes(("\ufeff" + "\r\n\r\n".join(lines) + "\r\n  \r\n").encode())
    done, evalset = bring(project / name)
    assert [item.id for item in evalset.items] == ["ü0", "ü1", "ü2"] and done.format == "table"


@pytest.mark.parametrize("key", ["data", "examples", None])
def test_a_json_list_by_itself_or_under_a_key(project: Path, key: str | None) -> None:
    rows = [{"id": f"i{n}", "text": "t", "label": "yes"} for n in range(3)]
    (project / "t.json").write_text(json.dumps(rows if key is None else {"version": 2, key: rows}, indent=1))
    done, evalset = bring(project / "t.json")
    assert len(evalset.items) == 3
    assert [str(loss) for loss in done.losses] == ([] if key is None else ["t.json key version: not used"])
    assert key is None or f"the rows are those of the list '{key}'" in told(done)


def test_a_loss_in_a_json_list_names_the_item(project: Path) -> None:
    (project / "t.json").write_text(json.dumps(asked(["a", "", "b"])))
    assert lost(bring(project / "t.json")[0]) == "t.json item 2: no expected answer; the item is left out"


def test_parquet_by_row_groups_with_types_of_its_own(project: Path) -> None:
    import datetime
    import decimal

    rows = [
        {
            "id": n,
            "text": None if n == 3 else f"t {n}",
            "meta": {"when": datetime.date(2026, 1, 1 + n), "what": None},
            "image": b"\x89PNG" if n else None,
            "price": decimal.Decimal("12.50"),
            "weight": float("nan") if n == 1 else 1.5,
            "label": ["yes", "no"][n % 2],
        }
        for n in range(5)
    ]
    pq.write_table(pa.Table.from_pylist(rows), project / "t.parquet", row_group_size=2)
    mapping = {
        "inputs.text": "text",
        "inputs.when": "meta.when",
        "inputs.image": "image",
        "inputs.price": "price",
        "inputs.weight": "weight",
        "expectations.label": "label",
    }
    done, evalset = bring(project / "t.parquet", mapping)
    assert evalset.items[2].inputs == {"text": "t 2", "when": "2026-01-03", "price": 12.5, "weight": 1.5}
    assert "weight" not in evalset.items[1].inputs and evalset.items[4].id == "4"
    assert "t.parquet row 2, " in lost(done) and "column 'image': binary data (an image?), left out (4 times)" in lost(
        done
    )
    assert "column 'meta.what' (0 rows have a value)" in lost(done)


def test_whole_objects_in_parquet_have_no_keys_that_other_rows_have(project: Path) -> None:
    rows = [{"id": "a", "inputs": {"q": "x"}, "expectations": {"label": "yes"}, "slice": {"t": "u"}}]
    rows += [{"id": "b", "inputs": {"r": "y"}, "expectations": {"label": "no"}, "slice": {"v": "w"}}]
    pq.write_table(pa.Table.from_pylist(rows), project / "t.parquet")
    _, evalset = bring(project / "t.parquet")
    assert [item.inputs for item in evalset.items] == [{"q": "x"}, {"r": "y"}]
    assert [item.slice for item in evalset.items] == [{"t": "u"}, {"v": "w"}]


def test_rows_with_missing_cells_duplicate_ids_and_huge_cells(project: Path) -> None:
    huge = "word " * 60_000
    rows = [["id", "text", "label"], ["a", huge, "yes"], ["a", "t"], ["b", "", "no"], [], ["a", "u", "no"], ["c"]]
    done, evalset = bring(table(project / "t.csv", rows))
    assert [item.id for item in evalset.items] == ["a", "a-2"] and evalset.items[0].inputs["text"] == huge
    assert "t.csv:3: no expected answer; the item is left out" in lost(done)
    assert "t.csv:3, 7: fewer cells than columns: those that are missing count as empty (2 times)" in lost(done)
    assert "t.csv:4, 7: every input is empty; the item is left out (2 times)" in lost(done)
    assert "1 id was there before" in told(done)


def test_losses_are_counted_and_never_quote_a_cell(project: Path) -> None:
    rows = [["text", "label"], *(["", "a secret that nobody may see"] for _ in range(7)), ["t", "x"]]
    done, _ = bring(table(project / "t.csv", rows))
    assert lost(done) == "t.csv:2, 3, 4 …: every input is empty; the item is left out (7 times)"
    assert "secret" not in str(done)


@pytest.mark.parametrize(
    ("rows", "headless"),
    [
        ([["I want my money back for the broken lamp", "billing"], ["The app crashes when I tap on it", "bug"]], True),
        ([["one", "red"], ["two", "red"], ["three", "blue"]], True),  # a cell that repeats
        ([["1", "apple pie"], ["2", "plum cake"]], True),
        ([["2026-01-02", "x"], ["2026-01-03", "y"]], True),
        ([['["a"]', "x"], ['["b"]', "y"]], True),
        ([["question", "red"], ["two", "red"], ["three", "red"]], False),  # a known name
        ([["thing", "color"], ["sky", "blue"], ["rose", "red"]], False),
        ([["Was the customer satisfied with it?", "x"], ["yes", "3"], ["no", "4"]], False),  # above no sentences
        ([["2023", "x"], ["good", "3"], ["bad", "4"]], False),  # a year above words
    ],
)
def test_a_csv_without_a_header(project: Path, rows: list[list[str]], headless: bool) -> None:
    done, evalset = bring(table(project / "t.csv", rows))
    assert len(evalset.items) == len(rows) - (not headless)
    assert ("they are called column_1, column_2" in told(done)) is headless
    if headless:
        assert all(name.startswith("column_") for name in evalset.items[0].inputs)


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("t.csv", b"", r"t.csv: holds no rows"),
        ("t.csv", b"text,label\n", r"t.csv: holds no rows"),
        ("t.jsonl", b"", r"t.jsonl: holds no rows"),
        ("t.json", b"", r"t.json:1: not valid JSON"),
        ("t.json", b"[]", r"t.json: holds no rows"),
        ("t.json", b'{"a": {"b": 1}}', r"t.json: one JSON object, not a list of rows. Wrap"),
        ("t.json", b'[{"text": "a"}, 5]', r"t.json item 2: must be a JSON object"),
        ("t.json", b"5", r"t.json: must be a list"),
        ("t.jsonl", b'{"text": "a", "label": "b"}\n{"text": \n', r"t.jsonl:2: not valid JSON"),
        ("t.jsonl", b"tests:\n- vars: {a: b}\n", r"t.jsonl:1: not valid JSON.*Each line holds one JSON object"),
        ("t.json", b'[{"text": "\\ud800", "label": "x"}]', r"t.json(:1| item 1): .*half a character"),
        ("t.csv", "text,label\nä,b\n".encode("latin-1"), r"t.csv:2: not UTF-8 text. Save it as UTF-8"),
        ("t.csv", "text,label\nä,b\n".encode("utf-16"), r"t.csv:1: not UTF-8 text. Save it as UTF-8"),
        ("t.csv", b'text,label\n"open,b\n', r"t.csv:\d: not valid CSV.*Check the quotes"),
        ("t.csv", b"text,label\na,b,c\n", r"t.csv:2: 3 cells for 2 columns"),
        ("t.csv", b"text,text,label\na,b,c\n", r"t.csv:1: column 'text' is there twice"),
        ("t.parquet", b"PAR1 not really", r"t.parquet: not a readable Parquet file"),
        (
            "t.csv",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            r"t.csv: a git-LFS pointer.*git lfs pull",
        ),
    ],
)
def test_broken_files_are_refused_with_place_and_mend(project: Path, name: str, content: bytes, problem: str) -> None:
    (project / name).write_bytes(content)
    with pytest.raises(InputError, match=problem):
        import_evalset(name, "evalsets/mine", format="table")
    assert not (project / "evalsets" / "mine").exists()


@pytest.mark.parametrize(
    ("format", "suffix"),
    [
        *(("table", suffix) for suffix in ("csv", "jsonl", "json", "parquet")),
        *(("mlflow_records", "jsonl"), ("openai_evals", "yaml"), ("huggingface", "arrow"), ("promptfoo", "yaml")),
        *(("inspect_ai", "csv"), ("lm_eval", "yaml")),
    ],
)
def test_noise_is_refused_and_nothing_else_happens(project: Path, format: str, suffix: str) -> None:
    noise = random.Random(f"{format} {suffix}")
    for alphabet in (bytes(range(256)), b'{}[]",:;\n\\ anul01.-', b'"a";\n,x\t'):
        (project / f"t.{suffix}").write_bytes(bytes(noise.choices(alphabet, k=200)))
        with contextlib.suppress(InputError):
            import_evalset(f"t.{suffix}", "evalsets/mine", format=format, replace=True)
    assert {path.name for path in project.iterdir()} <= {f"t.{suffix}", "evalsets"}
    assert not [path for path in project.glob("evalsets/*") if path.name != "mine"]


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl"])
def test_an_item_that_cannot_be_used_is_named_by_its_row(project: Path, name: str) -> None:
    """A label that a cell only seems to have: what fails at the very end is told by where it came from."""
    rows = [{"text": "a", "answer": "b"}, {"text": "", "answer": "c"}, {"text": "d", "answer": "..."}]
    cells = [list(rows[0]), *(list(row.values()) for row in rows)]
    source = table(project / name, cells) if name == "t.csv" else jsonl(project / name, rows)
    with pytest.raises(InputError) as failure:
        bring(source, {"inputs.text": "text", "expectations.answer": "answer"}, scorer="multi")
    assert "no scorer 'multi'" in str(failure.value) and ".import-" not in str(failure.value)
    with pytest.raises(InputError) as failure:
        bring(source, {"inputs.text": "text", "expectations.pattern": "answer"}, scorer="date")
    assert str(failure.value).startswith(f"{name}:{2 if name == 't.csv' else 1}: field 'expectations': ")
    assert ".import-" not in str(failure.value) and not (project / "evalsets" / "mine").exists()


def test_what_an_import_cannot_make_of_a_source_names_its_folder_to_be(project: Path) -> None:
    source = jsonl(project / "t.jsonl", asked(["a", "b"]))
    with pytest.raises(InputError) as failure:
        import_evalset(source, "evalsets/no good name")
    said = str(failure.value)
    assert said.startswith("t.jsonl: ") and "evalsets/no good name/evalset.yaml:" in said and ".import-" not in said


def test_a_folder_is_no_table(project: Path) -> None:
    (project / "data").mkdir()
    with pytest.raises(InputError, match="data: a folder, not a table"):
        import_evalset("data", "evalsets/mine", format="table")


def test_not_finite_numbers_and_too_deep_nesting(project: Path) -> None:
    rows = [{"text": "a", "size": float("inf"), "label": "yes"}, {"text": "b", "size": 1.0, "label": "no"}]
    pq.write_table(pa.Table.from_pylist(rows), project / "t.parquet")
    done, evalset = bring(project / "t.parquet", {"inputs.a": "text", "inputs.b": "size", "expectations.l": "label"})
    assert evalset.items[0].inputs == {"a": "a"}
    assert "column 'size': a number that is not finite, left out" in lost(done)
    (project / "t.jsonl").write_text('{"text": ' + "[" * 900 + "]" * 900 + ', "label": "yes"}\n')
    with pytest.raises(InputError, match=r"t.jsonl:1: (nested too deep|not valid JSON)"):
        bring(project / "t.jsonl")


def test_json_in_cells_is_read_where_all_of_a_column_is_json(project: Path) -> None:
    rows = [["text", "document", "label"], ['{"a": 1}', '["x", "y"]', "yes"], ["plain", '{"b": [2]}', "no"]]
    rows += [["[NaN]", '["\\ud800"]', "no"]]
    _, evalset = bring(table(project / "t.csv", rows))
    assert evalset.items[0].inputs == {"text": '{"a": 1}', "document": '["x", "y"]'}
    _, evalset = bring(table(project / "t.csv", rows[:3]))
    assert [item.inputs["document"] for item in evalset.items] == [["x", "y"], {"b": [2]}]
    assert evalset.items[0].inputs["text"] == '{"a": 1}'


def test_a_table_is_the_last_resort(project: Path) -> None:
    source = jsonl(project / "t.jsonl", asked(["a"]))
    assert FORMATS.find("table").sniff(source) <= 0.3
    assert FORMATS.find("table").sniff(table(project / "t.csv", PLAIN)) <= 0.3
    assert FORMATS.find("table").sniff(project) == 0


def test_a_large_file_is_read_in_bounded_memory(project: Path) -> None:
    line = json.dumps({"text": "word " * 2000, "label": "yes"}) + "\n"
    with (project / "t.jsonl").open("w") as file:
        for _ in range(500):
            file.write(line)
    taken = 0

    def sink(item: dict[str, Any], /, *, split: str = "test", place: str = "") -> None:
        nonlocal taken
        taken += 1

    tracemalloc.start()
    FORMATS.find("table").read(project / "t.jsonl", Options(), sink)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert taken == 500 and peak < 2 << 20 < (project / "t.jsonl").stat().st_size


# Written and read again.


def same(one: EvalSet, other: EvalSet) -> bool:
    return (
        one.items,
        one.train,
        one.spec.variants,
        one.spec.output,
        one.scorers,
        one.spec.accept,
        one.output_schema,
    ) == (
        other.items,
        other.train,
        other.spec.variants,
        other.spec.output,
        other.scorers,
        other.spec.accept,
        other.output_schema,
    )


ROUNDS: dict[str, list[dict[str, Any]]] = {
    "labels": [{"question": f"q {n}", "answer": COLORS[n % 3], "topic": "t", "doc_id": n} for n in range(9)],
    "yes": asked(["Yes", "No"]),
    "text": asked(["alpha", ["beta", "gamma"], "delta"]),
    "numbers": asked([1204.5, 3, 99]),
    "several": asked(["a;b", "a", "b;c", "c", "a;c", "b"], "labels"),
    "objects": asked([{"a": "x", "total": 2.5, "l": []}, {"a": None, "total": 3, "l": ["y"]}]),
    "split": [{"text": f"t {n}", "label": "yes", "split": ["train", "test"][n % 2]} for n in range(4)],
    "turns": [{"messages": [{"role": "user", "content": "hi"}], "answer": "yes", "sensitivity": "public"}] * 2,
    "gaps": [{"question": "q", "context": None, "answer": "a b"}, {"question": "r", "context": "c", "answer": "b c"}],
}


@pytest.mark.parametrize("case", ROUNDS)
def test_what_was_read_is_written_and_read_again(project: Path, case: str) -> None:
    rows, name = ROUNDS[case], "out.json" if case == "labels" else "out.jsonl"
    _, first = bring(jsonl(project / "t.jsonl", rows))
    losses = export_evalset(first, "table", name).losses
    generation = {"generation: set it with the model there"} if first.spec.output.labels else set()
    assert {str(loss).split(": ", 1)[1].split(" (")[0] for loss in losses} == generation | {
        "the prompts",
        "the output format",
        "the scorers",
        "the score from which an answer is accepted",
    }
    done, second = bring(project / name)
    assert same(first, second) and done.format == "table"


@pytest.mark.parametrize(
    ("case", "name"), [("labels", "o.csv"), ("yes", "o.tsv"), ("several", "o.csv"), ("split", "o.csv")]
)
def test_the_same_through_a_csv(project: Path, case: str, name: str) -> None:
    _, first = bring(jsonl(project / "t.jsonl", ROUNDS[case]))
    export_evalset(first, "table", name)
    _, second = bring(project / name)
    assert same(first, second)


TEXTS = st.text(
    st.one_of(st.sampled_from(" \n\r\t,;|\"'\\ab"), st.characters(exclude_categories=["Cs"])), max_size=20
).filter(lambda text: text.strip() and not text.lstrip().startswith(("{", "[")))


@pytest.mark.parametrize("suffix", ["csv", "tsv"])
@given(texts=st.lists(st.tuples(TEXTS, TEXTS), min_size=1, max_size=6))
@example(texts=[("a\nb", "c"), ("d", "e\rf")])
@example(texts=[(" a", '"b"\r\n')])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_comes_back_through_cells(project: Path, suffix: str, texts: list[tuple[str, str]]) -> None:
    items = [
        {"id": f"i{n}", "inputs": {"q": one, "r": other}, "expectations": {"label": "red"}, "sensitivity": label}
        for n, (one, other) in enumerate(texts)
        for label in [("restricted", "public")[n % 2]]
    ]
    variants = {"default": {"messages": [{"role": "user", "content": "{{ inputs.q }}"}]}}
    evalset = load_evalset(write_evalset(project, "texts", items, variants=variants))
    export_evalset(evalset, "table", f"o.{suffix}")
    done, again = bring(project / f"o.{suffix}", sensitivity="public")
    assert not done.losses
    assert [(each.inputs, each.sensitivity) for each in again.items] == [
        (each.inputs, each.sensitivity) for each in evalset.items
    ]


def ours(project: Path, kind: str) -> EvalSet:
    """An eval set of ours: labels, text, or JSON answers; with everything that an item may have."""
    items: list[dict[str, Any]] = [
        {
            "id": f"it-{n}",
            "inputs": {"thing": f"thing {n}", "size": n, "parts": ["a", {"b": None}]},
            "expectations": {
                "labels": {"label": COLORS[n % 3]},
                "text": {"answer": [f"text {n}", "other"], "mentions": ["x"]},
                "json": {"color": COLORS[n % 3], "count": n, "due": None, "note": ["a", "b"] if n else "a"},
            }[kind],
            "slice": {"topic": "t", "x y": "ü"},
            "cluster": f"c{n // 2}",
            "sensitivity": ["public", "internal", "restricted"][n % 3],
        }
        for n in range(9)
    ]
    changes: dict[str, Any] = {
        "labels": {},
        "text": {"output": {"text": True}, "scorers": [{"type": "rouge"}, {"type": "contains", "key": "mentions"}]},
        "json": {
            "output": {"json_schema": "schema.json"},
            "scorers": [
                {"type": "json_fields", "fields": {"color": "label", "count": "number", "due": "date", "note": "text"}}
            ],
        },
    }[kind]
    folder = project / "evalsets" / "ours"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps({"type": "object", "properties": {"color": {"type": "string"}}}))
    train = [{**items[0], "id": "tr-0"}]
    return load_evalset(write_evalset(project, "ours", items, train=train, limits={"min_score": 0.5}, **changes))


@pytest.mark.parametrize("kind", ["labels", "text", "json"])
def test_an_eval_set_of_ours_keeps_its_items(project: Path, kind: str) -> None:
    evalset = ours(project, kind)
    losses = "\n".join(map(str, export_evalset(evalset, "table", "out/deep/o.jsonl").losses))
    _, again = bring(project / "out/deep/o.jsonl")
    assert again.items == evalset.items and again.train == evalset.train
    scorers = {"labels": "label", "text": "rouge, contains", "json": "json_fields"}[kind]
    for what in ("the prompts (default)", f"the scorers ({scorers})", "generation", "limits"):
        assert what in losses
    assert [path.name for path in (project / "out/deep").iterdir()] == ["o.jsonl"]


def test_an_eval_set_of_ours_as_csv_says_what_cells_cannot_tell(project: Path) -> None:
    evalset = ours(project, "json")
    losses = "\n".join(map(str, export_evalset(evalset, "table", "o.csv").losses))
    _, again = bring(project / "o.csv")
    for before, after in zip(evalset.items, again.items, strict=True):
        assert after == before.model_copy(update={"inputs": {**before.inputs, "size": str(before.inputs["size"])}})
    assert "items.jsonl it-0 inputs.size, " in losses
    assert "a number or boolean may be read back as text (20 times)" in losses
    assert "null is an empty cell (10 times)" in losses


def test_parquet_holds_items_as_they_are(project: Path) -> None:
    items = [
        {
            "id": f"i{n}",
            "inputs": {"thing": f"a\r\n{n}", "size": n, "parts": [{"name": "x", "tags": ["a", "b"][:n]}]},
            "expectations": {"label": COLORS[n]},
            **({"slice": {"topic": "t"}, "cluster": "c"} if n else {}),
            "sensitivity": ["public", "restricted", "internal"][n],
        }
        for n in range(3)
    ]
    evalset = load_evalset(write_evalset(project, "ours", items, train=[{**items[0], "id": "tr"}]))
    losses = "\n".join(map(str, export_evalset(evalset, "table", "o.parquet").losses))
    _, again = bring(project / "o.parquet")
    assert again.items == evalset.items and again.train == evalset.train
    assert "items.jsonl" not in losses and "the prompts (default)" in losses


@pytest.mark.parametrize("odd", [{"a": None}, {"a": 1}, {"b": {"c": 1}}])
def test_what_a_column_of_one_type_changes_is_said(project: Path, odd: dict[str, Any]) -> None:
    inputs: list[dict[str, Any]] = [{"a": 2.5, "b": {"c": 1, "d": 2}}, {"a": 2.5, "b": {"c": 1, "d": 2}} | odd]
    items = [
        {"id": f"i{n}", "inputs": {"thing": "t", **each}, "expectations": {"label": "red"}}
        for n, each in enumerate(inputs)
    ]
    losses = "\n".join(
        map(str, export_evalset(load_evalset(write_evalset(project, "ours", items)), "table", "o.parquet").losses)
    )
    assert "items.jsonl i1: a column does not tell null from a missing key" in losses and "i0" not in losses


@pytest.mark.parametrize("values", [["a", 1, None], [["a", {"b": 1}], ["c"]], [1 << 70, 2], ["a", ["a", "b"]]])
def test_what_no_column_of_one_type_holds_is_json_text_and_said(project: Path, values: list[Any]) -> None:
    items = [
        {"id": f"i{n}", "inputs": {"thing": "t", "odd": value}, "expectations": {"label": "red"}}
        for n, value in enumerate(values)
    ]
    evalset = load_evalset(write_evalset(project, "ours", items))
    losses = "\n".join(map(str, export_evalset(evalset, "table", "o.parquet").losses))
    odd = [row["inputs"]["odd"] for row in pq.read_table(project / "o.parquet").to_pylist()]
    assert [
        each if isinstance(each, str | None) else json.loads(back) for each, back in zip(values, odd, strict=True)
    ] == [back if isinstance(each, str | None) else each for each, back in zip(values, odd, strict=True)]
    told = sum(not isinstance(each, str | None) for each in values)
    times = f" ({told} times)" if told > 1 else ""
    assert f"inputs.odd is written as JSON text: not all in its column are of one type{times}" in losses


def test_a_key_without_any_values_is_refused_in_parquet(project: Path) -> None:
    items = [{"id": "a", "inputs": {"thing": "CANARY", "odd": {}}, "expectations": {"label": "red"}}]
    with pytest.raises(InputError) as failure:
        export_evalset(load_evalset(write_evalset(project, "ours", items)), "table", "o.parquet")
    assert str(failure.value).startswith("evalsets/ours/items.jsonl: holds an object without keys")
    assert "CANARY" not in str(failure.value) and not (project / "o.parquet").exists()


def test_texts_that_cells_cannot_hold_are_said(project: Path) -> None:
    rows = [{"id": "a", "inputs": {"q": "[1]", "r": ""}, "expectations": {"answer": "12"}}]
    _, evalset = bring(jsonl(project / "t.jsonl", rows))
    losses = "\n".join(map(str, export_evalset(evalset, "table", "o.csv").losses))
    assert "items.jsonl a inputs.q: a text that is JSON may be read back as a list or an object" in losses
    assert "items.jsonl a inputs.r: an empty text is read back as nothing" in losses
    assert "items.jsonl a expectations.answer: a text of digits may be read back as a number" in losses


def test_a_table_is_written_by_its_suffix_alone(project: Path) -> None:
    evalset = ours(project, "labels")
    with pytest.raises(InputError, match=r"o.xlsx: a table is written as .jsonl, .json, .csv, .tsv or .parquet"):
        export_evalset(evalset, "table", "o.xlsx")
    assert not (project / "o.xlsx").exists()


def test_a_spreadsheet_is_told_what_to_do(project: Path) -> None:
    (project / "t.xlsx").write_bytes(b"PK\x03\x04\x00")
    with pytest.raises(InputError, match=r"t\.xlsx: a spreadsheet, which no format reads\. Save it as CSV in UTF-8"):
        import_evalset("t.xlsx", "evalsets/mine")
