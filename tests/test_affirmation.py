"""Yes and no behind the heads that models write, in boxes, objects and lines of their own."""

from __future__ import annotations

import time

import pytest

from workbench.scorers import parse_answer
from workbench.scorers.yes_no import yes_or_no


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Answer (yes/no): yes", "yes"),
        ("Answer (Yes or No): Yes", "yes"),
        ("It is long.\nAnswer (yes/no): no", "no"),
        ("Yes/No: Yes", "yes"),
        ("Yes or No: No", "no"),
        ("Response: Yes", "yes"),
        ("### Response:\nYes", "yes"),
        ("### Response:\nNo, it is not", "no"),
        ("A: Yes", "yes"),
        ("Q: Is it?\nA: Yes", "yes"),
        ("Output: yes", "yes"),
        ("Conclusion: Yes", "yes"),
        ("Verdict: Yes.", "yes"),
        ("**Verdict:** No", "no"),
        ("It is long and so on.\nVerdict: No", "no"),
        ("Result: no change", None),
        ("Therefore, yes.", "yes"),
        ("The notice was 30 days. Therefore, yes.", "yes"),
        ("The notice was late. So no.", "no"),
        ("The answer to the question is yes.", "yes"),
        ("So the answer would be yes.", "yes"),
        ("The answer would be yes if there were consent. There is none.", None),
        ("The answer is yes only if there is consent.", None),
        ("The answer is no unless shown otherwise.", "no"),
        ("The answer is no if the notice was late, which it was.", "no"),
        ("The answer is no if the notice was late, which was unclear.", None),
        ("The answer is no if the notice was late.", None),
        ("\\boxed{Yes}", "yes"),
        ("$\\boxed{\\text{No}}$", "no"),
        ("The final answer is $\\boxed{\\text{Yes}}$", "yes"),
        ("No consent is needed here, \\boxed{Yes}", "yes"),
        ("1. Yes", "yes"),
        ("1. Yes\n2. No", None),
        ("Question: Is it valid?\nYes", "yes"),
        ("Question: Is it valid?\nNo, since it is late", "no"),
        ("Yes or no?\nYes", "yes"),
        ("Is it valid?\nHard to say.", None),
        ("Certainly! Yes.", "yes"),
        ("Sure! No, it is not.", "no"),
        ("Sure!", None),
        ("Certainly not.", None),
        ('```json\n{"answer": "yes"}\n```', "yes"),
        ('{"reason": "no consent", "answer": "yes"}', "yes"),
        ('{"answer": true}', "yes"),
        ('```\n{"valid": false}\n```', "no"),
        ('{"reason": "no", "more": "x"}', None),
        ('{"answer": "maybe"}', None),
        ("I think yes", None),
        ("I don't think the answer is yes", None),
        ("I cannot say that the answer is yes.", None),
        ("If the answer is yes, call.", None),
        ("The clause is silent.\n\nNo", "no"),
        ("The clause is silent.\n\nNo\n\nYes", None),
        ("Yes\n\nNo", None),
        ("The clause says no.\nIt is long.", None),
        ("A: Yes\nQ: And this?\nA: No", None),
        ("So, yes", "yes"),
        ("So no consent was given", None),
        ("Thus no", "no"),
        ("No worries", "no"),
        ("Yes/No", None),
        ("(yes/no)", None),
        ("Answer (yes/no):", None),
        ("Answer: (yes/no)", None),
        ("Output: yes or no", None),
        ("Verdict: Yes/No", None),
        ("Is it so? Yes or no?", None),
        ("{}", None),
        ('{"a": {"answer": "yes"}}', None),
        ("Correct, yes", "yes"),
        ("Overall, no.", "no"),
        ("Absolutely! No.", "no"),
        ("The answer to whether it is valid is no", "no"),
        ("No consent was given. Is it yes?", "no"),
        ("Conclusion: no, or yes", None),
    ],
)
def test_yes_or_no_is_found_behind_heads_and_nowhere_else(text: str, said: str | None) -> None:
    assert yes_or_no(text) == said


@pytest.mark.parametrize(
    "head", ["Answer (yes/no): ", "Verdict: ", "Therefore, ", "So the answer would be ", "1. ", "A: "]
)
@pytest.mark.parametrize("word", ["yes", "no"])
def test_heads_serve_labels_too(head: str, word: str) -> None:
    text = f"{head}{word}"
    assert yes_or_no(text) == word
    assert parse_answer(text, labels=["yes", "no"]).value == word


N = 100_000
HURT = [
    "!" * N,
    "? " * N,
    ".\n" * N,
    "1. " + " " * N + "\nx",
    "\\boxed{" * N,
    "verdict:\n" * N,
    "so, " * N,
    "?)" * N,
    "{" * N,
]
HURT += [
    "no\n" * N,
    "\n" * N + "yes no x",
    "sure! " * N,
    "answer to " * N,
    "a:" * N,
    "yes (" * N,
    "```\n{" * N,
    "_" * N,
]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(HURT)))
def test_a_text_made_to_hurt_takes_no_time_by_the_square(index: int) -> None:
    started = time.process_time()
    for text in (HURT[index], f"answer {HURT[index]}", f"\\boxed{{ answer\n{HURT[index]}"):
        yes_or_no(text)
    assert time.process_time() - started < 20
