"""Given labels: answers that somebody judged, read from a file, and a judge held against them.

calibrate_judge(evalset, judge, models, Path("labels.csv"))        # a Calibration
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.catalog import Models
from workbench.errors import InputError
from workbench.evalset import EvalSet, Item
from workbench.formats.base import where
from workbench.formats.shared.cells import csv_rows
from workbench.formats.shared.rows import json_lines
from workbench.judge.calibration import Calibration, calibrate
from workbench.judge.request import Shown, judge_digest, said_of
from workbench.judge.verdict import judge_outputs
from workbench.outcomes import split_candidate
from workbench.privacy import permitted
from workbench.prompts import TemplateProblem, render
from workbench.scorers.judge import JudgeScorer
from workbench.servers import engine_of
from workbench.words import counted

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
        InputError: naming line and column; an answer stands there twice, which would count as two.
    """
    items = {item.id: item for item in (*evalset.items, *evalset.train)}
    rows: Any = json_lines(path) if path.suffix.lower() in (".jsonl", ".ndjson") else csv_rows(path)
    labels = []
    seen: dict[tuple[str, str, str | None], int] = {}
    for number, row in rows:
        missing = next((name for name in ("item_id", "output", "label") if _is_missing(row, name)), None)
        if missing:
            raise InputError(f"{where(path, number)}: column '{missing}' is missing or empty. Fill it in.")
        item = items.get(_text(row["item_id"]))
        if item is None:  # without the value: where columns are mixed up it may be restricted text
            raise InputError(f"{where(path, number)}: column 'item_id': {evalset.name} has no such item.")
        said = _said(row["label"])
        if said not in _TRUE | _FALSE:
            raise InputError(f"{where(path, number)}: column 'label' must be pass or fail.")
        candidate = _text(row["candidate"]) if row.get("candidate") else None
        variant = split_candidate(candidate or "")[1]
        if variant != "default" and variant not in evalset.spec.variants:
            raise InputError(
                f"{where(path, number)}: column 'candidate': {evalset.name} has no such variant. It has: "
                f"{', '.join(evalset.spec.variants)}."
            )
        label = Label(item, _text(row["output"]), said in _TRUE, candidate)
        first = seen.setdefault((item.id, label.output, candidate), number)
        if first != number:
            raise InputError(f"{where(path, number)}: the same answer is labeled at line {first}. Keep one of them.")
        labels.append(label)
    if not labels:
        raise InputError(f"{where(path)}: has no labels.")
    return labels


def _is_missing(row: Any, name: str) -> bool:
    """Whether a cell has nothing to say; an answer may be empty, which somebody labeled as a failure."""
    empty_answer = name == "output" and row.get(name) == "" and _said(row.get("label")) in _FALSE
    return row.get(name) in (None, "") and not empty_answer


def _said(label: Any) -> str:
    return _text(label).strip().casefold()


def _text(value: Any) -> str:
    """A cell as text; a JSON answer that stands in JSONL as it is, as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def calibrate_judge(evalset: EvalSet, judge: JudgeScorer, models: Models, path: Path) -> Calibration:
    """Ask a judge about labeled answers, and hold its verdicts against the labels.

    Raises:
        InputError: a broken file, a judge that cannot run, or a hosted judge and restricted items.
    """
    labels = read_labels(evalset, path)
    model = models.known.get(judge.model)
    if model is None:
        raise InputError(f"judge {judge.model}: models.yaml has no such model. Add it, or name another.")
    if model.engine == "rules":
        raise InputError(f"judge {judge.model}: rules cannot judge. Name a model.")
    reason = engine_of(model).unavailable(model)
    if reason:
        raise InputError(reason)
    shown = [_shown(evalset, label) for label in labels]
    withheld = sum(not all(permitted(source, model.zone) for source in each.sources) for each in shown)
    if withheld:
        kept = counted(withheld, "labeled item is", "labeled items are")
        raise InputError(
            f"judge {judge.model}: is hosted, and {kept} restricted. Take a judge in zone local "
            "or private, or labels of other items."
        )
    verdicts = judge_outputs(model, judge, shown, models.machine)
    candidates = [str(label.candidate) for label in labels] if all(label.candidate for label in labels) else None
    return calibrate(
        [verdict.score for verdict in verdicts],
        [label.passes for label in labels],
        candidates,
        clusters=[_together(label.item) for label in labels],
        judge=model.id,
        rubric_sha256=judge_digest(judge, model),
    )


def _together(item: Item) -> tuple[str, str]:
    """What labels come in: several candidates answer an item, and items may be of one cluster."""
    return ("item", item.id) if item.cluster is None else ("cluster", item.cluster)


def _shown(evalset: EvalSet, label: Label) -> Shown:
    """What the judge sees: as in a run, the prompt of the candidate's variant."""
    variant = split_candidate(label.candidate or "")[1]
    name = variant if variant in evalset.spec.variants else next(iter(evalset.spec.variants))
    try:
        prompt = render(evalset, name, label.item)
    except TemplateProblem as problem:
        raise InputError(f"{evalset.name}: variant {name}: {problem}.") from None
    return Shown(prompt.text, label.item.expectations, (said_of(label.output),), prompt.sources)
