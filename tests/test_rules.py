"""The rules model: the first match wins, no match abstains, and no pattern runs for long."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset

from workbench.errors import InputError
from workbench.evalset import load_evalset
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


RED = [{"pattern": "brick", "answer": "red"}]


@pytest.mark.parametrize(
    ("rules", "told"),
    [
        (
            {"text": ["thing", "thign"], "rules": RED},
            ":7: field 'text.1': no item has an input 'thign'. They have: thing.",
        ),
        (
            {"text": ["thing"], "rules": [*RED, {"pattern": "sky", "answer": "bleu"}]},
            ":4: field 'rules.1.answer': must be one of the labels of evalset.yaml: red, green, blue.",
        ),
        ({"text": ["thing"], "rules": [{"pattern": "sky", "answer": {"label": "red"}}]}, ":2: field 'rules.0.answer'"),
        ({"text": ["thing"], "rules": RED, "default": "none"}, ":1: field 'default': must be one of the labels"),
        ({"text": ["thing"], "fields": {"a": {"rules": RED}}}, "answers of this set are labels, not objects"),
    ],
)
def test_what_no_item_has_or_no_answer_may_be_is_refused_with_its_line(
    project: Path, rules: dict[str, Any], told: str
) -> None:
    with pytest.raises(InputError) as refused:
        load_evalset(write_evalset(project, "colors", [item("1")], rules=rules))
    assert "rules.yaml:" in str(refused.value) and told in str(refused.value)


SCHEMA = {
    "type": "object",
    "properties": {"color": {"$ref": "#/$defs/color"}, "dark": {"type": "boolean"}},
    "required": ["color"],
    "additionalProperties": False,
    "$defs": {"color": {"type": "string", "enum": ["red", "blue"]}},
}
OBJECT = {key: value for key, value in SCHEMA.items() if key != "$defs"}
BEHIND = {"type": "object", "$ref": "#/$defs/answer", "$defs": {**SCHEMA["$defs"], "answer": OBJECT}}
RED_OR_DARK = {"enum": [{"color": "red"}, {"color": "red", "dark": True}, {"color": "red", "dark": False}]}


@pytest.mark.parametrize("schema", [SCHEMA, BEHIND, SCHEMA | RED_OR_DARK])
@pytest.mark.parametrize(
    ("rules", "told"),
    [
        ({"rules": [{"pattern": "a", "answer": {"color": "rde"}}]}, "'rules.0.answer': evalset.yaml's output does not"),
        ({"rules": [{"pattern": "a", "answer": {"dark": True}}]}, "'rules.0.answer': evalset.yaml's output does not"),
        ({"fields": {"color": {"rules": [{"pattern": "a", "answer": "rde"}]}}}, "'fields.color.rules.0.answer'"),
        ({"fields": {"color": {"rules": RED, "default": 1}}}, "'fields.color.default'"),
        ({"fields": {"color": {"rules": RED}, "drak": {"rules": [{"pattern": "a", "answer": True}]}}}, "'fields.drak"),
        ({"fields": {"dark": {"rules": [{"pattern": "a", "answer": True}]}}}, "requires 'color'. Add its rules."),
        ({"fields": {"color": {"rules": RED}, "dark": {"rules": RED, "default": False}}}, "breaks the schema at dark"),
    ],
)
def test_answers_that_the_schema_does_not_allow_are_refused(
    project: Path, rules: dict[str, Any], told: str, schema: dict[str, Any]
) -> None:
    one = {"id": "1", "inputs": {"thing": "brick"}, "expectations": {"color": "red"}}
    changes: dict[str, Any] = {
        "output": {"json_schema": "schema.json"},
        "scorers": [{"type": "json_fields", "fields": {"color": "label"}}],
    }
    folder = write_evalset(project, "colors", [one], rules=rules, **changes)
    (folder / "schema.json").write_text(json.dumps(schema))
    with pytest.raises(InputError) as refused:
        load_evalset(folder)
    assert told in str(refused.value)
    fitting = {"fields": {"color": {"rules": RED}, "dark": {"rules": [], "default": False}}}
    fitting["fields"]["dark"]["rules"] = [{"pattern": "a", "answer": True}]
    write_evalset(project, "colors", [one], rules=fitting, **changes)
    assert load_evalset(folder).rules is not None
