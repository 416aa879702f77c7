"""Whether two answers say the same: as the set's scorers see it. And keys that were mended after the run."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from audited import Rows, colors, questions, tickets
from conftest import COLORS

from workbench.audit import Audit, audit
from workbench.audit.answers import Answers
from workbench.evalset import EvalSet
from workbench.prompts import reference_answer
from workbench.scorers import total

SAME: list[tuple[dict[str, Any], Any, str, str]] = [
    ({"type": "exact", "ignore": ["case"]}, "Lima", "Answer: Cusco", "I think of the Andes.\nAnswer: cusco"),
    ({"type": "exact", "ignore": ["case", "punctuation"]}, "Lima", "Cusco.", "<think>Lima? No.</think> **Cusco**"),
    ({"type": "numeric", "take": "last"}, 12, "3 and 4 make 7", "Step by step, from 90 down.\nThe answer is 7."),
    ({"type": "numeric", "take": "first"}, 12, "7 of 90", "7, or 8"),
    ({"type": "numeric", "tolerance": 0.5}, 12, "7.1", "about 7.3"),
    ({"type": "date"}, "2026-03-12", "The parcel came on 4 May 2026.", "2026-05-04"),
    ({"type": "money"}, "12.50 EUR", "99 EUR", "€99.00"),
    ({"type": "yes_no"}, "yes", "No, since it rains.", '"no"'),
    ({"type": "multi_label", "key": "answer"}, ["a"], "b, c", "- C\n- B"),
    ({"type": "set_f1"}, ["a"], '["b", "c"]', "c\nb"),
    ({"type": "rouge"}, "Lima", "a  long Text", "A long text"),  # as written
]
OTHER: list[tuple[dict[str, Any], Any, str, str]] = [
    ({"type": "exact"}, "Lima", "Cusco", "Cusco in Peru"),
    ({"type": "numeric"}, 12, "3 and 4 make 7", "7 less 4 is 3"),
    ({"type": "numeric"}, 12, "I do not know", "Nobody knows"),
    ({"type": "date"}, "2026-03-12", "4 May 2026", "5 May 2026"),
    ({"type": "money"}, "12.50 EUR", "99 EUR", "99 USD"),
    ({"type": "yes_no"}, "yes", "no", "maybe"),
    ({"type": "multi_label", "key": "answer"}, ["a"], "b, c", "b"),
    ({"type": "set_f1"}, ["a"], '["b", "c"]', "c"),
    ({"type": "rouge"}, "Lima", "the long text", "a long text"),
    ({"type": "exact"}, "Lima", "", " "),
]


def asking(project: Path, scorer: dict[str, Any], key: Any) -> EvalSet:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["expectations"]["answer"] = key

    return questions(project, plant, scorers=[scorer])


@pytest.mark.parametrize(("scorer", "key", "one", "other"), SAME)
def test_answers_that_say_the_same(project: Path, scorer: dict[str, Any], key: Any, one: str, other: str) -> None:
    evalset = asking(project, scorer, key)
    answers = Answers(evalset)
    assert answers.same(evalset.items[0], one, other) and answers.same(evalset.items[0], other, one)


@pytest.mark.parametrize(("scorer", "key", "one", "other"), OTHER)
def test_answers_that_do_not(project: Path, scorer: dict[str, Any], key: Any, one: str, other: str) -> None:
    evalset = asking(project, scorer, key)
    answers = Answers(evalset)
    assert not answers.same(evalset.items[0], one, other) and not answers.same(evalset.items[0], other, one)


def test_json_answers_are_compared_by_their_fields(project: Path) -> None:
    answers, item = Answers(evalset := tickets(project)), evalset.items[0]
    one = '{"queue": "bug", "urgent": false, "amount": "99"}'
    assert answers.same(item, one, 'Here:\n```json\n{"amount": "99.00", "urgent": false, "queue": "bug"}\n```')
    assert not answers.same(item, one, one.replace("99", "98"))
    assert not answers.same(item, one, '{"queue": "bug"}')


def answered(evalset: EvalSet, wrong: dict[str, dict[str, str]], **columns: Any) -> pd.DataFrame:
    """Outcomes as another tool gives them: scores and texts."""
    rows = []
    for model, answers in wrong.items():
        for entry in evalset.items:
            output = answers.get(entry.id, reference_answer(evalset, entry))
            score = total(evalset.scorers, evalset.parse(output), entry.expectations).value
            row = {"task": evalset.name, "item_id": entry.id, "model": model, "score": score, "output": output}
            rows.append({**row, **columns})
    return pd.DataFrame(rows)


def suspected(report: Audit) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.level, finding.items) for finding in report.findings if finding.check == "label errors"]


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("blue", "Answer: blue"),
        ("Blue.", "<think>red?</think> It is **blue**"),
        ("purple", "purple"),
    ],
)
def test_label_errors_are_found_however_the_answer_is_put(project: Path, one: str, two: str) -> None:
    evalset = colors(project)
    table = answered(evalset, {"one": {"c-002": one}, "two": {"c-002": two}})
    assert suspected(audit(evalset, table)) == [("warning", ("c-002",))]


def test_label_errors_are_found_in_one_field_of_foreign_json(project: Path) -> None:
    evalset = tickets(project)
    one = '{"queue": "bug", "urgent": false, "amount": "12.50"}'
    two = json.dumps(json.loads(one), indent=1, sort_keys=True)
    table = answered(evalset, {"one": {"k-01": one}, "two": {"k-01": f"```json\n{two}\n```"}})
    assert suspected(audit(evalset, table)) == [("warning", ("k-01",))]


def test_label_errors_are_found_behind_reasoning(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            row["expectations"]["answer"] = 3 * number

    evalset = questions(project, plant, scorers=[{"type": "numeric"}])
    wrong = {name: {"q-04": f"{name} reckons at length.\nThe answer is 77."} for name in ("one", "two")}
    assert suspected(audit(evalset, answered(evalset, wrong))) == [("warning", ("q-04",))]


def test_what_cannot_be_compared_is_said(project: Path) -> None:
    evalset = questions(project, scorers=[{"type": "rouge"}])
    report = audit(evalset, answered(evalset, {"one": {}, "two": {}}))
    assert "likely label errors in what is scored by rouge: only equal texts are seen to agree" in report.not_checked


# Keys that were mended since.

OLD = "0" * 64
WRONG = {"one": {"c-002": "blue"}, "two": {"c-002": "blue"}, "three": {"c-002": "Answer: blue"}}


def mended(items: Rows, train: Rows) -> None:
    items[1]["expectations"]["label"] = "blue"


def test_outcomes_are_held_against_todays_key(project: Path) -> None:
    evalset = colors(project)
    table = answered(evalset, WRONG, evalset_digest=evalset.digest)
    before = audit(evalset, table)
    assert suspected(before) == [("warning", ("c-002",))]
    assert next(finding.items for finding in before.findings if finding.check == "hardness") == ("c-002",)
    after = audit(colors(project, mended), table)
    assert after.clean and [finding.what for finding in after.findings] == [
        "60 of 60 items that all 3 candidates get right"
    ]
    assert not any("another version" in line for line in after.not_checked)


def test_a_key_that_was_broken_since_is_suspected(project: Path) -> None:
    table = answered(colors(project), {"one": {}, "two": {}, "three": {}}, evalset_digest=OLD)
    assert suspected(audit(colors(project, mended), table)) == [("warning", ("c-002",))]


def test_classes_that_were_told_by_another_key_are_not_believed(project: Path) -> None:
    table = answered(colors(project), WRONG, evalset_digest=OLD)
    table["metric.class.label.given"], table["metric.class.label.expected"] = 2.0, 0.0
    assert suspected(audit(colors(project, mended), table)) == []


def test_a_mended_key_is_believed_where_the_table_does_not_say_its_version(project: Path) -> None:
    table = answered(colors(project), WRONG)
    assert suspected(audit(colors(project, mended), table)) == []


@pytest.mark.parametrize("output", [None, "[restricted] 4 characters", ""])
def test_older_outcomes_without_answers_are_told(project: Path, output: str | None) -> None:
    table = answered(colors(project), WRONG, evalset_digest=OLD)
    table["output"] = output
    table.loc[table["item_id"] == "c-003", "score"] = math.nan  # no answer is none by any key
    report = audit(colors(project, mended), table)
    assert (
        "hardness of items, likely label errors by today's key: 177 outcomes were scored by another version of the set "
        "and hold no answers to score again. Run it again"
    ) in report.not_checked


# Agreement by chance.


def independent(evalset: EvalSet, accuracy: float, models: int, seed: int) -> pd.DataFrame:
    """Models that are wrong at random, each by itself."""
    rng = np.random.default_rng(seed)
    labels = evalset.spec.output.labels or []
    wrong: dict[str, dict[str, str]] = {}
    for number in range(models):
        missed = rng.permutation(len(evalset.items))[: round((1 - accuracy) * len(evalset.items))]
        keys = {index: evalset.items[index].expectations["label"] for index in missed.tolist()}
        others = {index: [label for label in labels if label != key] for index, key in keys.items()}
        wrong[f"m{number}"] = {evalset.items[index].id: str(rng.choice(others[index])) for index in others}
    return answered(evalset, wrong)


def two_labels(items: Rows, train: Rows) -> None:
    for number, row in enumerate(items + train):
        row["expectations"]["label"] = ("red", "blue")[number % 2]


@pytest.mark.parametrize(("accuracy", "models"), [(0.65, 2), (0.75, 2), (0.75, 3), (0.85, 2)])
def test_chance_alone_is_no_warning(project: Path, accuracy: float, models: int) -> None:
    """A key that is right in full: at most one set in twenty may be said to have errors."""
    evalset = colors(project, two_labels, output={"labels": ["red", "blue"]})
    reports = [audit(evalset, independent(evalset, accuracy, models, seed)) for seed in range(20)]
    warned = [
        report for report in reports if ("label errors", "warning") in {(f.check, f.level) for f in report.faults}
    ]
    assert len(warned) <= 2
    told = [finding.what for finding in reports[0].findings if finding.check == "label errors"]
    assert all("where chance alone makes about" in what for what in told) or reports[0] in warned


def test_errors_beyond_chance_are_still_a_warning(project: Path) -> None:
    """Twelve wrong keys of sixty, under the answers of good models."""

    def plant(items: Rows, train: Rows) -> None:
        two_labels(items, train)
        for row in items[:12]:
            row["expectations"]["label"] = "red" if row["expectations"]["label"] == "blue" else "blue"

    right = colors(project, two_labels, output={"labels": ["red", "blue"]})
    table = independent(right, 0.9, 2, 0)
    broken = colors(project, plant, output={"labels": ["red", "blue"]})
    ((level, items),) = suspected(audit(broken, table.assign(evalset_digest=OLD)))
    assert level == "warning" and len(set(items) & {f"c-{number:03}" for number in range(1, 13)}) >= 8


def test_more_labels_make_agreement_by_chance_rarer(project: Path) -> None:
    """Two models that are wrong on the same ten items of sixty: of two labels some two would be so by chance."""
    evalset = colors(project)
    wrong = {entry.id: COLORS[(COLORS.index(entry.expectations["label"]) + 1) % 3] for entry in evalset.items[::6]}
    assert [level for level, _ in suspected(audit(evalset, answered(evalset, {"a": wrong, "b": wrong})))] == ["warning"]


def test_older_outcomes_of_a_judge_are_told(project: Path) -> None:
    table = answered(colors(project), WRONG, evalset_digest=OLD)
    evalset = colors(project, mended, scorers=[{"type": "judge", "model": "judge", "rubric": "Is it right?"}])
    (line,) = (line for line in audit(evalset, table).not_checked if "another version" in line)
    assert line.endswith("and take a judge's verdict to score again. Run it again")


def test_answers_are_not_scored_for_classes_where_there_are_none(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long answers with many numbers take long."""
    table = answered(colors(project), WRONG)
    asked: list[str] = []

    def classes(_: object, __: object, output: str) -> dict[str, tuple[float, float]]:
        asked.append(output)
        return {}

    monkeypatch.setattr("workbench.audit.outcomes._classes", classes)
    audit(colors(project, scorers=[{"type": "exact", "key": "label"}], output={"text": True}), table)
    assert not asked
    audit(colors(project), table)
    assert asked
