"""All policies for one task × class, played out of sample on its own items, and which of them pays.

    assessed = assess(cell, choice, eligible, terms, kinds)
    assessed.options             # a row a policy: figures, offered or not, why
    assessed.chosen              # the policy that the route takes

A policy that is learned (thresholds, which candidates, a router) is learned in each training fold anew and played on
the fold that it never saw; what is shipped is learned on all items by the same procedure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from workbench.catalog import Models
from workbench.intervals import Estimate, lower_bound
from workbench.outcomes import split_candidate
from workbench.routing import per_request
from workbench.routing.cascade import AGREEMENT, FORMAT, RULES_FLOOR, Cascade, RulesFirst, acceptance, cascades
from workbench.routing.cell import OUTER, Cell, folds
from workbench.routing.measures import hull
from workbench.routing.pays import Verdict, pays
from workbench.routing.played import Played, Sheet, Terms, best_option, mixed, sheet
from workbench.routing.policy import KINDS, Kind
from workbench.routing.router import Router, preferred
from workbench.words import counted

Floats = NDArray[np.float64]
Indices = NDArray[np.intp]
Bools = NDArray[np.bool_]

FEWEST_ITEMS = 40  # under which nothing is learned
_POOL = 6  # candidates that a learned policy is made of, at most


@dataclass(frozen=True, repr=False)
class Option:
    """One policy for a task × class.

    Attributes:
        played: out of sample, where it is learned.
        clusters: the items', for intervals.
        offered: whether it may be chosen; single candidates are, where they are inside the limits.
        reason: why not, or why.
        links: the candidates that it can ask, in order.
    """

    kind: Kind
    name: str
    played: Played | None
    offered: bool
    reason: str
    clusters: Indices
    links: list[str] = field(default_factory=list)
    verdict: Verdict | None = None
    cascade: Cascade | None = None
    acceptance: tuple[Estimate, Estimate] | None = None
    router: Router | None = None
    chances: Floats | None = None

    def __repr__(self) -> str:
        return f"Option({self.kind!r}, {self.name!r}, {'offered' if self.offered else 'not offered'})"

    @cached_property
    def figures(self) -> Sheet | None:
        """Its figures with intervals."""
        return None if self.played is None else sheet(self.played, self.clusters)


@dataclass(frozen=True)
class Assessed:
    """What was found for one task × class."""

    cell: Cell
    terms: Terms
    options: list[Option]
    chosen: Option | None


def assess(
    cell: Cell,
    choice: str | None,
    eligible: Sequence[str],
    terms: Terms,
    models: Models,
    kinds: Sequence[Kind] = KINDS,
    verifiers: Sequence[str] = (FORMAT, AGREEMENT),
    with_slices: bool = False,
    embeddings: str | None = None,
    rules_floor: float = RULES_FLOOR,
    seed: int = 0,
) -> Assessed:
    """Play every policy and hold it against what is simpler.

    Args:
        cell: the outcomes.
        choice: the candidate that the per-task rule takes, or None where none is inside the limits.
        eligible: the candidates inside the limits.
        terms: what decides.
        models: for which candidates are rules.
        kinds: which policies are tried.
        verifiers: what a cascade may trust.
        with_slices: whether a request states its item's slices, so that they are a signal.
        embeddings: a sentence-transformers model for the router, or None.
        rules_floor: the accepted share of the rules' answers, by its lower bound.
        seed: of the folds.
    """
    case = _Case(cell, choice, eligible, terms, models, seed, sum(kind != "per_task" for kind in kinds))
    options = case.singles()
    makers: dict[Kind, Callable[[], Option]] = {
        "rules_first": lambda: _rules_first(case, rules_floor),
        "cascade": lambda: _cascade(case, verifiers),
        "per_request": lambda: _per_request(case, with_slices, embeddings),
    }
    options += [makers[kind]() for kind in kinds if kind in makers]
    best = [option for option in options if option.offered and option.played is not None]
    learned = [option for option in best if option.kind != "per_task"]
    single = [option for option in best if option.kind == "per_task" and option.name == choice]
    # What pays has beaten the choice for the task, so of what is offered the best in the objective is taken.
    pool = learned or single
    chosen = min(pool, key=lambda option: terms.loss(option.played)) if pool else None  # type: ignore[arg-type]
    return Assessed(cell, terms, options, chosen)


@dataclass(frozen=True)
class _Case:
    """What the makers of policies share."""

    cell: Cell
    choice: str | None
    eligible: Sequence[str]
    terms: Terms
    models: Models
    seed: int
    comparisons: int

    def column(self, name: str) -> int:
        return self.cell.candidates.index(name)

    def single(self, index: int) -> Played:
        return Played.of(self.cell.mean, index, self.cell.candidates[index])

    def singles(self) -> list[Option]:
        """Each candidate on its own."""
        found = []
        for index, name in enumerate(self.cell.candidates):
            played, refused = self.single(index), self.cell.refused.get(name)
            offered = refused is None and name in self.eligible
            reason = refused or ("" if offered else self.terms.outside(played) or "outside the limits")
            found.append(Option("per_task", name, played, offered, reason, self.clusters, [name]))
        return found

    @property
    def clusters(self) -> Indices:
        return self.cell.clusters.astype(np.int64)

    @property
    def rivals(self) -> Floats:
        return self.cell.mean.score[:, [self.column(name) for name in self.eligible]]

    def pool(self, rows: Bools | None = None) -> list[int]:
        """The candidates that a learned policy is made of: on the hull of cost and score, the choice, and the rules."""
        usable = np.array(self.cell.usable, dtype=np.intp)
        if not len(usable):
            return []
        cost = self.cell.average("cost_usd", rows)[usable]
        score = np.nan_to_num(self.cell.average("score", rows)[usable])
        kept = [int(usable[index]) for index in hull(cost, score)]
        kept = kept if len(kept) <= _POOL else [kept[at] for at in np.linspace(0, len(kept) - 1, _POOL).astype(int)]
        if self.choice is not None and self.column(self.choice) not in kept:
            kept.append(self.column(self.choice))
        return kept

    def mix(self) -> list[Played]:
        """What a random mix may be made of."""
        cost = self.cell.average("cost_usd")
        return [self.single(index) for index in self.pool() if not np.isnan(cost[index])]

    def verdict(self, played: Played) -> Verdict:
        choice = None if self.choice is None else self.single(self.column(self.choice))
        held = [self.single(self.column(name)) for name in self.eligible]
        return pays(played, choice, self.mix(), held, self.cell.groups, self.terms, self.comparisons)

    def refuse(self, kind: Kind, name: str, reason: str) -> Option:
        return Option(kind, name, None, False, reason, self.clusters)

    @property
    def obstacle(self) -> str | None:
        """Why nothing can be learned here, or None."""
        if len(np.unique(self.cell.groups)) < FEWEST_ITEMS:
            return f"under {FEWEST_ITEMS} independent items, nothing can be learned out of sample"
        if len(self.pool()) < 2:
            return "fewer than two candidates of known cost that differ in cost and score may be used"
        accepted = self.cell.mean.accepted[:, self.pool()]
        if np.isnan(accepted).all():
            return "which answers are accepted is unknown"
        return None


def _rules_first(case: _Case, floor: float) -> Option:
    cell, name = case.cell, "rules first"
    asked = [
        index
        for index, candidate in enumerate(cell.candidates)
        if (model := case.models.get(split_candidate(candidate)[0])) and model.engine == "rules"
    ]
    if not asked:
        return case.refuse("rules_first", name, "no rules model was asked.")
    rules = [index for index in asked if index in cell.usable]
    if not rules:
        refused = cell.candidates[asked[0]]
        return case.refuse("rules_first", name, f"{refused}: {cell.refused[refused]}.")
    rest = _rest(case, rules[0])
    if rest is None:
        return case.refuse("rules_first", name, "there is no other candidate for what the rules do not answer.")
    option = RulesFirst(rules[0], rest)
    abstained = option.abstained(cell)
    if not abstained.any():
        return case.refuse("rules_first", name, "the rules never abstain: they are a candidate like any other.")
    answered = ~abstained & ~np.isnan(cell.first.accepted[:, option.rules])
    share = float(answered.mean())
    if not answered.any():
        return case.refuse("rules_first", name, "the rules never answer.")
    good = option.accepted(cell)
    bound = lower_bound(cell.first.accepted[answered, option.rules], cell.groups[answered].astype(np.int64))
    said = f"the rules answer {share:.0%}, and of those {good.value:.0%} are accepted (at least {bound:.0%})"
    if not bound >= floor:
        return case.refuse("rules_first", name, f"{said}: {floor:.0%} are wanted.")
    played = option.play(cell)
    verdict = case.verdict(played)
    links = [cell.candidates[option.rules], cell.candidates[option.rest]]
    return Option(
        "rules_first",
        option.name(cell),
        played,
        verdict.offered,
        f"{said}; {verdict.reason}",
        case.clusters,
        links,
        verdict,
    )


def _rest(case: _Case, rules: int) -> int | None:
    """Who answers where the rules do not: the choice for the task, else the best that may be used."""
    if case.choice is not None and case.column(case.choice) != rules:
        return case.column(case.choice)
    others = [index for index in case.cell.usable if index != rules]
    scores = np.nan_to_num(case.cell.average("score")[others])
    return others[int(scores.argmax())] if others else None


def _cascade(case: _Case, verifiers: Sequence[str]) -> Option:
    cell, name = case.cell, "cascade"
    if case.obstacle:
        return case.refuse("cascade", name, f"{case.obstacle}.")

    def learn(rows: Bools) -> Cascade | None:
        options = cascades(cell, case.pool(rows), verifiers, rows)
        played = [option.play(cell).at(rows) for option in options]
        best = best_option(played, case.rivals[rows], cell.groups[rows], case.terms)
        return None if best is None else options[best]

    everything = np.ones(len(cell.items), dtype=bool)
    shipped = learn(everything)
    if shipped is None:
        return case.refuse("cascade", name, _no_cascade(case, verifiers))
    fold_of = folds(cell.groups, OUTER, case.seed)
    taught = [learn(fold_of != fold) for fold in range(int(fold_of.max()) + 1)]
    fallback = case.single(case.column(case.choice) if case.choice else case.pool()[-1])
    parts = [option.play(cell) if option else fallback for option in taught]
    played = mixed(shipped.name(cell), parts, fold_of)
    at = np.arange(len(cell.items))
    trusted = np.stack([option.trusted(cell) if option else everything for option in taught])[fold_of, at]
    good = np.stack([_first(cell, option or shipped) for option in taught])[fold_of, at]
    true, false = acceptance(trusted, good, cell.groups)
    verdict = case.verdict(played)
    told = (
        f"the verifier '{shipped.verifier}' trusts {true.value:.0%} ({true.lo:.0%} to {true.hi:.0%}) of the good "
        f"answers and {_share(false)} of the others, and escalates {1 - trusted.mean():.0%}"
    )
    weak = "" if verdict.offered else " The verifier is too weak to pay."
    return Option(
        "cascade",
        shipped.name(cell),
        played,
        verdict.offered,
        f"{told}; {verdict.reason}{weak}",
        case.clusters,
        [cell.candidates[shipped.cheap], cell.candidates[shipped.strong]],
        verdict,
        cascade=shipped,
        acceptance=(true, false),
    )


def _first(cell: Cell, option: Cascade) -> Floats:
    first = cell.majority if option.verifier == AGREEMENT else cell.first
    found: Floats = first.accepted[:, option.cheap]
    return found


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.0%} ({estimate.lo:.0%} to {estimate.hi:.0%})" if estimate.n else "none"


def _no_cascade(case: _Case, verifiers: Sequence[str]) -> str:
    rows = np.ones(len(case.cell.items), dtype=bool)
    if not cascades(case.cell, case.pool(), verifiers, rows):
        return f"no verifier ({', '.join(verifiers)}) tells one answer of a cheaper candidate from another."
    return "no threshold of any verifier keeps the limits and the margin on the items that it was to be learned from."


def _per_request(case: _Case, with_slices: bool, embeddings: str | None) -> Option:
    cell, name = case.cell, "per request"
    if cell.texts is None:
        return case.refuse("per_request", name, "the outcome table has no prompt for every item.")
    if case.obstacle:
        return case.refuse("per_request", name, f"{case.obstacle}.")
    pool = [index for index in case.pool() if not np.isnan(cell.mean.accepted[:, index]).any()]
    groups = len(np.unique(cell.groups))
    if len(pool) < 2 or groups < per_request.FEWEST_ITEMS:
        few = counted(groups, "independent item is", "independent items are")
        few += f" under the {per_request.FEWEST_ITEMS} that a router takes"
        return case.refuse("per_request", name, f"{few if len(pool) > 1 else 'under two candidates were asked all'}.")
    if with_slices and cell.slices is None:
        return case.refuse("per_request", name, "no item has a slice that could be a signal.")
    prompts = per_request.prompts_of(cell.texts, cell.slices if with_slices else None, embeddings)
    targets = cell.mean.accepted[:, pool]
    parts = [case.single(index) for index in pool]
    chances, fold_of, taught = per_request.nested(prompts, targets, cell.groups, case.seed)

    def learn(rows: Bools, inner: Floats) -> Floats | None:
        """What answering counts against a chance: chosen on chances that are out of sample within the rows."""
        column = cell.mean.latency_s if case.terms.objective == "latency" else cell.mean.cost_usd
        toll = column[rows][:, pool].mean(axis=0)
        prices = [price * toll for price in per_request.prices_of(inner[rows], toll)]
        played = [mixed("", parts, preferred(inner, price)).at(rows) for price in prices]
        best = best_option(played, case.rivals[rows], cell.groups[rows], case.terms)
        return None if best is None else prices[best]

    fallback = pool.index(case.column(case.choice)) if case.choice and case.column(case.choice) in pool else 0
    chosen = np.full(len(cell.items), fallback)
    for fold, trained in enumerate(taught):
        price = learn(fold_of != fold, trained.inner)
        if price is not None:
            chosen[fold_of == fold] = preferred(chances, price)[fold_of == fold]
    price = learn(np.ones(len(cell.items), dtype=bool), chances)
    if price is None:
        return case.refuse("per_request", name, "no way to weigh chances keeps the limits and the margin.")
    names = [cell.candidates[index] for index in pool]
    played = mixed(f"per request: {', '.join(names)}", parts, chosen)
    verdict = case.verdict(played)
    router = None
    if verdict.offered:
        rows = np.ones(len(cell.items), dtype=bool)
        final = per_request.train(prompts, targets, cell.groups, rows, case.seed)
        router = per_request.router_of(prompts, final, names, price, rows, cell.prompt_variant)
    shares = ", ".join(f"{each} {np.mean(chosen == at):.0%}" for at, each in enumerate(names))
    return Option(
        "per_request",
        played.name,
        played,
        verdict.offered,
        f"{shares}; {verdict.reason}",
        case.clusters,
        names,
        verdict,
        router=router,
        chances=chances,
    )
