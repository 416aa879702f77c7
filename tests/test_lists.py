"""Lists as models write them: bullets, markdown, conjunctions, reasons; and what must not be read as a list."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import InputError
from workbench.files import Document
from workbench.scorers import Scorer, build_scorers, parse_answer, problem_of
from workbench.scorers.lists import divided, json_list, labels_in, listed, spelled

Json = dict[str, Any]
E = ["bug", "billing"]
TERMS = ["terms and conditions", "billing"]
P = ["Python", "SQL"]


def built(spec: Json, labels: list[str] | None = None, schema: Json | None = None) -> Scorer:
    from pathlib import Path

    return build_scorers([spec], Document(Path("evalset.yaml"), {}, {}), labels, schema)[0]


def scored(spec: Json, text: str, expectations: Json) -> float:
    scorer = built(spec)
    assert problem_of([scorer], expectations) is None
    return scorer.score(parse_answer(text), expectations).value


@pytest.mark.parametrize(
    ("text", "expected", "settings_of", "score"),
    [
        ("bug and billing", E, {}, 1),
        ("bug & billing", E, {}, 1),
        ("bug or billing", E, {}, 0),
        ("bug, and billing", E, {}, 1),
        ("Labels: bug and billing", E, {}, 1),
        ("The labels are bug and billing.", E, {}, 1),
        ("`bug`, `billing`", E, {}, 1),
        ("- **bug**: the app crashes\n- **billing**: charged twice", E, {}, 1),
        ("bug; billing", E, {}, 1),
        ("(bug, billing)", E, {}, 1),
        ("<answer>bug, billing</answer>", E, {}, 1),
        ("Here are the labels: bug, billing", E, {}, 1),
        ("```\nbug, billing\n```", E, {}, 1),
        ('{"labels": ["bug", "billing"], "reason": "x"}', E, {}, 1),
        ("bug | billing", E, {}, 1),
        ("bug (it crashes)\nbilling (charged twice)", E, {}, 1),
        ("bug und billing", E, {}, 1),
        ("neither bug nor billing", E, {}, 0),
        ("not bug and billing", E, {}, 0),
        ("bug and not billing", E, {}, 0),
        ("bug, not billing", E, {}, 0.5),
        ("bug: yes\nbilling: no", E, {}, 2 / 3),
        ("bug: no\nbilling: no", E, {}, 0),
        ("bug: yes\nbilling: yes", E, {}, 1),
        ("- bug: The app crashes.\n- billing: The ticket does not mention charges.", E, {}, 0.5),
        ("bug: 0.9\nbilling: 0.1", E, {}, 0),
        ('{"bug": true, "billing": false}', E, {}, 2 / 3),
        ('{"bug": true, "billing": true}', E, {}, 1),
        ('{"bug": "yes", "billing": "no"}', E, {}, 2 / 3),
        ("The labels are not bug and billing.", E, {}, 0),
        ("The labels that do not apply are bug and billing.", E, {}, 0),
        ("a) liability", ["a) liability"], {}, 1),
        ("a) liability, b) costs", ["a) liability", "b) costs"], {}, 1),
        ("- a) liability\n- b) costs", ["a) liability", "b) costs"], {}, 1),
        ("(1) scope\n(2) term", ["(1) scope", "(2) term"], {}, 1),
        ("- 1. bug\n- 2. billing", E, {}, 1),
        ("2) bug", ["bug"], {}, 1),
        ("bug and crash", E, {}, 0.5),
        ("crash and freeze", E, {}, 0),
        ("bug, crash and billing", E, {}, 0.8),
        ("bug, billing and login", E, {}, 0.8),
        ("- [x] bug\n- [x] billing\n- [ ] login", E, {}, 1),
        ("- [ ] bug\n- [ ] billing", E, {}, 1),
        ("a) bug\nb) billing", E, {}, 1),
        ("1. **bug**\n2. **billing**", E, {}, 1),
        ("['bug', 'billing']", E, {}, 1),
        ("bug: billing", E, {}, 0),
        ("bug\nand billing", E, {}, 1),
        ("Bug, Billing, and nothing else", E, {}, 0.8),
        ("No labels apply.", E, {}, 0),
        ("none", E, {}, 0),
        ("None of the above", E, {}, 0),
        ("The ticket is not about bug and billing", E, {}, 0),
        ("terms and conditions, billing", TERMS, {}, 1),
        ("terms and conditions and billing", TERMS, {}, 1),
        ("billing and terms and conditions", TERMS, {}, 1),
        ("terms, conditions, billing", TERMS, {}, 0.4),
        ("terms and conditions", ["terms and conditions"], {}, 1),
        ("terms and billing", ["terms and conditions"], {}, 0),
        (
            "terms and conditions and billing",
            ["billing"],
            {"labels": ["terms and conditions", "billing", "bug"]},
            2 / 3,
        ),
        ("bug and crash", ["billing"], {"labels": ["terms and conditions", "billing", "bug"]}, 0),
        ("bug and billing", ["billing"], {"labels": ["terms and conditions", "billing", "bug"]}, 2 / 3),
        ("non-compliant and late", ["non-compliant", "late"], {}, 1),
        ("Non‑compliant and late", ["non-compliant", "late"], {}, 1),
        ("none", [], {}, 1),
        ("No labels apply.", [], {}, 1),
        ("None of the above", [], {}, 1),
        ("None of the labels apply.", [], {}, 1),
        ("(none)", [], {}, 1),
        ("`none`", [], {}, 1),
        ("null", [], {}, 1),
        ("The answer is none.", [], {}, 1),
        ("Labels: none", [], {}, 1),
        ("No label", [], {}, 1),
        ("n/a", [], {}, 1),
        ("no bug", [], {}, 0),
        ("none of your business, bug", [], {}, 0),
        ("nothing but bug", [], {}, 0),
        ("No, bug", [], {}, 0),
        ("not sure", [], {}, 0),
        ("", [], {}, 1),
        ("[]", [], {}, 1),
        ("no labels, but bug", [], {}, 0),
        ("none", ["none"], {"labels": ["none", "bug"]}, 1),
        ("bug", ["none"], {"labels": ["none", "bug"]}, 0),
        ("None of the above", ["none"], {"labels": ["none", "bug"]}, 0),
        ("bug, billing", E, {"separator": ";"}, 1),
        ("bug; billing", E, {"separator": ";"}, 1),
        ("bug;billing", E, {"separator": ";"}, 1),
    ],
)
def test_several_labels(text: str, expected: list[str], settings_of: Json, score: float) -> None:
    assert scored({"type": "multi_label", **settings_of}, text, {"labels": expected}) == pytest.approx(score)


@pytest.mark.parametrize(
    ("text", "expected", "settings_of", "score"),
    [
        ("- **Python**\n- **SQL**", P, {}, 1),
        ("- `Python`\n- `SQL`", P, {}, 1),
        ('- "Python"\n- "SQL"', P, {}, 1),
        ("– Python\n– SQL", P, {}, 1),
        ("+ Python\n+ SQL", P, {}, 1),
        ("a) Python\nb) SQL", P, {}, 1),
        ("- [x] Python\n- [x] SQL", P, {}, 1),
        ("- [x] Python\n- [ ] SQL", P, {}, 2 / 3),
        ("Python, SQL", P, {}, 1),
        ("Python; SQL", P, {}, 1),
        ("Answer: Python, SQL", P, {}, 1),
        ("['Python', 'SQL']", P, {}, 1),
        ("- Python,\n- SQL", P, {}, 1),
        ("[Python, SQL]", P, {}, 1),
        ("```\nPython\nSQL\n```", P, {}, 1),
        ("Python,SQL", P, {}, 0),
        ("Java, C", P, {}, 0),
        ("Python, Java", P, {}, 0.5),
        ("Python SQL", P, {}, 0),
        ('["Python, SQL"]', P, {}, 0),
        ("not Python, SQL", P, {}, 0.5),
        ("Paris, Texas", ["Paris, Texas"], {}, 1),
        ("Paris, France", ["Paris, Texas"], {}, 0),
        ("- Paris, Texas", ["Paris, Texas"], {}, 1),
        ("__init__\n*args", ["__init__", "*args"], {}, 1),
        ("- `__init__`\n- `*args`", ["__init__", "*args"], {}, 1),
        ('"Heroes"\nA. Smith', ['"Heroes"', "A. Smith"], {}, 1),
        ('- "Heroes"\n- A. Smith', ['"Heroes"', "A. Smith"], {}, 1),
        ("March 14, 2026", ["2026-03-14"], {"of": "date"}, 1),
        ("March 15, 2026", ["2026-03-14"], {"of": "date"}, 0),
        ("2026-03-14, 2026-05-01", ["2026-03-14"], {"of": "date"}, 2 / 3),
        ("12.50 EUR, 7 EUR", ["12.50 EUR", "7 EUR"], {"of": "money"}, 1),
        ("12,50 EUR; 7 EUR", ["12.50 EUR", "7 EUR"], {"of": "money"}, 1),
        ("- 4. März 2026\n- 6. Mai 2026", ["2026-03-04", "2026-05-06"], {"of": "date"}, 1),
        ("4. März 2026\n6. Mai 2026", ["2026-03-04", "2026-05-06"], {"of": "date"}, 1),
        ("1. 4. März 2026\n2. 6. Mai 2026", ["2026-03-04", "2026-05-06"], {"of": "date"}, 1),
        ("- 1. FC Köln\n- VfB", ["1. FC Köln", "VfB"], {}, 1),
        ("1. 1. FC Köln\n2. VfB", ["1. FC Köln", "VfB"], {}, 1),
        ("1. FC Köln\n2. VfB", ["FC Köln", "VfB"], {}, 1),
        ("1. - Python\n2. - SQL", P, {}, 1),
        ("a) Haftung\nb) Kosten", ["a) Haftung", "b) Kosten"], {}, 1),
        ("- a) Haftung\n- b) Kosten", ["a) Haftung", "b) Kosten"], {}, 1),
        ("a) Haftung\nb) Kosten", ["Haftung", "Kosten"], {}, 1),
        ("a) Haftung\nb) Kosten", ["a) Haftung", "b) Frist"], {}, 0.5),
        ("(1) scope\n(2) term", ["(1) scope", "(2) term"], {}, 1),
        ("(1) scope\n(2) term", ["scope", "term"], {}, 1),
        ("[x] done\n[x] more", ["[x] done", "more"], {}, 1),
        ("- [x] done\n- more", ["[x] done", "more"], {}, 1),
        ("1,250 EUR", ["12.50 EUR", "7 EUR"], {"of": "money"}, 0),
    ],
)
def test_a_set_in_a_text(text: str, expected: list[str], settings_of: Json, score: float) -> None:
    assert scored({"type": "set_f1", **settings_of}, text, {"answer": expected}) == pytest.approx(score)


def test_an_expected_text_is_taken_as_it_is_written() -> None:
    scorer = built({"type": "multi_label", "labels": ["bug", "billing", "none"]})
    assert scorer.check({"labels": "none"}) is None and scorer.check({"labels": "bug, billing"}) is None
    assert "is not among the labels" in str(scorer.check({"labels": "bug and billing"}))
    assert scored({"type": "multi_label", "labels": ["bug", "none"]}, "none", {"labels": "none"}) == 1
    assert scored({"type": "multi_label"}, "bug", {"labels": "none"}) == 0


REFERRED: Json = {
    "type": "object",
    "properties": {"t": {"type": "array", "items": {"$ref": "#/$defs/T"}}, "free": {"type": "array"}},
    "$defs": {"T": {"enum": ["bug", "billing"]}},
}


def test_the_labels_of_several_are_a_setting_or_the_enum_of_a_schema() -> None:
    problem = "expectations.labels has one that is not among the labels (bug, billing). Mend one of them"
    assert built({"type": "multi_label", "labels": E}).check({"labels": ["bug", "CANARY"]}) == problem
    assert built({"type": "multi_label", "labels": E}).check({"labels": "Bug, BILLING."}) is None
    of_schema = built({"type": "multi_label", "field": "t"}, schema=REFERRED)
    assert of_schema.check({"t": ["CANARY"]}) == problem.replace(".labels", ".t")
    assert of_schema.check({"t": ["bug"]}) is None and of_schema.check({"t": []}) is None
    assert built({"type": "multi_label", "field": "free"}, schema=REFERRED).check({"free": ["x"]}) is None


@pytest.mark.parametrize(
    ("spec", "labels", "message"),
    [
        ({}, ["bug", "billing"], r"Write output: {text: true}, and the labels as the scorer's own\.$"),
        ({"labels": []}, None, "list should have at least 1 item"),
        ({"labels": ["bug", " "]}, None, "a label is empty. Write a word that a model can answer"),
    ],
)
def test_settings_that_nothing_could_meet_are_refused(spec: Json, labels: list[str] | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        built({"type": "multi_label", **spec}, labels)


_LABELS = ["bug", "billing", "terms and conditions", "non-compliant", "no issue", "R&D", "access: web"]
_SUBSETS = st.lists(st.sampled_from(_LABELS), unique=True, min_size=1)
_WRITTEN = st.sampled_from([", ", "; ", "\n", "\n- ", " and ", " & ", ", and ", " | "])
_SIGNS = st.sampled_from(["", "**", "`", '"'])


@settings(max_examples=400, deadline=None)
@given(_SUBSETS, _WRITTEN, _SIGNS, st.sampled_from(["", "Labels: ", "Answer: ", "Here are the labels: "]))
def test_known_labels_are_read_back_however_they_are_joined(
    labels: list[str], between: str, sign: str, head: str
) -> None:
    text = ("- " if between == "\n- " else "") + between.join(f"{sign}{label}{sign}" for label in labels)
    known = set(map(spelled, _LABELS))
    assert set(labels_in(head + text, ",", known)) == set(map(spelled, labels))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from(["crash", "and", "or", "not", "slow", ";", ",", "the"]), max_size=8).map(" ".join))
def test_what_names_no_known_label_is_never_one(text: str) -> None:
    known = {"bug", "billing"}
    assert not set(labels_in(text, ",", known)) & known
    assert divided(text, known) == [spelled(text)]


def test_lists_as_python_writes_them_are_read_and_no_code_is_run() -> None:
    assert json_list(r"['it\'s', 'b']") == ["it's", "b"]
    assert json_list("['a'] + ['b']") is None
    assert json_list("['a', __import__('os')]") is None
    assert json_list('{"a": ["x"], "b": ["y"]}') is None
    assert json_list('{"a": ["x"], "b": "y"}') == ["x"]
    assert json_list('{"a": true, "b": false}') == ["a"]


N = 100_000
HURT = ["'" * N, "['" * N, "['a'" + ", 'a'" * N, "bug and " * N, "bug, " * N, "bug: " * N, "<answer>" * N, "(" * N]
HURT += [
    "- [x] a\n" * N,
    "labels " * N,
    "- " * N,
    "**" * N,
    "['" + "\\" * N,
    "bug and\n" * N,
    ", " * N,
    "labels are\n" * N,
]


@pytest.mark.slow
@pytest.mark.parametrize("index", range(len(HURT)))
def test_a_list_made_to_hurt_takes_no_time_by_the_square(index: int) -> None:
    known = {"bug", *map(str, range(300))}
    started = time.process_time()
    for text in (HURT[index], f"Labels: {HURT[index]}"):
        listed(text, ",", known)
        labels_in(text, ",", known)
        scored({"type": "set_f1"}, text, {"answer": ["bug", "x"]})
        scored({"type": "multi_label", "labels": ["bug", "billing"]}, text, {"labels": ["bug"]})
    assert time.process_time() - started < 20
