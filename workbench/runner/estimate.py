"""What a run would take, before it starts: requests, tokens, money and time, as intervals that say what they rest on.

print(estimate(plan).describe())

Measured where earlier runs asked the same model: tokens for each character of a prompt, tokens and seconds of an
answer, with what was asked again. Where none did, the bounds are those of any tokenizer in use, of the eval set's
`max_tokens` and of its format retries. What fails and is tried again comes on top.
"""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import numpy as np

from workbench import project
from workbench.catalog import Machine, Model
from workbench.journal import Journal
from workbench.prices import BATCH_SHARE, machine_cost, token_cost
from workbench.runner.desk import consume, due
from workbench.runner.judging import judges_of
from workbench.runner.plan import Plan
from workbench.runner.question import Question
from workbench.words import counted

_CHUNK = 500
_RUNS = 5  # the newest ones that are looked at
_FEWEST = 20  # outcomes that a measured figure rests on
_TOKENS_PER_CHAR = (0.15, 0.5)  # of tokenizers in use, for prose and for code, numbers and other scripts
_REACH = 1.96


@dataclass(frozen=True)
class Range:
    """A low and a high bound."""

    lo: float
    hi: float

    def __add__(self, other: Range) -> Range:
        return Range(self.lo + other.lo, self.hi + other.hi)

    def times(self, factor: float) -> Range:
        return Range(self.lo * factor, self.hi * factor)

    def shown(self, unit: str = "") -> str:
        lo, hi = _short(self.lo), _short(self.hi)
        return f"{unit}{lo}" if lo == hi else f"{unit}{lo} to {unit}{hi}"


_NOTHING = Range(0.0, 0.0)


@dataclass
class ModelEstimate:
    """What one model would take.

    Attributes:
        questions: in all.
        requests: that would be sent; the rest is in the journal, or the same as another one.
        cost_usd: None where a price is not known.
        time_s: None where no earlier run tells.
        batched: whether a hosted API answers them in batches.
        measured: in how many outcomes of earlier runs the figures were measured; 0 where they are bounds.
    """

    model: Model
    questions: int
    requests: int = 0
    input_tokens: Range = _NOTHING
    output_tokens: Range = _NOTHING
    cost_usd: Range | None = _NOTHING
    time_s: Range | None = _NOTHING
    measured: int = 0
    batched: bool = False

    def describe(self) -> str:
        """One line."""
        line = f"ask   {self.model.id}: {counted(self.requests, 'request')} for {counted(self.questions, 'question')}"
        line += " (the rest is answered already, or the same request)" if self.requests < self.questions else ""
        if not self.requests:
            return line
        line += f", tokens {self.input_tokens.shown()} in and {self.output_tokens.shown()} out"
        line += f", {self.cost_usd.shown('$')}" if self.cost_usd else ", cost not known"
        line += ", within a day" if self.batched else f", {_time(self.time_s)}"
        return line + (
            f" (measured on {counted(self.measured, 'outcome')})" if self.measured else " (bounds, not measured)"
        )


@dataclass
class PlanEstimate:
    """What a run would take, by model.

    Attributes:
        judged: tasks whose judges come on top: how much they are shown hangs on the answers.
    """

    models: list[ModelEstimate] = field(default_factory=list)
    judged: list[str] = field(default_factory=list)

    def describe(self) -> str:
        """A line a model, the order, and the sum."""
        asked = [each for each in self.models if each.requests]
        here = [each.model.id for each in asked if each.model.zone == "local"]
        elsewhere = [each.model.id for each in asked if each.model.zone != "local"]
        lines = [each.describe() for each in self.models if each.model.engine != "rules"]
        if len(here) > 1 or elsewhere:
            order = ", then ".join(here)
            order += f"{'; meanwhile ' if here else ''}{', '.join(elsewhere)}" if elsewhere else ""
            lines.append(f"order {order}")
        costs = [each.cost_usd for each in asked]
        total = f"total {counted(sum(each.requests for each in asked), 'request')}"
        if all(cost is not None for cost in costs):
            total += f", {sum((cost for cost in costs if cost), _NOTHING).shown('$')}"
        total += f"; the judges of {', '.join(self.judged)} come on top" if self.judged else ""
        return "\n".join([*lines, total])


def estimate(plan: Plan, retry_errors: bool = False) -> PlanEstimate:
    """What a run of a plan would take. Nothing is sent, and nothing is started.

    Args:
        plan: what would be asked.
        retry_errors: as in `workbench.run`.
    """
    history = _history(set(plan.questions))
    found = PlanEstimate(judged=[name for name, task in plan.tasks.items() if any(judges_of(task))])
    with Journal.open() as journal:
        for name, questions in plan.questions.items():
            model = plan.models[name]
            own = ModelEstimate(model, len(questions))
            if model.engine != "rules":
                missing = _missing(iter(questions), journal, retry_errors)
                _fill(own, missing, history.get(name, []), plan.models.machine)
            if plan.batched(model) and model.batch == "openai":
                own.batched = True
                own.time_s = None
                own.cost_usd = own.cost_usd.times(BATCH_SHARE) if own.cost_usd is not None else None
            found.models.append(own)
    return found


