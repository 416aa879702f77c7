"""Spellings that look the same are one, for every scorer that compares texts."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.scorers.contains import ContainsScorer
from workbench.scorers.exact import normalized
from workbench.scorers.facts import states
from workbench.scorers.spelling import composed
from workbench.scorers.values import FieldSpec, plain, similarity


@pytest.mark.parametrize(
    ("typographic", "typed"),
    [
        ("INV\u20117", "INV-7"),
        ("INV\u20107", "INV-7"),
        ("INV\u20137", "INV-7"),
        ("\u22125", "-5"),
        ("Meyer\u2019s", "Meyer's"),
        ("Meyer\u00b4s", "Meyer's"),
        ("\u2018a\u2019", "'a'"),
        ("\u201ca\u201d", '"a"'),
        ("\u201ea\u201c", '"a"'),
        ("1\u202f000\u00a0EUR", "1 000 EUR"),
        ("co\u00adoperate", "cooperate"),
        ("a\u200bb", "ab"),
        ("re\u0301sume\u0301", "r\u00e9sum\u00e9"),
    ],
)
def test_what_looks_the_same_is_the_same(typographic: str, typed: str) -> None:
    assert composed(typographic) == typed
    assert plain(typographic) == plain(typed)
    assert similarity(FieldSpec(type="text"), typographic, typed) == 1
    for ignore in ([], ["case"], ["punctuation"], ["case", "punctuation", "accents"]):
        assert normalized(typographic, ignore) == normalized(typed, ignore)  # type: ignore[arg-type]
    assert states(f"with {typographic} there", [[typed]]) and states(f"with {typed} there", [[typographic]])


@pytest.mark.parametrize(
    "text", ["a \u2014 b", "\u2033", "a\u200db", "\U0001f468\u200d\U0001f469", "x \u00d7 y", "\u00ab a \u00bb"]
)
def test_what_looks_different_stays_different(text: str) -> None:
    assert composed(text) == text


@given(st.text() | st.text("a\u200b\u0301\u1ffd\u2000\u2011"))
def test_folding_twice_changes_nothing_more_and_ascii_nothing_at_all(text: str) -> None:
    once = composed(text)
    assert composed(once) == once
    assert unicodedata.is_normalized("NFC", once)
    assert not text.isascii() or once == text


def test_phrases_are_found_however_they_are_set() -> None:
    from workbench.scorers import parse_answer

    scorer = ContainsScorer(type="contains")
    for said, phrase in (("a non\u2011compete clause", "non-compete"), ("he doesn\u2019t", "doesn't")):
        assert scorer.score(parse_answer(said), {"answer": phrase}).value == 1
        assert scorer.score(parse_answer(composed(said)), {"answer": said[2:]}).value == 1
