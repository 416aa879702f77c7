"""The audit: a sound set gives nothing; duplicates and training items that give the test away are found, by ids."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from audited import LAWN, Plant, Rows, colors, found, questions, tickets
from conftest import REPOSITORY, item

import workbench as wb
from workbench.audit import audit, texts
from workbench.evalset import load_evalset


@pytest.mark.parametrize("make", [colors, tickets, questions])
def test_a_sound_set_gives_no_finding(project: Path, make: Any) -> None:
    report = audit(make(project))
    assert found(report) == []
    assert report.clean and report.faults == [] and report.verdict == "clean"


def test_a_notebook_has_it_as_wb_audit_whatever_was_imported_before(project: Path) -> None:
    import workbench.audit

    assert wb.audit(colors(project)).clean and workbench.audit.audit(colors(project)).clean


@pytest.mark.parametrize("folder", sorted(path.parent for path in REPOSITORY.glob("evalsets/*/evalset.yaml")))
def test_the_curated_sets_are_clean(folder: Path) -> None:
    assert found(audit(load_evalset(folder))) == []


def again(items: Rows, number: int, new: str, **changes: Any) -> dict[str, Any]:
    """A copy of an item under another id."""
    return {**items[number], "id": new, **changes}


LABEL = {"label": "blue"}


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (lambda items, train: items.append(again(items, 7, "x")), ("duplicates", "warning", ("c-008", "x"))),
        (
            lambda items, train: items.append(item("x", "  THE  planet\tmars ")),
            ("duplicates", "warning", ("c-002", "x")),
        ),
        (
            lambda items, train: items.append(again(items, 7, "x", expectations=LABEL)),
            ("duplicates", "error", ("c-008", "x")),
        ),
        (
            lambda items, train: items.extend([again(items, 7, "x"), again(items, 7, "y", expectations=LABEL)]),
            ("duplicates", "error", ("c-008", "x", "y")),
        ),
        (lambda items, train: train.append(again(train, 1, "x")), ("duplicates", "warning", ("t-002", "x"))),
        (
            lambda items, train: train.append(again(train, 1, "x", expectations=LABEL)),
            ("duplicates", "error", ("t-002", "x")),
        ),
        (lambda items, train: train.append(again(items, 7, "x")), ("contamination", "error", ("x",))),
        (
            lambda items, train: train.append(item("x", "the golden gate bridge  from afar.")),
            ("contamination", "error", ("x",)),
        ),
        (
            lambda items, train: items.append(item("x", "“The Golden Gate Bridge” - from afar!")),
            ("near duplicates", "warning", ("c-009", "x")),
        ),
        (
            lambda items, train: items.append(item("x", LAWN.format("July"), "green", cluster="other")),
            ("near duplicates", "warning", ("c-021", "c-022", "x")),
        ),
    ],
)
def test_a_repeated_item_is_found(project: Path, plant: Plant, expected: tuple[str, str, tuple[str, ...]]) -> None:
    assert found(audit(colors(project, plant))) == [expected]


@pytest.mark.parametrize(
    "plant",
    [
        lambda items, train: items.append(item("x", "the Golden Gate Hotel in Reno", "red")),
        lambda items, train: items.append(item("x", "a Golden Gate Bridge from far off")),
        lambda items, train: items.append(item("x", LAWN.format("July and August"), "green")),
        lambda items, train: items.append(item("x", LAWN.format("July"), "green", cluster="lawn")),
        lambda items, train: train.append(item("x", "the planet Venus")),
        lambda items, train: [
            row["inputs"].update(source="The same long note stands beside every one.") for row in items
        ],
    ],
)
def test_what_is_merely_alike_is_no_duplicate(project: Path, plant: Plant) -> None:
    assert found(audit(colors(project, plant))) == []


@pytest.mark.parametrize("thing", ["", " \n\t", None, [], [""], {"a": "", "b": [None]}])
def test_items_that_ask_nothing_are_empty_and_no_duplicates(project: Path, thing: Any) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, color in enumerate(("red", "green", "blue")):
            items.append(item(f"x{number}", "", color, inputs={"thing": thing}))

    (finding,) = audit(colors(project, plant)).findings
    assert (finding.check, finding.level, finding.items) == ("inputs", "error", ("x0", "x1", "x2"))
    assert str(finding).startswith("error [inputs] 3 items with empty inputs: the prompt asks nothing: x0, x1, x2.")


@pytest.mark.parametrize("thing", [0, False, "?", [0], {"a": "", "b": "x"}])
def test_an_input_that_says_little_is_not_empty(project: Path, thing: Any) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.append(item("x", "", "red", inputs={"thing": thing}))

    assert found(audit(colors(project, plant))) == []


def test_prompts_that_read_no_input_are_no_empty_ones(project: Path) -> None:
    """They say the same of every item, and that is what is found."""
    said = {"default": {"messages": [{"role": "user", "content": "Say red."}]}}
    assert "inputs" not in {finding.check for finding in audit(colors(project, variants=said)).findings}


def test_a_set_of_empty_items_alone_is_told_so(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items + train:
            row["inputs"]["thing"] = ""

    checks = {finding.check for finding in audit(colors(project, plant)).findings}
    assert "inputs" in checks and "duplicates" not in checks


def test_groups_say_which_items_belong_together(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.extend([again(items, 7, "x"), again(items, 8, "y"), again(items, 8, "z")])

    (finding,) = audit(colors(project, plant)).findings
    assert finding.groups == (("c-008", "x"), ("c-009", "y", "z"))
    assert str(finding).startswith("warning [duplicates] 5 items of items.jsonl with the same inputs and answers: ")
    assert "c-008 ~ x, c-009 ~ y ~ z. They count" in str(finding)


def test_an_input_that_no_prompt_shows_does_not_tell_items_apart(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.append({**items[3], "id": "x", "inputs": {**items[3]["inputs"], "seen_at": 999}})

    assert found(audit(tickets(project, plant))) == [("duplicates", "warning", ("k-04", "x"))]


@pytest.mark.parametrize(
    "content", ["{{ inputs.body }} {{ inputs['seen_at'] }}", "{{ inputs.values() | join }}", "{{ inputs | tojson }}"]
)
def test_an_input_that_a_prompt_shows_tells_them_apart(project: Path, content: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.append({**items[3], "id": "x", "inputs": {**items[3]["inputs"], "seen_at": "quite another time"}})

    shown = {"default": {"messages": [{"role": "user", "content": content}]}}
    assert found(audit(tickets(project, plant, variants=shown))) == []


@pytest.mark.parametrize(
    ("changed", "level"),
    [
        ({"amount": "12.5"}, "warning"),  # no other answer: the scorer takes it for the same
        ({"amount": "12.60"}, "error"),
        ({"urgent": True}, "error"),
        ({"note": "for people"}, "warning"),
    ],
)
def test_answers_are_the_same_where_their_scorers_say_so(project: Path, changed: dict[str, Any], level: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.append({**items[0], "id": "x", "expectations": {**items[0]["expectations"], **changed}})

    assert found(audit(tickets(project, plant))) == [("duplicates", level, ("k-01", "x"))]


def test_an_instruction_before_every_question_does_not_make_them_alike(project: Path) -> None:
    """The one that is nearly the same is still found."""

    def plant(items: Rows, train: Rows) -> None:
        items.append(item("x", "a Golden Gate Bridge from afar"))
        for row in items:
            row["inputs"]["thing"] = f"{LAWN} Think of {row['inputs']['thing']}. Do not explain. {LAWN.upper()}"

    assert found(audit(colors(project, plant))) == [("near duplicates", "warning", ("c-009", "x"))]


def test_texts_without_words_are_no_reason_to_fail(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        del items[12:], train[:]
        for number, row in enumerate(items):
            row["inputs"] = {"thing": number}

    one = {"default": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}]}}
    checks = {finding.check for finding in audit(colors(project, plant, variants=one)).findings}
    assert checks == {"labels"}  # green and blue have gone


def sentences(n: int, seed: int = 0) -> list[str]:
    """Texts out of few words, so that some are near each other."""
    words = "river stone lamp garden winter letter copper window sailor market violin candle harbor meadow".split()
    rng = np.random.default_rng(seed)
    made = [" ".join(rng.choice(words, rng.integers(4, 9))) for _ in range(n)]
    return made + [f"{text}s" for text in made[: n // 10]]


@pytest.mark.parametrize(
    "lines",
    [sentences(400), [f"What is {a} + {b}?" for a in range(20) for b in range(20)], [f"order {n}" for n in range(90)]],
)
def test_no_near_pair_is_missed_and_none_made_up(lines: list[str]) -> None:
    weights = texts._weights(lines)
    assert weights is not None
    similar = (weights @ weights.T).toarray()
    by_brute_force = {(a, b) for a, b in np.argwhere(similar >= texts.NEAR).tolist() if a < b}
    pairs = texts._near(weights, weights, lambda left, right: left < right)
    assert {
        (a, b) for left, right in pairs for a, b in zip(left.tolist(), right.tolist(), strict=True)
    } == by_brute_force


def test_blocks_do_not_change_what_is_near(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = texts._weights(sentences(300))
    assert weights is not None
    clusters = np.arange(weights.shape[0])
    whole = texts._alike(weights, clusters)
    monkeypatch.setattr(texts, "_CELLS", 1000)
    monkeypatch.setattr(texts, "_AT_ONCE", 7)
    assert texts._alike(weights, clusters) == whole and whole


def test_more_items_than_can_be_compared_are_told_and_not_compared(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "COMPARED_AT_MOST", 50)
    report = audit(colors(project, lambda items, train: items.append(again(items, 7, "x"))))
    assert found(report) == [("duplicates", "warning", ("c-008", "x"))]
    assert report.not_checked[0] == "near duplicates: for 50 items at most"
