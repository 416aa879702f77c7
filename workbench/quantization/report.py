"""The quantization report: a row a task × candidate, one figure, one sentence.

report = quantization_report(outcomes, "smollm2-bf16", noise="smollm2-bf16-b1", models=models, limits=tasks)
report.table, report.figure(), report.sentence
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.catalog import Models
from workbench.divergence import read_divergence, summary
from workbench.evalset import DEFAULT_MARGIN, EvalSet, Limits
from workbench.intervals import CONFIDENCE
from workbench.outcomes import candidate_id
from workbench.outcomes.slices import told_slices
from workbench.power import discordance_of
from workbench.quantization import pairs as of_pairs
from workbench.quantization import resources, setting
from workbench.quantization.verdict import sentence, verdict
from workbench.scores import prepare

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = "all tasks"
_NO_FLOOR = dict.fromkeys(("flips_beyond", "flips_beyond_lo", "flips_beyond_hi", "noise_flips"), math.nan)
_DIVERGENCE = ("kl_nats", "kl_lo", "kl_hi", "top_token_agreement", "divergence_tokens")


@dataclass(frozen=True)
class QuantizationReport:
    """What each candidate costs against the reference.

    Attributes:
        table: a row a task × prompt × candidate and, where there are several, a row a candidate over all of them (task
            `all tasks`). `role` is `reference`, `noise` or `candidate`. `difference` is candidate − reference in score
            with `lo` and `hi`; `broke` and `fixed` count items that went from accepted to not and back, `flips` is
            their share and `mcnemar_p` the two-sided mid-p (NaN where items come in clusters or under several prompts,
            which it does not know); `flips_beyond` is that share less the noise run's, with `flips_beyond_lo` and
            `_hi`; `same_output` is the share of items with the same answer, `same_accepted` of those that are accepted
            from both or neither; `lost` counts items that are left out, as an error of the server, the line or a judge
            stands for the answer (on a candidate's row, for that of either), and `coverage` is the share of the
            reference's items that are compared; `kl_nats` the Kullback-Leibler divergence a token (a lower bound) with
            `kl_lo` and `kl_hi`, `top_token_agreement` a share; `failed_format` and `retried` are shares of items, with
            `format_difference` and `retry_difference` against the reference; `length_ratio` compares the answers'
            lengths in `length_unit`; `cost_per_accepted_usd`; `latency_p50_s`; on rows over all of a model's outcomes
            also `load_s`, `memory_bytes`, `gpu_memory_bytes`, `weights_bytes`, `tokens_per_s`. NaN is unknown.
        notes: what the report rests on, and what it could not tell.
        confidence: of the two-sided intervals `lo` to `hi`: each of the candidates' one-sided bounds holds at 95 %,
            all at once.
    """

    table: pd.DataFrame
    reference: str
    noise: str | None
    confidence: float
    notes: list[str]
    _pairs: dict[str, pd.DataFrame] = field(repr=False, default_factory=dict)

    @property
    def headline(self) -> pd.DataFrame:
        """The rows over everything that was asked: one a model."""
        whole = self.table[self.table["task"] == ALL]
        return self.table if whole.empty else whole

    @property
    def sentence(self) -> str:
        """What each candidate costs over all tasks, in one sentence."""
        rows = _candidates(self.headline)
        details = _candidates(self.table[self.table["task"] != ALL]) if len(self.headline) < len(self.table) else []
        free = {row["candidate"] for row in rows if row["verdict"] != "costs"}
        apart: dict[str, list[Any]] = {}
        for row in details:
            if row["verdict"] == "costs" and row["model"] in free:
                apart.setdefault(row["model"], []).append(row)
        return f"Against {self.reference}: {sentence(rows, apart)}"

    @property
    def sentences(self) -> list[str]:
        """A sentence for each task and prompt."""
        single = self.table[self.table["task"] != ALL]
        return [
            f"{task}{'' if variant == 'default' else f' ({variant})'}: {sentence(_candidates(rows))}"
            for (task, variant), rows in single.groupby(["task", "variant"], sort=True)
        ]

    @cached_property
    def by_slice(self) -> pd.DataFrame:
        """Where the damage is: the same differences within each slice of the items.

        Exploratory: many slices are looked at, none was chosen beforehand; the intervals are 95 %, each for itself.
        A value that only restricted items have is not shown: a number stands for it.

        Returns:
            Columns `task`, `candidate`, `slice`, `value`, `n`, `difference`, `lo`, `hi`, `broke`, `fixed`.
        """
        rows = []
        told: dict[str, pd.DataFrame] = {}
        if self._pairs:  # named together: a number stands for the same value in all rows
            both = pd.concat(self._pairs, names=["of"])
            told = {str(task): told_slices(own) for task, own in both.groupby("task", sort=False)}
        for model, found in self._pairs.items():
            for (task, variant), own in found.groupby(["task", "variant"], sort=True):
                for name, values in told[str(task)].loc[model].loc[own.index].items():
                    for value in sorted(values.dropna().unique()):
                        figures = of_pairs.figures(own[values == value], CONFIDENCE)
                        kept = {key: figures[key] for key in ("n", "difference", "lo", "hi", "broke", "fixed")}
                        about = {"task": task, "candidate": candidate_id(model, str(variant))}
                        rows.append({**about, "slice": name, "value": value, **kept})
        columns = ["task", "candidate", "slice", "value", "n", "difference", "lo", "hi", "broke", "fixed"]
        return pd.DataFrame(rows, columns=columns)

    def figure(self) -> Figure:
        """Each candidate's score difference with its interval and margin, and its flips."""
        from workbench.views.quantization import quantization_figure

        return quantization_figure(self)

    def describe(self) -> str:
        """The report for a terminal."""
        from workbench.views.quantization import quantization_text

        return quantization_text(self)

    def _repr_html_(self) -> str:
        from workbench.views.quantization import quantization_html

        return quantization_html(self)


def quantization_report(
    outcomes: pd.DataFrame,
    reference: str,
    *,
    noise: str | None = None,
    candidates: str | Sequence[str] | None = None,
    models: Models | None = None,
    limits: Mapping[str, EvalSet | Limits] | None = None,
    divergence: pd.DataFrame | str | Path | None = None,
) -> QuantizationReport:
    """Compare quantized variants with their reference on the items that both were asked, prompt by prompt.

    Args:
        outcomes: an outcome table, from any source.
        reference: the model that the others are variants of, such as the same engine's bf16.
        noise: the reference asked again at another batch size, under another id; flips count beyond its own. Where it
            is left out, two repeats of the reference serve, if the table has them.
        candidates: model ids; where left out, every other model of the table but rules.
        models: for the names of quantizations, and to tell who was held to a JSON schema where the run did not note it.
        limits: eval sets, or limits, by task: their margin decides what is free; 0.05 where left out.
        divergence: what `workbench.divergence.measure` found, or its file.

    Raises:
        InputError: a model is not in the table, or the noise run has other weights than the reference.
    """
    rows = prepare(outcomes)
    chosen = setting.candidates(rows, reference, noise, candidates)
    told = setting.Told(models, limits or {}, dict(outcomes.attrs.get("engines") or {}))
    notes = setting.notes(rows, reference, noise, chosen, told)
    report = _Report(rows, reference, noise, chosen, told)
    measured = read_divergence(divergence) if divergence is not None else None
    table = pd.DataFrame(report.rows(measured))
    notes += _further_notes(report, table, measured)
    return QuantizationReport(table, reference, noise, report.confidence, notes, report.pairs)


class _Report:
    """The rows of a report in the making."""

    def __init__(
        self,
        rows: pd.DataFrame,
        reference: str,
        noise: str | None,
        chosen: list[str],
        told: setting.Told,
    ) -> None:
        self.outcomes, self.reference, self.noise, self.chosen, self.told = rows, reference, noise, chosen, told
        self.confidence = 1 - 2 * self._alpha(chosen)
        self.lost = of_pairs.lost(rows, [reference, noise] if noise else [reference])
        self.answered = rows[~self.lost]
        self.pairs = {model: of_pairs.paired(self.answered, reference, model) for model in chosen}
        self.units = of_pairs.per_unit(self.answered, reference).reset_index()
        self.asked = rows.loc[rows["model"] == reference, of_pairs.UNIT].drop_duplicates()
        self.floor = self._floor()

    @staticmethod
    def _alpha(chosen: list[str]) -> float:
        """Of each one-sided bound, so that those of all candidates hold jointly (Bonferroni)."""
        return (1 - CONFIDENCE) / max(len(chosen), 1)

    def _floor(self) -> pd.DataFrame | None:
        """The reference against itself."""
        if self.noise is not None:
            return of_pairs.paired(self.answered, self.reference, self.noise)
        own = self.outcomes[self.outcomes["model"] == self.reference]
        repeats = sorted(own["repeat"].unique())
        return (
            of_pairs.paired(self.answered, self.reference, self.reference, tuple(repeats[:2])) if repeats[1:] else None
        )

    def rows(self, divergence: pd.DataFrame | None) -> list[dict[str, Any]]:
        """Of every task and prompt that the reference was asked, and of all together where there are several."""
        asked = self.asked[["task", "variant"]].drop_duplicates().sort_values(["task", "variant"])
        scopes = [(str(task), str(variant)) for task, variant in asked.to_numpy()]
        found = []
        for task, variant in scopes:
            found += self._scope(task, variant, len(scopes) == 1, divergence)
        return found + (self._scope(ALL, None, True, divergence) if len(scopes) > 1 else [])

    def _scope(
        self, task: str, variant: str | None, whole: bool, divergence: pd.DataFrame | None
    ) -> list[dict[str, Any]]:
        def within(frame: pd.DataFrame) -> pd.DataFrame:
            return frame if variant is None else frame[(frame["task"] == task) & (frame["variant"] == variant)]

        own = within(self.outcomes)
        units, asked = within(self.units), within(self.asked)
        floor = None if self.floor is None else within(self.floor)
        margin = self._margin(task, asked)
        made = []
        roles = [(self.reference, "reference"), *([(self.noise, "noise")] if self.noise else [])]
        for model, role in [*roles, *((model, "candidate") for model in self.chosen)]:
            rows = own[own["model"] == model]
            if rows.empty:
                continue
            row: dict[str, Any] = {"task": task, "candidate": candidate_id(model, variant or "default"), "model": model}
            row |= {"variant": variant, "role": role, "verdict": ""} | setting.about(rows, model, self.told.models)
            if role == "reference":
                row |= self._of_reference(units, asked)
            else:
                pairs = within(floor if role == "noise" and floor is not None else self.pairs[model])
                row |= self._of_pairs(pairs, asked, floor, margin) | {"lost": self._lost(rows, pairs, asked)}
                row |= setting.against(own, self.reference, model, self.told)
                row["verdict"] = verdict(row) if role == "candidate" else ""
            row |= {"length_unit": of_pairs.length_unit(self.outcomes)} | resources.answers(rows)
            row |= resources.engine(rows, self.told.engines.get(str(model))) if whole else {}
            row |= self._divergence(divergence, task, variant, str(model))
            made.append(row)
        return made

    def _margin(self, task: str, asked: pd.DataFrame) -> float:
        """Of the task; over several, the strictest."""
        tasks = asked["task"].unique() if task == ALL else [task]
        return min(_margin_of(self.told.limits.get(str(name))) for name in tasks)

    @staticmethod
    def _lost(rows: pd.DataFrame, pairs: pd.DataFrame, asked: pd.DataFrame) -> int:
        """Units that both were asked, and that are not compared."""
        return len(asked.merge(rows[of_pairs.UNIT].drop_duplicates(), on=of_pairs.UNIT)) - len(pairs)

    def _of_reference(self, units: pd.DataFrame, asked: pd.DataFrame) -> dict[str, Any]:
        items = units.groupby(["task", "item_id"])[["points"]].mean()
        mean = {name: float(units[name].mean(skipna=False)) for name in ("failed_format", "retried")}
        counts = {"n": len(items), "coverage": len(units) / len(asked), "lost": len(asked) - len(units)}
        return counts | {"score": float(items["points"].mean()), **mean}

    def _of_pairs(
        self, pairs: pd.DataFrame, asked: pd.DataFrame, floor: pd.DataFrame | None, margin: float
    ) -> dict[str, Any]:
        found = of_pairs.figures(pairs, self.confidence)
        candidate, reference = of_pairs.scores(pairs)
        seen = discordance_of(candidate - reference)
        found |= {"coverage": len(pairs) / len(asked), "margin": margin}
        found["items_needed"] = seen.to_decide(margin, self._alpha(self.chosen))
        if floor is None:
            return found | _NO_FLOOR
        excess = of_pairs.beyond(pairs, floor, self.confidence)
        found |= {"flips_beyond": excess.value, "flips_beyond_lo": excess.lo, "flips_beyond_hi": excess.hi}
        return found | {"noise_flips": of_pairs.figures(floor, self.confidence)["flips"]}

    def _divergence(self, measured: pd.DataFrame | None, task: str, variant: str | None, model: str) -> dict[str, Any]:
        if measured is None:
            return dict.fromkeys(_DIVERGENCE, math.nan)
        own = measured[(measured["reference"] == self.reference) & (measured["model"] == model)]
        if variant is not None:
            own = own[(own["task"] == task) & (own["variant"] == variant)]
        return summary(own)


def _margin_of(limit: EvalSet | Limits | None) -> float:
    if limit is None:
        return DEFAULT_MARGIN
    return limit.margin if isinstance(limit, Limits) else limit.spec.limits.margin


def _candidates(table: pd.DataFrame) -> list[dict[str, Any]]:
    rows = table[table["role"] == "candidate"]
    return [{str(key): value for key, value in row.items()} for row in rows.to_dict("records")]


def _further_notes(report: _Report, table: pd.DataFrame, measured: pd.DataFrame | None) -> list[str]:
    notes = []
    if report.floor is None:
        notes.append(
            "no noise floor: the reference was asked once only, so some flips may be the engine's own. Ask it again at "
            "another batch size under another id (concurrency: 1), and name that by noise"
        )
    elif report.noise is None:
        notes.append("the noise floor is from two repeats of the reference, at the same batch size")
    compared = table[table["role"] == "candidate"]
    shared = compared[compared["n"] > 0]  # without a pair nothing is known, whatever columns there are
    for name, what, column in (("accepted", "flips", "flips"), ("format_ok", "format failures", "failed_format")):
        if len(shared) and shared[column].isna().all():
            told = f"does not tell {name} of both sides" if name in report.outcomes else f"has no column {name}"
            notes.append(f"the table {told}, so no {what} are known")
    if len(compared) and "format_retries" not in report.outcomes and table["retried"].isna().any():
        notes.append(
            "retries are not known: the table has no column format_retries, and several attempts may be lost "
            "connections as well"
        )
    if len(compared) and compared["flips_n"].any() and not report.units["right"].fillna(0).any():
        notes.append("no answer of the reference was accepted, so none can go from right to wrong")
    if measured is not None and compared["kl_nats"].isna().all():
        notes.append("the divergence file says nothing of these candidates")
    if measured is not None and compared["kl_nats"].notna().any():
        notes.append(
            "KL divergence is over the tokens that both engines name at a place, with all others as one class: a "
            "lower bound, as merging classes never raises it"
        )
    return notes + _lost_notes(report) + resources.notes(table)


def _lost_notes(report: _Report) -> list[str]:
    """Who lost answers to which errors."""
    notes = []
    for model in [report.reference, *([report.noise] if report.noise else []), *report.chosen]:
        own = report.outcomes[report.outcomes["model"] == model]
        gone = own[report.lost[own.index]]
        if len(gone):
            kinds = gone["error_class"] if "error_class" in gone else pd.Series(None, gone.index, dtype=object)
            counts = kinds.fillna("without a class").value_counts()
            named = ", ".join(f"{count} {kind}" for kind, count in counts.items())
            notes.append(
                f"{model}: {len(gone)} of {len(own)} outcomes are errors that are not its own, or not known to be "
                f"({named}). They are left out; 'workbench run --retry-errors' asks again"
            )
    return notes
