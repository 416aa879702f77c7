"""What `without` takes out counts on neither side, for every scorer that has it."""

from __future__ import annotations

from typing import Any

import pytest

from workbench.scorers import parse_answer
from workbench.scorers.base import SCORERS, as_scorer
from workbench.scorers.texts import TextScorer

GSM8K = [",", r"\$", "(?s).*#### ", r"\.$"]
KEY = "48 / 2 = 24, and 48 + 24 = 72 so\n#### 1,072"


def built(type: str, **settings: Any) -> Any:
    return as_scorer(SCORERS.find(type)).model_validate({"type": type, **settings})


@pytest.mark.parametrize(
    ("type", "settings", "answer", "expected", "score"),
    [
        ("exact", {}, "$1,072.", KEY, 1),
        ("exact", {}, "so\n#### 1072", KEY, 1),
        ("exact", {}, "1073", KEY, 0),
        ("exact", {}, "1072 apples", KEY, 0),
        ("exact", {"extract": r"-?[\d$,.]+", "take": "last"}, "of 5, it is $1,072.", KEY, 1),
        ("exact", {}, "$7", ["$6", "7"], 1),
        ("numeric", {}, "it is $1,072.", KEY, 1),
        ("numeric", {"take": "last"}, "3 and 1072", KEY, 1),
        ("numeric", {}, "1071", KEY, 0),
        ("numeric", {}, "7", 7, 1),
        ("contains", {}, "They pay $1,072 in all.", KEY, 1),
        ("contains", {}, "They pay 72 in all.", KEY, 0),
    ],
)
def test_patterns_are_taken_out_of_both(type: str, settings: Any, answer: str, expected: Any, score: float) -> None:
    scorer = built(type, without=GSM8K, **settings)
    assert scorer.check({"answer": expected}) is None
    assert scorer.score(parse_answer(answer), {"answer": expected}).value == score


@pytest.mark.parametrize("type", ["exact", "numeric", "contains"])
def test_what_would_be_nothing_is_refused_and_the_key_stays_as_it_is(type: str) -> None:
    scorer = built(type, without=GSM8K)
    assert isinstance(scorer, TextScorer)
    problem = scorer.check({"answer": ["$,", "7"]})
    assert problem == "expectations.answer has nothing but what 'without' takes out. Change one of them"
    assert scorer.accepted({"answer": KEY}) == [KEY]


def test_an_answer_on_which_a_pattern_takes_too_long_is_wrong() -> None:
    slow = built("exact", without=["(a+a+)+b"])
    assert slow.score(parse_answer("a" * 3000), {"answer": "c"}).value == 0
    assert "nothing but what 'without' takes out" in str(slow.check({"answer": "a" * 3000}))


def test_a_broken_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="not a regular expression"):
        built("exact", without=["("])
