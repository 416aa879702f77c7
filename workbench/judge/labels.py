"""Given labels: answers that somebody judged, read from a file, and a judge held against them.

calibrate_judge(evalset, judge, models, Path("labels.csv"))        # a Calibration
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.evalset import EvalSet, Item
from workbench.formats.base import csv_rows, json_lines, where
from workbench.judge.calibration import Calibration, calibrate
from workbench.judge.request import Shown, rubric_digest
from workbench.judge.verdict import judge_outputs
from workbench.outcomes import split_candidate
from workbench.privacy import permitted
from workbench.prompts import render
from workbench.scorers.judge import JudgeScorer
from workbench.servers import engine_of

_TRUE = frozenset({"pass", "yes", "true", "1", "good", "accept"})
_FALSE = frozenset({"fail", "no", "false", "0", "bad", "reject"})


@dataclass(frozen=True)
class Label:
    """One labeled answer."""

    item: Item
    output: str
    passes: bool
    candidate: str | None


def read_labels(evalset: EvalSet, path: Path) -> list[Label]:
    """The labels of a CSV or JSONL file with `item_id`, `output`, `label`, and `candidate` where it is known.

    Raises:
        InputError: naming line and column.
    """
    items = {item.id: item for item in (*evalset.items, *evalset.train)}
    rows: Any = json_lines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else csv_rows(path)
    labels = []
    for number, row in rows:
        missing = next((name for name in ("item_id", "output", "label") if row.get(name) in (None, "")), None)
        if missing:
            raise InputError(f"{where(path, number)}: column '{missing}' is missing or empty. Fill it in.")
        item = items.get(str(row["item_id"]))
        if item is None:
            raise InputError(f"{where(path, number)}: {evalset.name} has no item '{row['item_id']}'.")
        said = str(row["label"]).strip().casefold()
        if said not in _TRUE | _FALSE:
            raise InputError(f"{where(path, number)}: column 'label' must be pass or fail.")
        labels.append(Label(item, str(row["output"]), said in _TRUE, row.get("candidate") or None))
    if not labels:
        raise InputError(f"{where(path)}: has no labels.")
    return labels


def calibrate_judge(evalset: EvalSet, judge: JudgeScorer, models: Models, path: Path) -> Calibration:
    """Ask a judge about labeled answers, and hold its verdicts against the labels.

    Raises:
        InputError: a broken file, a judge that cannot run, or a hosted judge and restricted items.
    """
    labels = read_labels(evalset, path)
    model = models.known.get(judge.model)
    if model is None or model.engine == "rules":
        raise InputError(f"judge {judge.model}: models.yaml has no such model.")
    reason = engine_of(model).unavailable(model)
    if reason:
        raise InputError(reason)
    shown = [_shown(evalset, label) for label in labels]
    withheld = sum(not all(permitted(source, model.zone) for source in each.sources) for each in shown)
    if withheld:
        raise InputError(
            f"judge {judge.model}: is hosted, and {withheld} labeled items are restricted. Take a judge in zone local "
            "or private, or labels of other items."
        )
    verdicts = judge_outputs(model, judge, shown, models.machine)
    candidates = [str(label.candidate) for label in labels] if all(label.candidate for label in labels) else None
    return calibrate(
        [verdict.score for verdict in verdicts],
        [label.passes for label in labels],
        candidates,
        judge=model.id,
        rubric_sha256=rubric_digest(judge),
    )


def _shown(evalset: EvalSet, label: Label) -> Shown:
    """What the judge sees: as in a run, the prompt of the candidate's variant."""
    variant = split_candidate(label.candidate or "")[1]
    name = variant if variant in evalset.spec.variants else next(iter(evalset.spec.variants))
    prompt = render(evalset, name, label.item)
    return Shown(prompt.text, label.item.expectations, (label.output,), prompt.sources)
