"""One task × class as matrices, items × candidates: what every policy is played on.

    cell = cell_of(rows, "support_triage", "open", models)
    cell.usable                # the candidates that may answer, and were asked enough to be compared
    cell.groups                # items that stand or fall together: clusters, and prompts that are nearly the same

Repeats of an item are averaged; a cascade's first answer is that of the first repeat, as in production.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from workbench.catalog import Models
from workbench.outcomes import split_candidate
from workbench.privacy import SensitivityClass, permitted
from workbench.scores import MIN_COVERAGE

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
OUTER = 5  # folds of what is played out of sample
RULES_ABSTAIN = "no_match"  # the error class of a rules model that has no rule for an item


@dataclass(frozen=True)
class Answers:
    """Figures of answers, each of shape (items, candidates); NaN where it was not asked or is not known.

    Attributes:
        score: 0 where there is no answer.
        accepted: good enough to use; a share where repeats are averaged.
        cost_usd: of one request, all its attempts.
        latency_s: likewise.
    """

    score: Floats
    accepted: Floats
    cost_usd: Floats
    latency_s: Floats


@dataclass(frozen=True, repr=False)
class Cell:
    """The outcomes of one task × class.

    Attributes:
        mean: over the repeats.
        first: of the first repeat.
        majority: of the most frequent output, at the cost of all repeats, and as slow as the slowest of them.
        agreement: the share of repeats that gave the most frequent output; NaN where there was one.
        repeats: how often each item was asked at most.
        signals: what a verifier may look at, by name, of the first repeat, and what looking costs.
        abstained: where the first repeat says that the rules have no answer.
        refused: the candidates that may not be used here, and why.
        texts: the items' prompts as one variant puts them, or None where any is not known.
        prompt_variant: which variant.
        clusters: a number an item.
        slices: the items' slices as text, or None where there are none.
    """

    task: str
    cls: SensitivityClass
    items: list[str]
    candidates: list[str]
    mean: Answers
    first: Answers
    majority: Answers
    agreement: Floats
    repeats: int
    signals: dict[str, Floats]
    signal_cost_usd: Floats
    abstained: NDArray[np.bool_]
    refused: dict[str, str]
    texts: list[str] | None
    prompt_variant: str
    clusters: Indices
    slices: list[str] | None

    def __repr__(self) -> str:
        """Without the items' texts: what a notebook shows is stored, and they may be restricted."""
        return f"Cell({self.task!r}, {self.cls!r}, {len(self.items)} items, {len(self.candidates)} candidates)"

    @property
    def usable(self) -> list[int]:
        return [index for index, name in enumerate(self.candidates) if name not in self.refused]

    def average(self, name: str, rows: NDArray[np.bool_] | None = None) -> Floats:
        """A figure's mean over the items that each candidate was asked; NaN where one of them is not known."""
        asked, column = ~np.isnan(self.mean.score), getattr(self.mean, name)
        if rows is not None:
            asked, column = asked[rows], column[rows]
        with np.errstate(invalid="ignore", divide="ignore"):
            found: Floats = np.where(asked, column, 0.0).sum(axis=0) / asked.sum(axis=0)
        return found

    @cached_property
    def groups(self) -> Indices:
        """A number an item: the same for one cluster, and for prompts that are the same or nearly so."""
        if self.texts is None:
            return self.clusters
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        from workbench.audit.texts import near_groups

        alike = near_groups(self.texts)
        size = int(max(self.clusters.max(), alike.max())) + 1
        links = coo_matrix((np.ones(len(alike)), (self.clusters, alike)), shape=(size, size))
        # A graph of two kinds of nodes, clusters and texts; an item joins one of each.
        both = coo_matrix((links.data, (links.row, links.col + size)), shape=(2 * size, 2 * size))
        return np.asarray(connected_components(both, directed=False)[1][self.clusters], dtype=np.intp)


def folds(groups: Indices, count: int, seed: int) -> Indices:
    """A fold an item, from 0; whole groups, dealt at random."""
    codes = np.unique(groups, return_inverse=True)[1]
    dealt = np.random.default_rng(seed).permutation(int(codes.max()) + 1) % count
    return np.asarray(dealt[codes], dtype=np.intp)


