"""Reading answers as models really write them: fences, thoughts, choices, lists; and texts made to hurt."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.scorers import Answer, parse_answer
from workbench.scorers.answer import without_thoughts
from workbench.scorers.lists import listed
from workbench.scorers.validity import schema_problem, unusable

QUEUES = ["billing", "bug", "access", "feature_request"]
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}, "why": {"type": "object"}},
    "required": ["answer"],
}
YES = {"answer": "yes"}
DEEP = '{"a":' * 100_000
LETTERS = ["A", "B", "C", "D", "E"]


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("billing", "billing"),
        ("BILLING", "billing"),
        ("  **Billing**.\n", "billing"),
        ('"bug"', "bug"),
        ("`bug`", "bug"),
        ("Queue: billing", "billing"),
        ("- billing", "billing"),
        ("1. billing", "billing"),
        ("It is a bug, and the bug is bad.", "bug"),
        ("feature_request", "feature_request"),
        ('["bug"]', "bug"),
        ('{"queue": "bug"}', "bug"),
        ('{"queue": ["bug"]}', "bug"),
        ("```\nbug\n```", "bug"),
        ("<think>billing? no</think>bug", "bug"),
        ("Answer: billing", "billing"),
        ("The final answer is: **billing**", "billing"),
        ("It may be a bug.\nAnswer:\nbilling", "billing"),
        ("Answer: access\nNo, wait.\nAnswer: billing", "billing"),
        ("It could be billing or a bug.\nCategory: billing, because of the invoice", "billing"),
        ("bug\nbug", "bug"),
    ],
)
def test_a_label_is_found(text: str, label: str) -> None:
    answer = parse_answer(text, labels=QUEUES)
    assert (answer.value, answer.format_ok, answer.problem) == (label, True, None)
    assert answer.text == text


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no label in the answer"),
        ("something else", "no label in the answer"),
        ("debugging", "no label in the answer"),
        ("billing or bug", "several labels in the answer"),
        ("Answer: billing or bug", "several labels in the answer"),
        ('["bug", "billing"]', "several labels in the answer"),
        ("<think>billing", "the answer ends inside its thoughts"),
        ("<think>billing</think>", "no label in the answer"),
    ],
)
def test_no_label_or_several_break_the_format(text: str, problem: str) -> None:
    answer = parse_answer(text, labels=QUEUES)
    assert (answer.value, answer.format_ok, answer.problem) == (None, False, problem)


LONG = "We thank you for your message, which we have read with care and with much interest. " * 4


@pytest.mark.parametrize(
    ("text", "label"),
    [
        (f"{LONG}It went to billing once. {LONG}", None),
        (f"{LONG}\nIt went to billing once.\n{LONG}", None),
        (f"billing. {LONG}", None),
        (f"This is for billing.\n{LONG}", "billing"),
        (f"{LONG}\nSo it is for billing.", "billing"),
        (f"For billing.\n{LONG}\nOr is it a bug?", None),
        (f"{LONG} Answer: billing", "billing"),
    ],
)
def test_a_long_text_that_happens_to_name_a_label_has_not_chosen_it(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=QUEUES).value == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("not a bug", None),
        ("It's not a bug.", None),
        ("This is no bug", None),
        ("It isn’t really a **bug**.", None),
        ("Answer: not a bug", None),
        ("neither bug nor billing", None),
        ("Not a bug but billing", "billing"),
        ("It is billing, not a bug.", "billing"),
        ("neither a bug nor billing, but access", "access"),
        ("not billing or access", "access"),  # only what stands right behind is negated
        ("Not sure, but it may be a bug", "bug"),
        ("No, a bug.", "bug"),
        ("The client wants a bug mended", "bug"),
        ("It is the most important bug", "bug"),
        ("Urgent: no\nbug", "bug"),
        ("Whether or not, bug", "bug"),
        ("Whether they pay or not bug", "bug"),
        ("not only a bug, billing too", None),
        ("not a bug? It is a bug.", "bug"),
        ("This cannot be a bug", None),
        ("It is never a bug.", None),
        ("I don't think that this is a bug", None),
        ("It doesn't look like a bug but billing", "billing"),
        ("I would not call it a bug", None),
    ],
)
def test_a_label_that_is_negated_is_not_chosen(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=QUEUES).value == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("neither A nor B", "neither"),
        ("It is neither A nor B.", "neither"),
        ("Neither", "neither"),
        ("A", "A"),
        ("Neither is better: A", None),
    ],
)
def test_neither_negates_also_where_it_is_a_label(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=["neither", "A", "B"]).value == label
    longer = text.replace("A", "first").replace("B", "second")
    expected = "first" if label == "A" else label
    assert parse_answer(longer, labels=["neither", "first", "second"]).value == expected


def test_a_negation_that_is_a_label_itself_negates_nothing() -> None:
    assert parse_answer("no yes", labels=["yes", "no"]).value is None
    assert parse_answer("Yes, no doubt", labels=["yes", "no", "doubt"]).value is None


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Yes, because there is no consent.", "Yes"),
        ("No, because nobody said yes.", "No"),
        ("No. Yes would need consent.", "No"),
        ("Yes - there is no consent", "Yes"),
        ("Yes, no consent was given.", "Yes"),
        ("Yes\nThere is no consent.", "Yes"),
        ("Yes it seems, but the answer is no.", "No"),
        ("There is no doubt: the answer is **yes**", "Yes"),
        ("I cannot say yes", None),
        ("yes, no", None),
        ("no yes", None),
        ("Yes or no", None),
        ("Yes and no. There is a point.", None),
        ("No clause says so, so yes", None),
        ("There is no clause, so yes", None),
        ("No. The answer is yes only where consent was given.", "No"),
        ("Yes. The question whether the answer is no depends on the clause.", "Yes"),
        ("The answer is no. Some may say the answer is yes, but that ignores clause 4.", None),
        ("If the answer is yes, the client must be told. No.", None),
        ("No\n\nIt would be yes with consent.", "No"),
    ],
)
def test_yes_or_no_is_what_the_answer_begins_with(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=["Yes", "No"]).value == label


def test_yes_or_no_beside_other_labels_is_read_only_where_no_other_is_mentioned() -> None:
    assert parse_answer("True, because nothing false was said.", labels=["true", "false"]).value == "true"
    labels = ["yes", "no", "maybe"]
    read = [parse_answer(text, labels=labels).value for text in ("Yes, for there is no doubt", "Yes, no, maybe")]
    assert read == ["yes", None]


@pytest.mark.parametrize(("text", "letter"), [("not B", None), ("It is not B but C", "C"), ("not A) but C", "C")])
def test_a_negated_choice_is_not_chosen(text: str, letter: str | None) -> None:
    assert parse_answer(text, labels=LETTERS).value == letter


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("not spam", "not spam"),
        ("It is not a spam", None),
        ("It is not spam.", "not spam"),
        ("It is\nnot  spam.", "not spam"),
        ("It is spam!", "spam"),
        ("Spam is what it is, not spam?", None),
        ("Es ist die Größe!", "Größe"),
        ("GRÖSSE", "Größe"),
    ],
)
def test_a_label_within_a_longer_one_is_not_mentioned(text: str, label: str | None) -> None:
    assert parse_answer(text, labels=["spam", "not spam", "Größe"]).value == label


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        ("B", "B"),
        ("b", "B"),
        ("(c)", "C"),
        ("B) Paris", "B"),
        ("B. Paris", "B"),
        ("B: Paris", "B"),
        ("**B**", "B"),
        ("D - because it is", "D"),
        ("C) Vitamin A", "C"),
        ("The answer is B", "B"),
        ("Answer: B", "B"),
        ("**Answer:** B", "B"),
        ("Final answer: (D)", "D"),
        ("Answer: B) Paris", "B"),
        ("B) Paris\nBecause it is the capital.", "B"),
        ("b) Paris\nBecause it is the capital.", "B"),
        ("A) is wrong, and so is C).\nAnswer: B", "B"),
        ("A is right", "A"),
        ("A cat sat on the mat. Answer: C", "C"),
        ("A\nParis is the capital.", "A"),
        ("A\n\nB", None),
        ("Answer: A Paris", "A"),
        ("Answer: **A** Paris", "A"),
        ("I'd go with A here", "A"),
        ("Option A fits best", "A"),
        ("It was so. A dog did it. Is it B?", "B"),
        ("C\nA dog did it.", "C"),
        ("- A dog\n- B", "B"),
        ("A cat", None),
        ("A cat. An owl.", None),
        ("A or B", None),
        ("A) is wrong, B) is right", None),
        ("e.g. this", None),
        ("4.5 of E.ON", None),
        ("F", None),
    ],
)
def test_a_choice_is_a_letter_by_itself_and_no_article(text: str, letter: str | None) -> None:
    assert parse_answer(text, labels=LETTERS).value == letter


@pytest.mark.parametrize(
    ("labels", "text", "label"),
    [
        (["-1", "0", "1"], "The value is -1", "-1"),
        (["-1", "0", "1"], "The value is −1.", "-1"),
        (["-1", "0", "1"], "The value is 1, not -1", "1"),
        (["0", "1"], "The value is -1", None),
        (["10", "20"], "The VAT is 10%.", "10"),
        (["0", "1"], "0-1", None),
        (["10", "20"], "The value is -10", None),
        (["10", "20"], "The value is 10.5", None),
        (["10", "20"], "The value is 10.", "10"),
        (["A", "A-", "B"], "The grade is A-.", "A-"),
        (["A", "A-", "B"], "The grade is A.", "A"),
        (["C", "C++", "C#"], "The language is C++.", "C++"),
        (["C", "C++", "C#"], "The language is C#", "C#"),
        (["C", "Java"], "The language is C++", None),
        (["C", "Java"], "The language is C", "C"),
        (["bug", "billing"], "bug+billing", None),
        (["ß-rule", "s", "r"], "ẞ it is the ß-rule", "ß-rule"),
        (["垃圾邮件", "正常"], "这封邮件是垃圾邮件。", "垃圾邮件"),
        (["垃圾邮件", "正常"], "这不是垃圾邮件，是正常邮件", "正常"),
        (["垃圾邮件", "正常"], "不正常", None),
        (["spam", "ham"], "これはspamです", "spam"),
        (["spam", "ham"], "これはspamではありません", None),
        (["ロック", "開放"], "ブロックされた", None),
        (["ロック", "開放"], "これはロックです", "ロック"),
        (["是", "否"], "他不是", None),
        (["A", "B"], "答案是B。", "B"),
        (["Größe", "Alter"], "Es ist die Gro\u0308ße", "Größe"),
        (["Gro\u0308ße", "Alter"], "Es ist die Größe", "Gro\u0308ße"),
    ],
)
def test_a_label_is_found_with_the_signs_that_belong_to_it(labels: list[str], text: str, label: str | None) -> None:
    assert parse_answer(text, labels=labels).value == label
    assert parse_answer(label or "", labels=labels).value == label


@pytest.mark.parametrize("text", ["I think so", "I'm sure", "I do not know", "Answer: I think so", "So I think"])
def test_the_pronoun_is_no_choice(text: str) -> None:
    assert parse_answer(text, labels=["I", "II"]).value is None


def test_aliases_count_as_their_labels() -> None:
    aliases = {"billing": ["invoices", "$"], "bug": ["B"]}
    read = {text: parse_answer(text, labels=QUEUES, aliases=aliases).value for text in ("Invoices", "B", "of invoices")}
    assert read == {"Invoices": "billing", "B": "bug", "of invoices": "billing"}


def test_a_label_of_signs_alone_is_read_only_as_it_is() -> None:
    assert parse_answer("*", labels=["*", "-"]).value == "*"
    assert parse_answer("", labels=["*", "-"]).value is None


@pytest.mark.parametrize(
    "text",
    [
        '{"answer": "yes"}',
        '```json\n{"answer": "yes"}\n```',
        '```\n{"answer": "yes"}\n```',
        '```json5\n{"answer": "yes"}',
        '````\n```json\n{"answer": "yes"}\n```\n````',
        'Sure! {"answer": "yes"} I hope that helps {really}.',
        'Here it is:\n```json\n{"answer": "yes"}\n```\nbecause {of that}',
        'Not {"answer": "maybe"} but\n```json\n{"answer": "yes"}\n```',
        ' \n{"answer": "yes"}{"answer": "no"}',
        '{"answer": "maybe"} {"answer": "yes"}',
        '[{"answer": "yes"}]',
        '{ {"answer": "yes"} }',
        '\ufeff{"answer": "yes"}',
        '<think>{"answer": "no"}</think>{"answer": "yes"}',
        "{" * 999 + '{"answer": "yes"}',
        '{"a": 1} ' * 49 + '{"answer": "yes"}',
        '{"' * 900 + '{"answer": "yes"}',
        "\\frac{1}{2} " * 500 + '{"answer": "yes"}',
    ],
)
def test_json_is_found_in_fences_and_text(text: str) -> None:
    answer = parse_answer(text, schema=SCHEMA)
    assert (answer.value, answer.format_ok, answer.problem) == (YES, True, None)


RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": ["string", "null"]}, "n": {"type": ["number", "null"]}, "l": {"type": "array"}},
    "required": ["a"],
}
ONE, TWO = '{"a": "one", "n": 1}', '{"a": "two", "n": 2}'


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n\nWait, the number is wrong. Corrected:\n{TWO}",
        f"```json\n{ONE}\n```\nWait.\n\n### Final Answer\n\n```json\n{TWO}\n```",
        f"{ONE}\nHere is the corrected version:\n\n{TWO}",
        f"{ONE}\nI missed a line. **Updated JSON:**\n```\n{TWO}\n```\nThat is all.",
        f"{ONE} Correction: {TWO}",
        f"{ONE}\nFinal: {TWO}",
        f"{ONE}\nMy final answer is:\n{TWO}",
        f'{ONE}\nCorrected:\n{{"a": "three"}}\nCorrected again? Yes. Corrected:\n{TWO}',
        f"{ONE}\nKorrigierte Fassung:\n{TWO}",
        f"{ONE}\nVersion corrigée :\n{TWO}",
        f"{ONE}\nRespuesta final:\n{TWO}",
        # What has nothing in it is a skeleton.
        f'{{"a": null, "n": null}}\n\nAfter reading:\n{TWO}',
        f'{{"a": "", "n": 0}}\n{TWO}',
        f'Schema: {{"a": "...", "n": 0, "l": []}}\n\n{TWO}',
        f'```json\n{{"a": null}}\n```\n```json\n{TWO}\n```',
        f'{{"a": null}}\nCorrected:\n{TWO}',
        f'{{"a": null}}\n\nHere is the filled JSON:\n{TWO}',
        f'Template:\n{{"a": null}}\n\nFor this one:\n{TWO}',
        f"{ONE}\nWait, that's not right. Corrected:\n{TWO}",
    ],
)
def test_a_later_object_counts_where_it_corrects_or_fills_in(text: str) -> None:
    answer = parse_answer(text, schema=RECORD)
    assert (answer.value, answer.format_ok) == ({"a": "two", "n": 2}, True)


@pytest.mark.parametrize(
    "text",
    [
        f"{ONE}\n{TWO}",
        f"{ONE}\nWait, or is it\n{TWO}",
        f"{ONE}\nNo correction needed, unlike in this example:\n{TWO}",
        f"{ONE}\nNot corrected:\n{TWO}",
        f"{ONE}\nBefore the correction:\n{TWO}",
        f"{ONE}\nThe uncorrected version:\n{TWO}",
        f"{ONE}\nThe order was updated on 5 May, see this:\n{TWO}",
        f"{ONE}\nIn the second letter the order was updated\n{TWO}",
        f"{ONE}\nCorrected:\nas above\n{TWO}",
        f'{ONE}\nCorrected:\n{{"a": 5}}',
        f'{ONE}\nCorrected:\n{{"a": "two"',
        f'{ONE}\n{{"a": null}}',
        f"Corrected:\n{ONE}\nThe first was:\n{TWO}",
        f'{{"a": 5}}\n{ONE}\n{TWO}',
        f"{ONE}\n\nInvoice 7 (corrected):\n{TWO}",
        f"{ONE}\n\nDocument: corrected\n{TWO}",
    ],
)
def test_else_the_first_object_counts(text: str) -> None:
    assert parse_answer(text, schema=RECORD).value == {"a": "one", "n": 1}


@pytest.mark.parametrize(
    "first", [{"a": None, "n": 0}, {"a": None, "l": [False]}, {"a": "-"}, {"a": "", "n": 1}, {"a": "null"}]
)
def test_an_object_with_something_in_it_is_no_skeleton(first: dict[str, Any]) -> None:
    assert parse_answer(f"{json.dumps(first)}\n{TWO}", schema=RECORD).value == first


@pytest.mark.parametrize(
    "between",
    [
        "If a date were given, it would look like this:",
        "Example with values:",
        "Example answer:",
        "Document:\nInvoice of 1 January\n\nJSON:",
        "Document: an invoice\n\nAnswer:",
        "Not like the previous one:",
    ],
)
def test_an_answer_of_nulls_holds_beside_examples_and_other_documents(between: str) -> None:
    for head in ("", "Based on the template, the answer is:\n"):
        assert parse_answer(f'{head}{{"a": null}}\n\n{between}\n{TWO}', schema=RECORD).value == {"a": None}


def test_a_skeleton_alone_is_the_answer() -> None:
    for text in ('{"a": null}', '{"a": null}\nCorrected:\n{"a": 5}', '{"a": null} {"a": ""}'):
        assert parse_answer(text, schema=RECORD).value == {"a": None}


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
        ("{'answer': 'yes'}", "no JSON object"),
        ('{"answer": NaN}', "no JSON object"),
        ('{"answer": "yes", "n": Infinity}', "no JSON object"),
        ('{"answer": "yes", "n": 1e999}', "no JSON object"),
        ('{"answer": "yes", "n": ' + "9" * 5000 + "}", "no JSON object"),
        (DEEP, "no JSON object"),
        ('{"answer": "yes", "n": ' + "[" * 500 + "]" * 500 + "}", "no JSON object"),
        ("[1, 2]", "no JSON object"),
        ("{}", "breaks the schema at the object (required)"),
        ('{"answer": "CANARY"}', "breaks the schema at answer (enum)"),
        ('{"answer": "yes", "why": {}, "why": "CANARY"}', "breaks the schema at why (type)"),
        ('<think>{"answer": "yes"}', "the answer ends inside its thoughts"),
    ],
)
def test_what_is_no_json_of_the_schema_breaks_the_format(text: str, problem: str) -> None:
    answer = parse_answer(text, schema=SCHEMA)
    assert not answer.format_ok
    assert answer.problem is not None and answer.problem.startswith(problem)
    assert "CANARY" not in answer.problem


@pytest.mark.parametrize("depth", [50, 98])
def test_lists_within_lists_are_read_as_long_as_they_can_be_scored(depth: int) -> None:
    text = '{"answer": "yes", "n": ' + "[" * depth + "]" * depth + "}"
    assert parse_answer(text, schema=SCHEMA).format_ok
    assert not parse_answer(text.replace("[", "[" * 3).replace("]", "]" * 3), schema=SCHEMA).format_ok


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("yes", "yes"),
        ("<think>no</think>yes", "yes"),
        ("<THINK>no</Think>\n\nyes ", "yes"),
        ("<thinking>a</thinking>y<reasoning>b</reasoning>es", "yes"),
        ("[THINK]no[/THINK]yes", "yes"),
        ("no</think>yes", "yes"),
        ("<think>no<think>no</think>no</think>yes", "yes"),
        ("yes<think>no</think>", "yes"),
        ("<think></think>", ""),
        ("<think>no", None),
        ("yes<think>no", None),
        ("<think>no</think>yes<think>", None),
        ("a < b", "a < b"),
    ],
)
def test_thoughts_are_left_out(text: str, said: str | None) -> None:
    assert without_thoughts(text) == said


@pytest.mark.parametrize(("text", "ok"), [("words", True), (" \n", False), ("", False), ("<think>a</think> ", False)])
def test_free_text_is_anything_but_nothing(text: str, ok: bool) -> None:
    assert parse_answer(text).format_ok is ok


def test_free_text_is_what_is_said() -> None:
    text = "<think>hm</think> Well. "
    assert parse_answer(text) == Answer(text, "Well.", True, None, "Well.")


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("a\nb", ["a", "b"]),
        ("- a\n* b\n• c\n\n1. d\n2) e", ["a", "b", "c", "d", "e"]),
        ('["a", 2, null]', ["a", 2, None]),
        ('Here:\n```json\n["a"]\n```', ["a"]),
        ("12.50 EUR\n3M\n-5", ["12.50 EUR", "3M", "-5"]),
        ("[a, b]", ["[a, b]"]),
        ("Answer:\na\nb", ["a", "b"]),
        ("Answer: a\nNo, wait.\nAnswer: b", ["b"]),
        ("Here they are:\n\n1. a\n2. b", ["a", "b"]),
        ('{"skills": ["a", "b"]}', ["a", "b"]),
        ("Topic: a\nTopic: b", ["Topic: a", "Topic: b"]),
        ("Topic: a", ["a"]),
        ("Category: a\nb", ["a", "b"]),
        ("Topics: a\nTags: b", ["Topics: a", "Tags: b"]),
        ("Answer:", ["Answer:"]),
        ("", []),
    ],
)
def test_a_list_is_json_or_lines(text: str, entries: list[Any]) -> None:
    assert listed(text) == entries


# Validity


def test_a_schema_that_refers_to_itself_without_end_is_no_crash() -> None:
    assert not parse_answer("{}", schema={"type": "object", "$ref": "#"}).format_ok


def test_a_field_that_the_model_made_up_is_not_repeated() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "array", "items": {"type": "number"}}}}
    schema["additionalProperties"] = {"type": "object", "additionalProperties": {"type": "number"}}
    assert schema_problem({"a": [1, "x"]}, schema) == "breaks the schema at a.1 (type)"
    assert schema_problem({"CANARY": {"CANARY": "x"}}, schema) == "breaks the schema at ?.? (type)"


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_a_number_too_large_to_check_is_no_crash(value: int) -> None:
    schema = {"type": "object", "properties": {"a": {"multipleOf": 0.01}}}
    assert schema_problem({"a": value}, schema) is not None


EVIL = "(x+x+)+y"
XS = "x" * 5000


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"properties": {"a": {"pattern": EVIL}}}, {"a": XS}),
        ({"patternProperties": {EVIL: {}}}, {XS: 1}),
        ({"patternProperties": {EVIL: {}}, "additionalProperties": False}, {XS: 1}),
        ({"propertyNames": {"pattern": EVIL}}, {XS: 1}),
        ({"properties": {"a": {"contains": {"pattern": EVIL}}}}, {"a": [XS] * 100}),
    ],
)
def test_every_pattern_of_a_schema_has_a_time_out(schema: dict[str, Any], value: dict[str, Any]) -> None:
    started = time.monotonic()
    answer = parse_answer(json.dumps(value) * 3, {"type": "object", **schema})
    assert time.monotonic() - started < 20  # without it: hours; a time-out for each of them: over 20 s
    assert (answer.value, answer.problem) == (value, "a pattern of the schema took too long")


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        (SCHEMA, None),
        ({"properties": {"pattern": {"type": "string"}, "patternProperties": {}, "unevaluatedProperties": {}}}, None),
        ({"patternProperties": {"^a": {}}, "additionalProperties": False}, None),
        ({"enum": [{"pattern": "("}]}, None),
        ({"properties": {"a": {"pattern": "("}}}, "a 'pattern' is not a regular expression: "),
        ({"items": [{"patternProperties": {"(": {}}}]}, "a 'patternProperties' is not a regular expression: "),
        ({"anyOf": [{"pattern": "((a{1000}){1000}){1000}"}]}, "a 'pattern' is a regular expression that is too large"),
        (
            {"$defs": {"a": {"patternProperties": {"a": {}}}}, "unevaluatedProperties": False},
            "'patternProperties' and 'unevaluatedProperties' cannot stand in one schema",
        ),
    ],
)
def test_a_schema_that_cannot_be_checked_within_bounds_is_refused(schema: dict[str, Any], problem: str | None) -> None:
    found = unusable({"type": "object", **schema})
    assert (found is None) if problem is None else (found is not None and found.startswith(problem))


_SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 0.5, 2.0]), st.text("abx1", max_size=3)
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abx1", max_size=2), inner, max_size=3),
    max_leaves=8,
)
_PATTERNS = st.sampled_from(["^a", "b$", "x", "^[ab]+$", "[0-9]"])


def _schemas(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.text("abx1", max_size=2)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": st.sampled_from(["object", "array", "string", "number", "integer", "boolean", "null"]),
            "enum": st.lists(_JSON, min_size=1, max_size=3),
            "const": _JSON,
            "pattern": _PATTERNS,
            "minLength": st.integers(0, 3),
            "minimum": st.integers(-2, 2),
            "multipleOf": st.sampled_from([1, 2, 0.5]),
            "items": inner,
            "uniqueItems": st.booleans(),
            "properties": st.dictionaries(names, inner, max_size=2),
            "required": st.lists(names, max_size=2, unique=True),
            "additionalProperties": inner,
            "patternProperties": st.dictionaries(_PATTERNS, inner, max_size=2),
            "propertyNames": inner,
            "anyOf": st.lists(inner, min_size=1, max_size=2),
            "not": inner,
        },
    )


_SCHEMA = st.recursive(st.booleans(), _schemas, max_leaves=6).filter(lambda schema: isinstance(schema, dict))


@settings(max_examples=400, deadline=None)
@given(_SCHEMA, _JSON)
def test_validity_is_jsonschemas(schema: dict[str, Any], value: Any) -> None:
    assert (schema_problem(value, schema) is None) is jsonschema.Draft202012Validator(schema).is_valid(value)


@settings(max_examples=200, deadline=None)
@given(st.lists(_JSON, max_size=6))
def test_unique_items_are_jsonschemas(entries: list[Any]) -> None:
    schema = {"uniqueItems": True}
    assert (schema_problem(entries, schema) is None) is jsonschema.Draft202012Validator(schema).is_valid(entries)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=5), _JSON, max_size=4), st.text("<>`{ab \n", max_size=20))
def test_an_object_is_read_back_from_a_fence_and_from_text(value: dict[str, Any], around: str) -> None:
    schema = {"type": "object", "const": value}
    for written in (json.dumps(value), json.dumps(value, ensure_ascii=False), json.dumps(value, indent=1)):
        assert parse_answer(f"{written} {around}", schema).value == value
        assert parse_answer(f"Here:\n```json\n{written}\n```\n{around}", schema).value == value


# Texts made to hurt

_TAGS = [
    "<think>",
    "</think>",
    "[/THINK]",
    "```",
    "```json\n",
    "Answer:",
    "answer is",
    "billing",
    "not",
    "B)",
    "1.",
    "- ",
]
_PIECES = st.sampled_from([*_TAGS, *'{}[]":,\\\n\0aAI*() ß', "1e999", "NaN", "\ud800"])


@settings(max_examples=500, deadline=None)
@given(st.lists(_PIECES | st.text(max_size=5), max_size=25).map("".join))
def test_no_text_is_a_crash(text: str) -> None:
    for answer in (
        parse_answer(text),
        parse_answer(text, schema=SCHEMA),
        parse_answer(text, labels=QUEUES, aliases={"bug": ["a", "not"]}),
        parse_answer(text, labels=[*LETTERS, "I"]),
    ):
        assert answer.text == text
        assert answer.format_ok is (answer.problem is None)
        assert answer.format_ok or answer.problem
    label = parse_answer(text, labels=QUEUES)
    assert label.value in QUEUES if label.format_ok else label.value is None


N = 200_000
LONG = {
    "open thoughts": "<think>" * (N // 7),
    "ended thoughts": "</think>" * (N // 8),
    "thoughts": "<think>a</reasoning>" * (N // 20),
    "braces": "{" * N,
    "keys": '{"' * (N // 2),
    "objects": "{}" * (N // 2),
    "fences": "```\n" * (N // 4),
    "valid objects": '{"answer": "yes"}\n' * (N // 18),
    "corrections": '{"answer": "yes"}\nCorrected:' + "corrected " * (N // 10) + '{"answer": "no"}',
    "a long line": '{"answer": "yes"}' + "final answer " * (N // 13) + "{",
    "fenced objects": "```\n{}\n```\n" * (N // 11),
    "deep": DEEP,
    "deep lists": '{"a":' + "[" * N,
    "unclosed": '{"a": [' + "1," * (N // 2),
    "unclosed many times": '{"a": [1,' * (N // 9),
    "spaces": "answer" + " " * N + "x",
    "stars": "answer" + "*" * N + "x",
    "answers": "answer: " * (N // 8),
    "labels": "billing bug " * (N // 12),
    "letters": "A " * (N // 2),
    "announcements": "Labels:\n" * (N // 8),
    "an empty announcement": "answer:" + "\n" * N,
    "yes and no": "yes no " * (N // 7),
    "no and spaces": "no" + " " * N + "x",
    "no and words": "no " + "w " * N,
    "no and turns": "no " + "so, " * N,
    "supposed": "if the answer is " * (N // 17),
    "lines of answers": "Answer: yes\n" * (N // 12),
    "answers of yes": "answer: yes " * (N // 12),
    "brackets": "(" * N,
    "lines": "\n" * N + "x",
    "digits": "1" * N,
    "quotes": '"' * N,
    "backslashes": '{"a": "' + "\\" * N,
}


@pytest.mark.parametrize("name", LONG)
def test_a_long_text_takes_no_time_by_the_square(name: str) -> None:
    parse_answer("{}", schema=SCHEMA)  # imports jsonschema
    started = time.process_time()
    for options in ({}, {"schema": SCHEMA}, {"labels": QUEUES}, {"labels": LETTERS}, {"labels": ["yes", "no"]}):
        parse_answer(LONG[name], **options)
    listed(LONG[name])
    assert time.process_time() - started < 20  # some tenths of a second; by the square: minutes
