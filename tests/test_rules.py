"""The rules model: the first match wins, no match abstains, and no pattern runs for long."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.rules import PATTERN_TIMEOUT_S, Rules, load_rules


def table(body: str) -> Rules:
    path = Path("rules.yaml")
    path.write_text("schema: 1\n" + body)
    return load_rules(path)


QUEUES = """text: [subject, body]
rules:
  - {pattern: "(?i)refund", answer: billing}
  - {pattern: "(?i)crash|refund", answer: bug}
"""


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [
        ({"subject": "Refund", "body": "it crashed"}, "billing"),
        ({"subject": "Hello", "body": "it crashed"}, "bug"),
        ({"body": "crash"}, "bug"),
        ({"subject": "Hello", "body": "there"}, None),
        ({"other": "refund"}, None),
        ({}, None),
    ],
)
def test_the_first_match_wins_and_no_match_abstains(inputs: dict[str, str], answer: str | None) -> None:
    assert table(QUEUES).answer(inputs) == answer


def test_the_default_answers_where_nothing_matches() -> None:
    assert table(QUEUES + "default: access\n").answer({"body": "hello"}) == "access"


def test_an_object_is_answered_as_json() -> None:
    rules = table('text: [body]\nrules: [{pattern: "€", answer: {currency: "€", total: 5}}]\n')
    assert json.loads(rules.answer({"body": "5 €"}) or "") == {"currency": "€", "total": 5}


FIELDS = """text: [subject, body]
fields:
  queue:
    rules:
      - {pattern: "(?i)refund", answer: billing}
      - {pattern: "(?i)crash|refund", answer: bug}
  urgent:
    rules:
      - {pattern: "(?i)today", answer: true}
    default: false
  seats:
    rules:
      - {pattern: "(?i)seven", answer: 7}
      - {pattern: "(?i)half", answer: 0.5}
    default: 0
"""


@pytest.mark.parametrize(
    ("inputs", "answer"),
    [
        ({"subject": "Refund today", "body": "it crashed"}, {"queue": "billing", "urgent": True, "seats": 0}),
        ({"body": "crash, seven seats"}, {"queue": "bug", "urgent": False, "seats": 7}),
        ({"body": "crash, half a seat"}, {"queue": "bug", "urgent": False, "seats": 0.5}),
        ({"body": "seven seats today"}, None),
        ({}, None),
    ],
)
def test_each_field_has_its_own_rules_and_without_a_default_the_table_abstains(
    inputs: dict[str, str], answer: dict[str, object] | None
) -> None:
    given = table(FIELDS).answer(inputs)
    assert (given if given is None else json.loads(given)) == answer


def test_the_fields_stand_in_the_tables_order() -> None:
    assert table(FIELDS).answer({"body": "crash"}) == '{"queue": "bug", "urgent": false, "seats": 0}'


def test_a_catastrophic_pattern_of_a_field_is_stopped() -> None:
    rules = table('text: [body]\nfields: {a: {rules: [{pattern: "(x+x+)+y", answer: b}], default: c}}\n')
    with pytest.raises(TimeoutError, match="took over"):
        rules.answer({"body": "x" * 5000})


def test_a_catastrophic_pattern_is_stopped() -> None:
    rules = table('text: [body]\nrules: [{pattern: "(x+x+)+y", answer: a}]\n')
    started = time.perf_counter()
    with pytest.raises(TimeoutError, match="took over"):
        rules.answer({"body": "x" * 5000})
    assert time.perf_counter() - started < PATTERN_TIMEOUT_S + 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            'text: [body]\nrules:\n  - {pattern: ok, answer: a}\n  - {pattern: "(", answer: a}\n',
            ":5: field 'rules.1.pattern'",
        ),
        ("text: [body]\nrules: []\n", "'rules'"),
        ("text: [body]\n", "give either 'rules' for whole answers, or 'fields'"),
        (
            "text: [body]\nrules: [{pattern: a, answer: b}]\nfields: {a: {rules: [{pattern: a, answer: b}]}}\n",
            "give either",
        ),
        ("text: [body]\nfields:\n  a: {rules: []}\n", ":4: field 'fields.a.rules'"),
        (
            "text: [body]\nfields:\n  a:\n    rules:\n      - {pattern: '(', answer: b}\n",
            ":6: field 'fields.a.rules.0.pattern'",
        ),
        ("text: [body]\nfields:\n  a: {rules: [{pattern: a, answer: [b]}]}\n", ":4: field 'fields.a.rules.0.answer'"),
        (
            "text: [body]\nfields:\n  a: {rules: [{pattern: a, answer: b}], defualt: 1}\n",
            ":4: field 'fields.a.defualt'",
        ),
        ("text: [body]\nrules: [{pattern: a}]\n", ":3: field 'rules.0.answer': is missing"),
        ("text: [body]\nrules: [{pattern: a, answer: b, weight: 2}]\n", "unknown key. Remove it, or see which keys"),
        ("text: []\nrules: [{pattern: a, answer: b}]\n", ":2: field 'text'"),
        ('text: [body]\nrules: [{pattern: "", answer: b}]\n', ":3: field 'rules.0.pattern'"),
    ],
)
def test_a_broken_table_is_named(body: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        table(body)
    assert message in str(caught.value)
