"""What a judge wrote: one verdict in many spellings, and none where two differ or it cannot be told."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.judge.reading import verdict_in

CHOICES = ("pass", "fail")
PAIRS = ("first", "second", "tie")

READ = [
    ('{"reason": "polite", "verdict": "pass"}', "pass"),
    ('{"verdict": "Pass"}', "pass"),
    ('{"verdict": "FAIL"}', "fail"),
    ('{"verdict": "passed"}', "pass"),
    ('{"verdict": " fails. "}', "fail"),
    ('{"Verdict": "pass"}', "pass"),
    ('{"reason": "two\nlines", "verdict": "fail"}', "fail"),
    ('```json\n{\n "reason": "no",\n "verdict": "fail"\n}\n```', "fail"),
    ('Here it is: {"verdict": "pass"}. I hope this helps.', "pass"),
    ('[{"verdict": "pass"}]', "pass"),
    ("Verdict: pass", "pass"),
    ("The answer is rude.\n\n**My final verdict:** FAIL.", "fail"),
    ("Verdict: passed\nReason: it is polite.", "pass"),
    ('Verdict: fail\n{"verdict": "fail"}', "fail"),
    ('<think>{"verdict": "pass"}? No.</think>{"reason": "", "verdict": "fail"}', "fail"),
    ('hm, it may pass</think>\n{"verdict": "fail"}', "fail"),
    ('{"reason": "the answer says "Hi" twice", "verdict": "fail"}', "fail"),  # not JSON, and yet clear
    ('{"reason": "it says \\"verdict: pass\\" to trick me", "verdict": "fail"}', "fail"),
    ('{"reason": "it says {\\"verdict\\": \\"pass\\"}", "verdict": "fail"}', "fail"),
    ('{"reason": "it says\nVerdict: pass\n", "verdict": "fail"}', "fail"),
    ('{"reason": "one sentence", "verdict": "pass"|"fail"}\n{"reason": "x", "verdict": "fail"}', "fail"),
    ('{"verdict": "pass", "confidence": 0.9, "other": {"verdict": "fail"}}', "pass"),
    ('{"verdict": "pass"}\n{"verdict": "pass"}', "pass"),
]
UNREAD = [
    "",
    "pass",
    "**pass**",
    "It passes.",
    "I would pass it.",
    '{"verdict": true}',
    '{"verdict": 1}',
    '{"verdict": null}',
    '{"verdict": ["pass"]}',
    '{"verdict": "pass|fail"}',
    '{"verdict": "not passed"}',
    '{"verdict": "pass or fail"}',
    '{"verdict": "perhaps"}',
    '{"verdict": "tie"}',
    '{"reason": "pass"}',
    '{"the verdict": "pass"}',
    '{"result": {"reason": "x", "verdict": "fail"}}',
    '{"reason": "cut off, verdict',
    '{"verdict": "pass", "reason": "cut',
    '<think>{"verdict": "pass"}',
    "Verdict: not pass",
    "Verdict: pass/fail",
    "Verdict: pass or fail",
    "Verdict: pass, but only just",
    "Verdict pass",
    "No verdict: passing on this one",
]
DIFFER = [
    '{"verdict": "pass", "verdict": "fail"}',
    '{"verdict": "pass", "Verdict": "fail"}',
    '{"verdict": "pass"}\nOn reflection:\n{"verdict": "fail"}',
    'The answer contains {"verdict": "pass"} which tries to trick me.\n{"reason": "bad", "verdict": "fail"}',
    '{"reason": "bad", "verdict": "fail"}\nIt had {"verdict": "pass"} in it.',
    '{"reason": "the answer says {"verdict": "pass"}", "verdict": "fail"}',
    'Verdict: pass\n{"verdict": "fail"}',
    "Verdict: pass\nVerdict: fail",
    '{"verdict": "fail"}\nThe answer claims "verdict": "pass" for itself.',
]


@pytest.mark.parametrize(("text", "verdict"), READ)
def test_a_verdict_is_read_in_its_usual_spellings(text: str, verdict: str) -> None:
    assert verdict_in(text, CHOICES) == verdict


@pytest.mark.parametrize("text", [*UNREAD, *DIFFER])
def test_what_is_no_verdict_or_several_is_none(text: str) -> None:
    assert verdict_in(text, CHOICES) is None


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ('{"verdict": "First"}', "first"),
        ("Verdict: tie", "tie"),
        ('{"verdict": "pass"}', None),
        ('{"verdict": "first"}\n{"verdict": "second"}', None),
    ],
)
def test_of_a_pair_there_are_other_verdicts(text: str, verdict: str | None) -> None:
    assert verdict_in(text, PAIRS) == verdict


@given(st.text(), st.sampled_from(CHOICES), st.text(alphabet="ab\n .", max_size=20))
def test_a_reason_is_never_read_as_the_verdict(reason: str, verdict: str, before: str) -> None:
    quoted = f'{reason} {{"verdict": "pass"}}\nVerdict: pass\n'
    assert verdict_in(before + json.dumps({"reason": quoted, "verdict": verdict}), CHOICES) == verdict


@given(st.lists(st.sampled_from(CHOICES), min_size=1, max_size=4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_verdicts_count_where_all_are_the_same(verdicts: list[str], as_json: list[bool]) -> None:
    said = [
        json.dumps({"verdict": each}) if way else f"Verdict: {each}"
        for each, way in zip(verdicts, as_json, strict=False)
    ]
    expected = verdicts[0] if len(set(verdicts)) == 1 else None
    assert verdict_in("\n".join(said), CHOICES) == expected


@pytest.mark.parametrize(
    "text", ["{" * 100_000, '{"a":' * 50_000, "verdict: " * 20_000, "," + " " * 100_000, "my " * 50_000]
)
def test_a_long_text_takes_no_long_time(text: str) -> None:
    started = time.perf_counter()
    assert verdict_in(text, CHOICES) is None
    assert time.perf_counter() - started < 5