def _missing(questions: Iterator[Question], journal: Journal, retry_errors: bool) -> Iterator[Question]:
    """The questions that a run would send; those with equal requests once."""
    seen: set[bytes] = set()
    while some := list(islice(questions, _CHUNK)):
        known = journal.get_many([question.key for question in some])
        for question in some:
            stored = known.get(question.key)
            kept, complete = consume(question, stored) if stored else ([], False)
            key = bytes.fromhex(question.key)
            if key not in seen and due(kept, complete, retry_errors) is not None:
                seen.add(key)
                yield question


@dataclass(frozen=True)
class _Seen:
    """An outcome of an earlier run."""

    task: str
    chars: int
    input_tokens: int
    output_tokens: int
    seconds: float
    concurrency: int


@dataclass
class _Asked:
    """What is missing of one task."""

    longest: int  # tokens of an answer
    tries: int  # with format retries
    requests: int = 0
    chars: int = 0


def _fill(own: ModelEstimate, missing: Iterable[Question], history: list[_Seen], machine: Machine) -> None:
    """Sum up what is missing, task by task: answers to different tasks differ most."""
    by_task: defaultdict[str, list[_Seen]] = defaultdict(list)
    for each in history:
        by_task[each.task].append(each)
    tasks: dict[str, _Asked] = {}
    for question in missing:
        spec = question.evalset.spec
        asked = tasks.setdefault(spec.name, _Asked(spec.generation.max_tokens, 1 + spec.output.format_retries))
        asked.requests += 1
        asked.chars += len(question.prompt.text)
    for task, asked in tasks.items():
        own.requests += asked.requests
        _add(own, asked, history, by_task[task], machine)


def _add(own: ModelEstimate, asked: _Asked, history: list[_Seen], same_task: list[_Seen], machine: Machine) -> None:
    n = asked.requests
    ratio = Range(_TOKENS_PER_CHAR[0], _TOKENS_PER_CHAR[1] * asked.tries)
    if len(history) >= _FEWEST:
        ratios = [each.input_tokens / max(each.chars, 1) for each in same_task or history]
        ratio = Range(float(np.quantile(ratios, 0.05)), float(np.quantile(ratios, 0.95)))
    read = Range(ratio.lo * asked.chars, ratio.hi * asked.chars)
    written, seconds = Range(float(n), float(n * asked.longest * asked.tries)), None
    if len(same_task) >= _FEWEST:
        written = _sum_of([each.output_tokens for each in same_task], n, n * asked.longest * asked.tries)
        seconds = _sum_of([each.seconds / max(each.concurrency, 1) for each in same_task], n, math.inf)
        own.measured += len(same_task)
    own.input_tokens += read
    own.output_tokens += written
    own.time_s = own.time_s + seconds if own.time_s is not None and seconds is not None else None
    cost = _cost(own.model, read, written, seconds, machine)
    own.cost_usd = own.cost_usd + cost if own.cost_usd is not None and cost is not None else None


def _sum_of(values: list[float], n: int, most: float) -> Range:
    """A sum of n more values like these: both samples vary."""
    seen = np.asarray(values, dtype=float)
    error = _REACH * float(seen.std(ddof=1)) * math.sqrt(1 / n + 1 / len(seen))
    mean = float(seen.mean())
    return Range(max(n * (mean - error), 0.0), min(n * (mean + error), most))


def _cost(model: Model, read: Range, written: Range, seconds: Range | None, machine: Machine) -> Range | None:
    if model.price is None and model.zone == "local":
        if seconds is None:
            return None
        costs = [machine_cost(machine.usd_per_hour, each) for each in (seconds.lo, seconds.hi)]
    else:
        now, name = datetime.now(UTC), str(model.model)
        costs = [
            token_cost(model.price, name, round(tokens_in), round(tokens_out), now)
            for tokens_in, tokens_out in ((read.lo, written.lo), (read.hi, written.hi))
        ]
    return None if costs[0] is None or costs[1] is None else Range(costs[0], costs[1])


def _history(models: set[str]) -> dict[str, list[_Seen]]:
    """What the newest runs tell of models, without their texts."""
    runs = sorted(project.kept("runs").glob("*/outcomes.parquet"), key=os.path.getmtime, reverse=True)
    found: defaultdict[str, list[_Seen]] = defaultdict(list)
    for path in runs[:_RUNS]:
        for name, seen in _seen_in(path):
            if name in models:
                found[name].append(seen)
    return found


def _seen_in(path: Path) -> Iterator[tuple[str, _Seen]]:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    columns = ["model", "task", "prompt", "input_tokens", "output_tokens", "latency_s", "concurrency"]
    try:
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(0, columns=columns)  # some thousands are enough
    except (OSError, pa.ArrowException):
        return
    table = table.append_column("chars", pc.utf8_length(table["prompt"])).drop_columns(["prompt"])
    for row in table.drop_null().to_pylist():
        yield (
            row["model"],
            _Seen(
                row["task"],
                row["chars"],
                row["input_tokens"],
                row["output_tokens"],
                row["latency_s"],
                row["concurrency"],
            ),
        )


def _short(value: float) -> str:
    if value == 0 or value >= 1000:
        return f"{value:,.0f}" if value < 1e6 else f"{value / 1e6:.1f}M"
    return f"{value:.2g}" if value < 100 else f"{value:.0f}"


def _time(span: Range | None) -> str:
    if span is None:
        return "time not known"
    unit, name = (60.0, "min") if span.hi >= 180 else (1.0, "s")
    return f"{Range(span.lo / unit, span.hi / unit).shown()} {name}"