def cell_of(
    rows: pd.DataFrame,
    task: str,
    cls: SensitivityClass,
    models: Models,
    zones: Collection[str] | None = None,
    metrics: Collection[str] = (),
) -> Cell:
    """The prepared rows of one task × class as matrices.

    Args:
        rows: what `prepare` makes, of one task × class.
        zones: where a model may be; everywhere that its items may go where left out.
        metrics: columns that a verifier may look at, such as `metric.logprob`.
    """
    rows = rows.sort_values(["item_id", "candidate", "repeat"], kind="stable")
    item, items = pd.factorize(rows["item_id"])
    names = sorted(rows["candidate"].unique())
    candidate = pd.Categorical(rows["candidate"], categories=names).codes.astype(np.intp)
    texts, variant = _texts(rows, item, len(items))
    clusters, slices = _clusters(rows, item, len(items)), _slices(rows, item, len(items))
    known = rows["points"].notna().to_numpy()  # what has no score counts as missing
    rows, item, candidate = rows[known], item[known], candidate[known]
    cells = _Places(item * len(names) + candidate, len(items), len(names))
    values = {
        "score": rows["points"].to_numpy(float),
        "accepted": _floats(rows, "accepted", False),
        "cost_usd": _floats(rows, "cost_usd"),
        "latency_s": _floats(rows, "latency_s"),
    }
    mean = Answers(**{name: cells.mean(column) for name, column in values.items()})
    first = Answers(**{name: cells.first(column) for name, column in values.items()})
    majority, agreement = _majority(rows, cells, values, mean)
    signals = {"format": _floats(rows, "format_ok", False), **{name: _floats(rows, name) for name in metrics}}
    abstained: Floats = np.zeros(len(rows))
    if "error_class" in rows:
        abstained = np.asarray(rows["error_class"] == RULES_ABSTAIN, dtype=np.float64)
    return Cell(
        task=task,
        cls=cls,
        items=list(items),
        candidates=names,
        mean=mean,
        first=first,
        majority=majority,
        agreement=agreement,
        repeats=int(cells.counts.max()),
        signals={name: cells.first(column) for name, column in signals.items()},
        signal_cost_usd=cells.first(_floats(rows, "judge_cost_usd")),
        abstained=cells.first(abstained) == 1,
        refused=_refused(names, mean, rows["score"].notna().to_numpy(), candidate, models, cls, zones),
        texts=texts,
        prompt_variant=variant,
        clusters=clusters,
        slices=slices,
    )


