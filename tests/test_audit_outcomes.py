"""What an outcome table adds to an audit: items that tell nothing, and keys that strong models contradict."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
import pytest
from audited import Rows, colors, found, questions, tickets
from conftest import COLORS

from workbench.audit import Audit, audit
from workbench.evalset import EvalSet
from workbench.scorers import total

Answers = dict[str, dict[str, str]]  # by model, by item, where it is not the right one


def answered(evalset: EvalSet, wrong: Answers, columns: bool = True) -> pd.DataFrame:
    """The outcomes of models that are right but for some answers, scored by the set's own scorers."""
    from workbench.prompts import reference_answer

    rows = []
    for candidate, answers in wrong.items():
        model, _, variant = candidate.partition("#")
        for entry in evalset.items:
            output = answers.get(entry.id, reference_answer(evalset, entry))
            score = total(evalset.scorers, evalset.parse(output), entry.expectations)
            metrics = {f"metric.{name}": value for name, value in score.metrics.items()} if columns else {}
            row = {"task": evalset.name, "item_id": entry.id, "model": model, "variant": variant or "default"}
            rows.append({**row, "score": score.value, "output": output, **metrics})
    return pd.DataFrame(rows)


def about(report: Audit, check: str) -> list[tuple[str, tuple[str, ...]]]:
    return [(finding.level, finding.items) for finding in report.findings if finding.check == check]


def some(evalset: EvalSet, first: int = 0, last: int = 14) -> dict[str, str]:
    """Wrong answers to some items of `colors`, so that not all is right."""
    return {entry.id: COLORS[(first + number) % 2 + 1] for number, entry in enumerate(evalset.items[first:last])}


def test_items_that_nobody_and_that_everybody_gets_right_are_notes(project: Path) -> None:
    evalset = colors(project)
    wrong = {"one": some(evalset, 0, 5), "two": some(evalset, 3, 9), "three": some(evalset, 4, 7)}
    report = audit(evalset, answered(evalset, wrong))
    ids = [entry.id for entry in evalset.items]
    assert about(report, "hardness") == [("note", ("c-005",)), ("note", tuple(ids[9:]))]
    assert [finding.what for finding in report.findings if finding.check == "hardness"] == [
        "1 of 60 items that none of 3 candidates gets right",
        "51 of 60 items that all 3 candidates get right",
    ]
    assert report.clean or {finding.check for finding in report.faults} == {"label errors"}


def test_two_candidates_do_not_tell_what_is_hard(project: Path) -> None:
    evalset = colors(project)
    report = audit(evalset, answered(evalset, {"one": some(evalset), "two": {}}))
    assert about(report, "hardness") == []
    assert "hardness of items: takes outcomes of 3 candidates" in report.not_checked


def test_an_item_that_few_were_asked_is_not_said_to_be_hard(project: Path) -> None:
    evalset = colors(project)
    table = answered(evalset, {"one": {"c-002": "blue"}, "two": {}, "three": {}})
    table = table[(table["model"] == "one") | (table["item_id"] != "c-002")]
    assert ("note", ("c-002",)) not in about(audit(evalset, table), "hardness")


def test_outcomes_of_other_items_and_tasks_are_left_out(project: Path) -> None:
    evalset = colors(project)
    table = answered(evalset, {"one": {}, "two": {}, "three": {}})
    gone = table[table["item_id"] == "c-001"].assign(item_id="gone", score=0.0)
    other = table.assign(task="other", score=0.0)
    report = audit(evalset, pd.concat([table, gone, other]))
    assert about(report, "hardness") == [("note", tuple(sorted(entry.id for entry in evalset.items)))]
    report = audit(evalset, other)
    assert report.not_checked[-1] == (
        "hardness of items, likely label errors: the outcome table has none of this task (--outcomes)"
    )
    assert not report.power.measured


# Likely label errors.


