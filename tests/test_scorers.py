"""Scorers: answers as models really write them, and scores against direct computations."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.scorers import Answer, Scorer, parse_answer
from workbench.scorers.json_fields import JsonFieldsScorer, same
from workbench.scorers.label import LabelScorer
from workbench.scorers.yes_no import YesNoScorer

QUEUES = ["billing", "bug", "access", "feature_request"]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}, "why": {"type": "object"}},
    "required": ["answer"],
}
DEEP = '{"a":' * 100_000


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing", "billing"),
        ("BILLING", "billing"),
        ("  **Billing**.\n", "billing"),
        ('"bug"', "bug"),
        ("Queue: billing", "billing"),
        ("It is a bug, and the bug is bad.", "bug"),
        ("feature_request", "feature_request"),
    ],
)
def test_a_label_is_found(text: str, label: str) -> None:
    assert parse_answer(text, labels=QUEUES) == Answer(text, label, True)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no label in the answer"),
        ("something else", "no label in the answer"),
        ("debugging", "no label in the answer"),
        ("billing or bug", "several labels in the answer"),
    ],
)
def test_no_label_or_several_break_the_format(text: str, problem: str) -> None:
    assert parse_answer(text, labels=QUEUES) == Answer(text, None, False, problem)


def test_an_exact_label_wins_over_the_ones_within_it() -> None:
    assert parse_answer("not spam", labels=["spam", "not spam"]).value == "not spam"


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "yes"}',
        '```json\n{"answer": "yes"}\n```',
        '```\n{"answer": "yes"}\n```',
        'Sure! {"answer": "yes"} I hope that helps {really}.',
        'Here it is:\n```json\n{"answer": "yes"}\n```\nbecause {of that}',
        ' \n{"answer": "yes"}{"answer": "no"}',
    ],
)
def test_json_is_found_in_fences_and_text(text: str) -> None:
    assert parse_answer(text, schema=SCHEMA) == Answer(text, {"answer": "yes"}, True)


def test_nested_json_is_taken_whole() -> None:
    text = 'Well: {"answer": "no", "why": {"clause": {"n": 3}}}'
    assert parse_answer(text, schema=SCHEMA).value == {"answer": "no", "why": {"clause": {"n": 3}}}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no JSON object"),
        ("yes", "no JSON object"),
        ('"yes"', "no JSON object"),
        ('{"answer": "yes"', "no JSON object"),
        ('{"answer": NaN}', "no JSON object"),
        ('{"answer": "yes", "n": Infinity}', "no JSON object"),
        (DEEP, "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("{}", "breaks the schema at the object (required)"),
        ('{"answer": "CANARY"}', "breaks the schema at answer (enum)"),
        ('{"answer": "yes", "why": {}, "why": "CANARY"}', "breaks the schema at why (type)"),
    ],
)
def test_what_is_no_json_of_the_schema_breaks_the_format(text: str, problem: str) -> None:
    answer = parse_answer(text, schema=SCHEMA)
    assert not answer.format_ok
    assert answer.problem is not None and answer.problem.startswith(problem)
    assert "CANARY" not in answer.problem


def test_a_schema_that_refers_to_itself_without_end_is_no_crash() -> None:
    assert not parse_answer("{}", schema={"type": "object", "$ref": "#"}).format_ok


@pytest.mark.parametrize(("text", "ok"), [("words", True), (" \n", False), ("", False)])
def test_free_text_is_anything_but_nothing(text: str, ok: bool) -> None:
    assert parse_answer(text).format_ok is ok


def scored(scorer: Scorer, value: Any, expectations: dict[str, Any]) -> float:
    return scorer.score(Answer("", value, True), expectations).value


@pytest.mark.parametrize(
    ("value", "expected", "score"),
    [
        ("bug", "bug", 1),
        ("Bug ", "bug", 1),
        ("billing", "bug", 0),
        (None, "bug", 0),
        ("bug", ["billing", "bug"], 1),
        ("access", ["billing", "bug"], 0),
    ],
)
def test_label_match(value: str | None, expected: str | list[str], score: float) -> None:
    assert scored(LabelScorer(type="label"), value, {"label": expected}) == score


def test_a_label_may_be_a_field_of_a_json_answer() -> None:
    scorer = LabelScorer(type="label", field="queue")
    assert scored(scorer, {"queue": "bug"}, {"queue": "bug"}) == 1
    assert scored(scorer, {"other": "bug"}, {"queue": "bug"}) == 0
    assert scored(scorer, None, {"queue": "bug"}) == 0
    assert scored(LabelScorer(type="label", field="queue", key="gold"), {"queue": "bug"}, {"gold": "bug"}) == 1


@pytest.mark.parametrize("expected", [None, "", []])
def test_an_expectation_without_a_label_is_refused(expected: Any) -> None:
    assert "has no label" in (LabelScorer(type="label").check({"label": expected}) or "")


def test_a_label_that_is_not_the_sets_is_refused_without_repeating_it() -> None:
    problem = LabelScorer(type="label").with_labels(QUEUES).check({"label": "CANARY"})
    assert problem is not None and "billing, bug, access" in problem and "CANARY" not in problem


@pytest.mark.parametrize(
    ("value", "expected", "score"),
    [
        ("yes", "yes", 1),
        ("Yes, because it says so", "yes", 1),
        ("**No**", "no", 1),
        ("no.", False, 1),
        (True, "yes", 1),
        ("false", "no", 1),
        ("yes", "no", 0),
        ("not sure", "no", 0),
        ("yesterday", "yes", 0),
        ("I think yes", "yes", 0),
        (None, "no", 0),
        (1, "yes", 0),
    ],
)
def test_yes_or_no(value: Any, expected: Any, score: float) -> None:
    assert scored(YesNoScorer(type="yes_no"), value, {"answer": expected}) == score
    assert scored(YesNoScorer(type="yes_no", field="a"), {"a": value}, {"a": expected}) == score


@pytest.mark.parametrize(("expected", "fits"), [("yes", True), (False, True), ("maybe", False), (None, False)])
def test_an_expectation_must_say_yes_or_no(expected: Any, fits: bool) -> None:
    assert (YesNoScorer(type="yes_no").check({"answer": expected}) is None) is fits


@pytest.mark.parametrize(
    ("kind", "given_value", "expected", "equal"),
    [
        ("text", " ACME  Ltd. ", "acme ltd", True),
        ("text", "acme", "acme inc", False),
        ("text", ["acme"], "['acme']", False),
        ("label", "EUR", "eur", True),
        ("number", "12.50", 12.5, True),
        ("number", 12.501, 12.5, True),
        ("number", 12.51, 12.5, False),
        ("number", True, 1, False),
        ("number", "twelve", 12, False),
        ("number", float("inf"), 1, False),
        ("number", 10**400, 1, False),
        ("date", "2026-03-01", "2026-03-01", True),
        ("date", "20260301", "2026-03-01", True),
        ("date", "March 1", "2026-03-01", False),
        ("boolean", True, True, True),
        ("boolean", "true", True, False),
        ("boolean", 1, True, False),
    ],
)
def test_fields_are_compared_as_their_types(kind: Any, given_value: Any, expected: Any, equal: bool) -> None:
    assert same(kind, given_value, expected) is equal


@pytest.mark.parametrize(
    ("expectations", "problem"),
    [
        ({"total": 1}, "needs expectations.day"),
        ({"total": "CANARY", "day": None}, "expectations.total is not a number"),
        ({"total": 1, "day": "CANARY"}, "expectations.day is not a date"),
        ({"total": None, "day": None}, None),
    ],
)
def test_expectations_that_no_answer_could_meet_are_refused(expectations: dict[str, Any], problem: str | None) -> None:
    found = JsonFieldsScorer(type="json_fields", fields={"total": "number", "day": "date"}).check(expectations)
    assert (found is None) if problem is None else (found is not None and problem in found and "CANARY" not in found)


FIELDS = ["a", "b", "c", "d"]
_VALUES = st.dictionaries(st.sampled_from(FIELDS), st.sampled_from([None, "x", "y"]))


def direct_f1(given_fields: dict[str, Any], expected: dict[str, Any]) -> float:
    """F1 = 2PR / (P + R) over the set fields: a wrong value is a false positive and a false negative."""
    claimed = {(name, value) for name, value in given_fields.items() if value is not None}
    true = {(name, value) for name, value in expected.items() if value is not None}
    if not claimed and not true:
        return 1.0
    if not claimed & true:
        return 0.0
    precision, recall = len(claimed & true) / len(claimed), len(claimed & true) / len(true)
    return 2 * precision * recall / (precision + recall)


@settings(max_examples=200)
@given(_VALUES, _VALUES)
def test_json_fields_is_micro_f1(given_fields: dict[str, Any], expected: dict[str, Any]) -> None:
    expected = {name: expected.get(name) for name in FIELDS}
    scorer = JsonFieldsScorer(type="json_fields", fields=dict.fromkeys(FIELDS, "label"))
    score = scorer.score(Answer("", {**given_fields, "further": "x"}, True), expected)
    assert score.value == pytest.approx(direct_f1(given_fields, expected))
    assert score.metrics == {f"field.{name}": float(given_fields.get(name) == expected[name]) for name in FIELDS}


def test_no_object_at_all_scores_0() -> None:
    scorer = JsonFieldsScorer(type="json_fields", fields={"a": "text"})
    assert scored(scorer, None, {"a": "x"}) == 0
    assert scored(scorer, "text", {"a": "x"}) == 0