@dataclass(frozen=True)
class _Places:
    """Where each row belongs in a matrix of items × candidates; rows are in the order of their repeats."""

    place: Indices
    height: int
    width: int

    @property
    def size(self) -> int:
        return self.height * self.width

    @cached_property
    def counts(self) -> Floats:
        return np.bincount(self.place, minlength=self.size).astype(float)

    def mean(self, column: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            sums: Floats = np.bincount(self.place, column, self.size) / self.counts
        return sums.reshape(self.height, self.width)

    def sum(self, column: Floats) -> Floats:
        sums: Floats = np.where(self.counts > 0, np.bincount(self.place, column, self.size), np.nan)
        return sums.reshape(self.height, self.width)

    def first(self, column: Floats) -> Floats:
        values = np.full(self.size, np.nan)
        values[self.place[::-1]] = column[::-1]  # of several assignments the last one stays
        return values.reshape(self.height, self.width)

    def largest(self, column: Floats) -> Floats:
        values = np.full(self.size, -np.inf)
        np.maximum.at(values, self.place, column)
        return np.where(self.counts > 0, values, np.nan).reshape(self.height, self.width)


def _floats(rows: pd.DataFrame, name: str, missing: bool | None = None) -> Floats:
    """A column as numbers; where it is not there at all, NaN."""
    if name not in rows:
        return np.full(len(rows), np.nan)
    column = rows[name] if missing is None else rows[name].fillna(missing)
    return pd.to_numeric(column).to_numpy(dtype=float, na_value=np.nan)


def _majority(rows: pd.DataFrame, cells: _Places, values: dict[str, Floats], mean: Answers) -> tuple[Answers, Floats]:
    """What asking several times and taking the most frequent output gives; ties go to the one that came first."""
    nothing = np.full((cells.height, cells.width), np.nan)
    if "output" not in rows or cells.counts.max() < 2:
        return mean, nothing
    outputs = rows["output"].map(lambda text: " ".join(text.casefold().split()) if isinstance(text, str) else None)
    same = pd.DataFrame({"place": cells.place, "output": outputs.to_numpy(), "order": np.arange(len(rows))})
    counts = same.groupby(["place", "output"], sort=False).agg(count=("order", "size"), at=("order", "first"))
    best = counts.reset_index().sort_values(["place", "count", "at"], ascending=[True, False, True])
    best = best.drop_duplicates("place")
    agreement = np.full(cells.size, np.nan)
    # An answer that failed agrees with none.
    agreement[best["place"].to_numpy()] = best["count"].to_numpy() / cells.counts[best["place"].to_numpy()]
    agreement[(cells.counts > 1) & np.isnan(agreement)] = 0.0
    agreement[cells.counts < 2] = np.nan
    taken = {}
    for name in ("score", "accepted"):
        column = np.where(cells.counts > 0, 0.0, np.nan)
        column[best["place"].to_numpy()] = values[name][best["at"].to_numpy()]
        taken[name] = column.reshape(cells.height, cells.width)
    cost, latency = cells.sum(values["cost_usd"]), cells.largest(values["latency_s"])
    return Answers(**taken, cost_usd=cost, latency_s=latency), agreement.reshape(cells.height, cells.width)


def _refused(
    names: list[str],
    mean: Answers,
    answered: NDArray[np.bool_],
    candidate: Indices,
    models: Models,
    cls: SensitivityClass,
    zones: Collection[str] | None,
) -> dict[str, str]:
    """Who may not be part of any policy here; as in `standing`, but for limits that a policy as a whole has to keep."""
    coverage = (~np.isnan(mean.score)).mean(axis=0)
    any_answer = np.bincount(candidate, answered, len(names)) > 0
    found = {}
    for index, name in enumerate(names):
        zone = models.zone_of(split_candidate(name)[0])
        if not permitted("restricted" if cls == "restricted" else "public", zone):
            found[name] = "restricted items never reach a hosted model"
        elif zones is not None and zone not in zones:
            found[name] = f"in zone {zone}, and only {', '.join(zones)} may be used"
        elif coverage[index] < MIN_COVERAGE:
            found[name] = f"asked only {coverage[index]:.0%} of the items"
        elif not any_answer[index]:
            found[name] = "gave no answer at all"
    return found


def _texts(rows: pd.DataFrame, item: Indices, count: int) -> tuple[list[str] | None, str]:
    """Each item's prompt as the variant that most items were asked in puts it."""
    if "prompt" not in rows:
        return None, ""
    known = rows["prompt"].notna()
    asked = pd.DataFrame({"variant": rows["variant"], "item": item, "prompt": rows["prompt"]})[known.to_numpy()]
    if asked.empty:
        return None, ""
    variant = str(asked.groupby("variant")["item"].nunique().sort_values(kind="stable").index[-1])
    found = asked[asked["variant"] == variant].drop_duplicates("item").set_index("item")["prompt"]
    return ([str(text) for text in found.sort_index()], variant) if len(found) == count else (None, "")


def _clusters(rows: pd.DataFrame, item: Indices, count: int) -> Indices:
    own = [f"\0{index}" for index in range(count)]
    if "cluster" in rows:
        named = pd.Series(rows["cluster"].to_numpy(), index=item).dropna()
        for index, cluster in named[~named.index.duplicated()].items():
            own[int(str(index))] = str(cluster)
    return np.asarray(pd.factorize(np.array(own, dtype=object))[0], dtype=np.intp)


def _slices(rows: pd.DataFrame, item: Indices, count: int) -> list[str] | None:
    if "slice" not in rows or not rows["slice"].notna().any():
        return None
    found = [""] * count
    named = pd.Series(rows["slice"].to_numpy(), index=item).dropna()
    for index, text in named[~named.index.duplicated()].items():
        found[int(str(index))] = str(text)
    return found
