"""The audit's eye for the balance of answers that no list names, and of several labels at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from audited import Plant, Rows, colors, found, tickets

from workbench.audit import Finding, audit


def _only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def answers(values: list[Any], name: str = "answer") -> Plant:
    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            row["expectations"] = {name: values[number % len(values)]}
        train.clear()

    return plant


ELEVEN = ["yes"] * 11 + ["no"]
TEXT: dict[str, Any] = {
    "output": {"text": True},
    "variants": {"default": {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}},
}


@pytest.mark.parametrize(
    ("scorer", "values", "what"),
    [
        ("exact", ELEVEN, "answer: 55 of 60 items have the same answer: always giving it would be right on 92%"),
        ("numeric", [7], "answer: 60 of 60 items have the same answer: always giving it would be right on 100%"),
        ("label", ELEVEN, "label: 55 of 60 items have the same answer: always giving it would be right on 92%"),
        ("multi_label", [["a"]] * 29 + [["b"]], "labels: always giving the same labels would score 0.97"),
        (
            "multi_label",
            [["a"], ["a"], ["a"], ["a", "b"], ["c", "a"]],
            "labels: always giving the same labels would score 0.87",
        ),
    ],
)
def test_an_answer_that_nearly_all_items_have_is_found_and_not_repeated(
    project: Path, scorer: str, values: list[Any], what: str
) -> None:
    name = {"label": "label", "multi_label": "labels"}.get(scorer, "answer")
    finding = _only(audit(colors(project, answers(values, name), scorers=[{"type": scorer}], **TEXT)).findings)
    assert (finding.check, finding.level, finding.what) == ("labels", "warning", what)


@pytest.mark.parametrize(
    ("scorers", "values", "name"),
    [
        ([{"type": "exact"}], ["yes", "yes", "yes", "no"], "answer"),
        ([{"type": "exact"}, {"type": "rouge"}], ELEVEN, "answer"),  # not all that is asked for
        ([{"type": "multi_label"}], [["a", "b"], ["b"], ["c", "a"], []], "labels"),
        ([{"type": "multi_label", "match": "exact"}], [["a"], ["a", "b"], ["c", "a"]], "labels"),
    ],
)
def test_answers_that_differ_are_no_finding(
    project: Path, scorers: list[dict[str, Any]], values: list[Any], name: str
) -> None:
    assert found(audit(colors(project, answers(values, name), scorers=scorers, **TEXT))) == []


def test_a_label_of_a_json_answer_without_a_list_is_looked_at(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["expectations"]["queue"] = "Gold" if row["id"] == "k-01" else "billing"

    anything = {"queue": {"type": "string"}, "urgent": {"type": "boolean"}, "amount": {"type": ["string", "null"]}}
    shape = {"type": "object", "required": list(anything), "properties": anything}
    report = audit(tickets(project, plant, schema=shape))
    assert _only(report.findings).what == (
        "queue: 20 of 21 items have the same answer: always giving it would be right on 95%"
    )
    assert report.labels["queue"] == {"billing": 20}


def test_several_labels_are_counted_each_if_others_than_restricted_items_have_them(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        train.clear()
        for number, row in enumerate(items):
            row["expectations"] = {"labels": [["a", "b"], ["b"], ["c", "a"], []][number % 4]}
        for row in items[:8]:
            row["expectations"]["labels"].append("CANARY")
            row["sensitivity"] = "restricted"
        for row in items[8:12]:
            row["expectations"]["labels"].append("rarely")

    report = audit(colors(project, plant, scorers=[{"type": "multi_label"}], **TEXT))
    assert report.labels == {"labels": {"a": 30, "b": 30, "c": 15}} and "CANARY" not in str(report)


@pytest.mark.parametrize(("labels", "level"), [(["b", "a"], "warning"), (["A", "b "], "warning"), (["b"], "error")])
def test_labels_in_another_order_are_the_same_answer(project: Path, labels: list[str], level: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        answers([["a", "b"], ["b"], ["c"]], "labels")(items, train)
        items.append({**items[0], "id": "x", "expectations": {"labels": labels}, "sensitivity": "restricted"})

    evalset = colors(project, plant, scorers=[{"type": "multi_label"}], **TEXT)
    assert found(audit(evalset)) == [("duplicates", level, ("c-001", "x"))]


def test_items_without_any_label_are_out_of_balance(project: Path) -> None:
    for values, score in (([[]], "1.00"), ([[]] * 11 + [["a"]], "0.92")):
        made = colors(project, answers(values, "labels"), scorers=[{"type": "multi_label"}], **TEXT)
        assert _only(audit(made).findings).what == f"labels: always giving the same labels would score {score}"
    values = [[], ["a"], ["b"]]
    assert not audit(colors(project, answers(values, "labels"), scorers=[{"type": "multi_label"}], **TEXT)).findings


@pytest.mark.parametrize(("scorer", "name"), [("label", "label"), ("multi_label", "labels")])
def test_labels_of_no_list_are_shown_as_they_are_first_spelled(project: Path, scorer: str, name: str) -> None:
    """But for spellings of restricted items."""

    def plant(items: Rows, train: Rows) -> None:
        spelled = ["EUR 26", *["Eur 26", "eur 26", "Nil"] * 20]  # the first item is restricted
        for row, label in zip(items, spelled, strict=False):
            row["expectations"] = {name: [label] if scorer == "multi_label" else label}
        train.clear()

    evalset = colors(project, plant, scorers=[{"type": scorer}], **TEXT)
    assert audit(evalset).labels == {name: {"Eur 26": 41, "Nil": 19}}