@pytest.mark.parametrize("columns", [True, False])  # by the scorers' classes, or by the text of the answers
@pytest.mark.parametrize(
    ("wrong", "suspects"),
    [
        ({"one": {"c-002": "blue"}, "two": {"c-002": "blue"}}, ["c-002"]),
        ({"one": {"c-002": "blue"}, "two": {"c-002": "Blue."}, "three": {"c-002": "green"}}, ["c-002"]),
        ({"one": {"c-002": "blue"}, "two": {"c-002": "green"}}, []),  # wrong, each in its own way
        ({"one": {"c-002": "blue"}, "two": {"c-002": "blue"}, "three": {}}, []),  # one agrees with the key
        ({"one": {"c-002": "blue"}, "one#terse": {"c-002": "blue"}, "two": {}}, []),
        ({"one": {"c-002": "blue"}, "one#terse": {"c-002": "blue"}, "two": {"c-002": "green"}}, []),  # one model
        ({"one": {"c-002": "purple"}, "two": {"c-002": "purple"}}, None),  # no class: only the text agrees
    ],
)
def test_a_key_that_strong_models_contradict_is_suspected(
    project: Path, wrong: Answers, suspects: list[str] | None, columns: bool
) -> None:
    evalset = colors(project)
    table = answered(evalset, wrong, columns)
    if not columns:
        table["output"] = table["output"].str.rstrip(".")
    expected = [] if columns else ["c-002"]
    expected = expected if suspects is None else suspects
    report = audit(evalset, table)
    assert about(report, "label errors") == [("warning", tuple(expected))] * bool(expected)
    if expected:
        assert "1 of 60 items where strong models agree on another answer than the key's" in str(report)


def test_weak_models_say_nothing_about_the_key(project: Path) -> None:
    evalset = colors(project)
    weak = {entry.id: "blue" for entry in evalset.items[:30]}
    report = audit(evalset, answered(evalset, {"one": weak, "two": weak, "three": {}}))
    assert about(report, "label errors") == []
    assert "likely label errors: takes 2 models with a mean score of at least 0.6" in report.not_checked


def test_one_field_of_a_json_answer_is_enough(project: Path) -> None:
    """The other fields are right, and the score of the item is not low."""
    evalset = tickets(project)
    other = '{"queue": "bug", "urgent": false, "amount": "12.50"}'
    report = audit(evalset, answered(evalset, {"one": {"k-01": other}, "two": {"k-01": other}}))
    assert about(report, "label errors") == [("warning", ("k-01",))]


def test_models_that_share_the_right_label_do_not_contradict_the_key(project: Path) -> None:
    """Their labels agree, with the key too; what they have wrong is another field, each in its own way."""
    evalset = tickets(project, scorers=[{"type": "json_fields", "fields": {"queue": "label", "amount": "money"}}])
    wrong = {
        name: {"k-01": f'{{"queue": "billing", "urgent": false, "amount": "{amount}"}}'}
        for name, amount in (("one", "99"), ("two", "77"))
    }
    table = answered(evalset, wrong)
    table.loc[table["item_id"] == "k-01", "score"] = 0.4
    assert about(audit(evalset, table), "label errors") == []
    table.loc[table["item_id"] == "k-01", "output"] = '{"amount": "99"}'  # now they agree on it
    assert about(audit(evalset, table), "label errors") == [("warning", ("k-01",))]


@pytest.mark.parametrize("text", ["Rio de Janeiro", "-1.0", "nan"])
def test_free_text_is_compared_as_it_stands(project: Path, text: str) -> None:
    evalset = questions(project)
    table = answered(evalset, {"one": {"q-07": text}, "two": {"q-07": f" {text.upper()}\n"}})
    assert about(audit(evalset, table), "label errors") == [("warning", ("q-07",))]
    table.loc[table["item_id"] == "q-07", "output"] = None
    assert about(audit(evalset, table), "label errors") == []
    report = audit(evalset, table.drop(columns="output"))
    assert "likely label errors: takes the column 'output'" in report.not_checked


def test_a_figure_that_is_missing_is_no_answer(project: Path) -> None:
    evalset = tickets(project)
    table = answered(evalset, {"one": {}, "two": {}})
    for name in ("metric.class.queue.given", "metric.class.queue.expected"):
        table.loc[table["item_id"] == "k-03", name] = math.nan
    assert about(audit(evalset, table), "label errors") == []


def test_a_set_without_outcomes_says_what_it_takes(project: Path) -> None:
    report = audit(colors(project))
    assert report.not_checked == [
        "prompts against a model's context length: name models (--models)",
        "hardness of items, likely label errors: name an outcome table (--outcomes)",
    ]
    assert found(report) == []


def test_an_outcome_table_keeps_findings_free_of_text(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[5].update(sensitivity="restricted")

    evalset = colors(project, plant)
    table = answered(evalset, {"one": {"c-006": "CANARY"}, "two": {"c-006": "CANARY"}}, columns=False)
    report = audit(evalset, table)
    assert about(report, "label errors") == [("warning", ("c-006",))]
    assert "CANARY" not in str(report) + report._repr_html_()
