"""What an audit says: findings, each with its items and the mend, and the figures of the set.

report = audit(evalset)
report.findings[0].items        # ('st-012', 'st-047')
print(report)                   # a notebook shows tables and plots
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from workbench.power import FEWEST
from workbench.words import counted

Level = Literal["error", "warning", "note"]
LEVELS: tuple[Level, ...] = get_args(Level)
# What the command's options are in a notebook.
_IN_NOTEBOOKS = {
    "--fix": "wb.audit.apply_fixes(evalset, report)",
    "--models": "wb.audit(evalset, models=models)",
    "--outcomes": "wb.audit(evalset, outcomes)",
}
_IDS_SHOWN = 8
_LABELS_SHOWN = 24


@dataclass(frozen=True)
class Fix:
    """What `--fix` does about a finding: drop items or train items, or mark items as restricted."""

    drop: tuple[str, ...] = ()
    restrict: tuple[str, ...] = ()


@dataclass(frozen=True)
class Finding:
    """Something about the eval set that its user should know.

    Attributes:
        check: the check's name.
        level: `error`: figures made from the set would be wrong, or its text be in danger; `warning`: they may
            mislead; `note`: worth a look, no fault.
        what: what was found, without the items' text.
        mend: what to do.
        items: the ids of the items it is about.
        groups: those ids that belong together, where it is about items that are alike.
        fix: what `--fix` does about it.
        kinds: those ids by what they hold, where that is of several kinds.
    """

    check: str
    level: Level
    what: str
    mend: str
    items: tuple[str, ...] = ()
    groups: tuple[tuple[str, ...], ...] = ()
    fix: Fix | None = None
    kinds: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @property
    def ids(self) -> str:
        """The ids for people: the first few, and how many more."""
        return self.ids_up_to(_IDS_SHOWN)

    def ids_up_to(self, at_most: int) -> str:
        """The ids for people, so many in a row."""
        if self.kinds:
            return "; ".join(f"{kind}: {shortened(names, at_most=at_most)}" for kind, names in self.kinds)
        groups = [shortened(group, " ~ ", at_most) for group in self.groups]
        return shortened(groups or self.items, at_most=at_most)

    def line(self, ids_shown: int = _IDS_SHOWN) -> str:
        """The finding in a line."""
        ids = f": {self.ids_up_to(ids_shown)}" if self.items else ""
        return f"{self.level} [{self.check}] {self.what}{ids}. {self.mend}."

    def __str__(self) -> str:
        return self.line()


def shortened(names: Sequence[str], separator: str = ", ", at_most: int = _IDS_SHOWN) -> str:
    """Names for people: the first few, and how many more."""
    more = f" and {len(names) - at_most} more" if len(names) > at_most else ""
    return separator.join(names[:at_most]) + more


def in_notebook(text: str) -> str:
    """What an audit says, with calls in place of the command's options."""
    for option, call in _IN_NOTEBOOKS.items():
        text = text.replace(option, call)
    return text


def count_of(items: Sequence[object], what: str = "item") -> str:
    """`1 item`, `3 items`."""
    return counted(len(items), what, spec=",")


@dataclass(frozen=True)
class Power:
    """What difference between two candidates the set can detect.

    Attributes:
        n: items.
        clusters: groups of items that stand or fall together (an item without a cluster is one).
        effective_n: items that are worth as much alone; n where no items share a cluster.
        correlation: between items of a cluster, as measured; None where outcomes do not tell, and the worst is taken.
        discordance: the mean squared difference of two candidates' scores on an item; for scores of 0 and 1 the share
            of items on which they differ.
        step: how far the two scores of an item are apart where they differ; 1 for scores of 0 and 1.
        measured: whether discordance and step come from outcomes.
        detectable: the smallest difference in mean score that is detected with 80 % power at the one-sided 5 % level;
            1 where there are too few items for any.
        needed: items needed for a wanted difference, by difference.
    """

    n: int
    clusters: int
    effective_n: float
    correlation: float | None
    discordance: float
    step: float
    measured: bool
    detectable: float
    needed: dict[float, int]

    @property
    def detects(self) -> bool:
        """Whether there is a difference that it detects."""
        return self.detectable < 1


@dataclass
class Audit:
    """How sound an eval set is.

    Attributes:
        findings: in the order of the checks; they are shown by weight.
        power: what it can detect.
        labels: counts by label, for every label field.
        lengths: characters of each item's longest prompt.
        tokens: tokens of each item's longest prompt by model, where models were given.
        not_checked: checks that could not run, and what they need.
        sensitivities: items by sensitivity.
        restricted_kinds: restricted items, also of train.jsonl, by what personal data and secrets they seem to hold.
    """

    name: str
    findings: list[Finding]
    power: Power
    labels: dict[str, dict[str, int]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    tokens: dict[str, list[int]] = field(default_factory=dict)
    not_checked: list[str] = field(default_factory=list)
    sensitivities: dict[str, int] = field(default_factory=dict)
    restricted_kinds: dict[str, int] | None = None

    @property
    def by_weight(self) -> list[Finding]:
        """The findings, errors first and notes last."""
        return sorted(self.findings, key=lambda finding: LEVELS.index(finding.level))

    @property
    def faults(self) -> list[Finding]:
        """Findings that are more than a note."""
        return [finding for finding in self.findings if finding.level != "note"]

    @property
    def clean(self) -> bool:
        """Whether nothing is at fault."""
        return not self.faults

    def facts(self) -> list[str]:
        """The set in figures, a line each."""
        power, kinds = self.power, ", ".join(f"{count} {kind}" for kind, count in self.sensitivities.items())
        lines = [f"{count_of(range(power.n))} ({kinds})" if kinds else count_of(range(power.n))]
        if power.clusters < power.n:
            source = (
                "if the items of a cluster stand and fall together"
                if power.correlation is None
                else f"correlation {power.correlation:.2f} measured"
            )
            worth = counted(power.effective_n, "independent item", spec=".0f")
            lines.append(f"{counted(power.clusters, 'cluster')}: worth {worth}, {source}")
        if power.effective_n < FEWEST:
            lines.append(f"detects no difference: at the one-sided 5 % level that takes {FEWEST} independent items")
        elif not power.detects:
            lines.append(
                f"detects no difference: scores that lie between right and wrong take more than "
                f"{counted(power.effective_n, 'independent item', spec='.0f')}"
            )
        else:
            basis = "measured" if power.measured else "assumed"
            size = f"{power.discordance:.2f}" if power.discordance >= 0.01 else f"{power.discordance:.2g}"
            lines.append(
                f"detects a difference of {power.detectable:.3f} in mean score (80 % power, one-sided 5 %, "
                f"discordance {size} {basis})"
            )
        needs = ", ".join(f"{difference:g} takes {count:,}" for difference, count in power.needed.items())
        lines.append(f"items that a difference needs: {needs}")
        for name, counts in self.labels.items():
            each = [f"{label} {count}" for label, count in counts.items()]
            lines.append(f"{name}: {shortened(each, at_most=_LABELS_SHOWN)}")
        if self.restricted_kinds:
            held = ", ".join(f"{kind} ({count})" for kind, count in self.restricted_kinds.items())
            lines.append(f"restricted items seem to hold: {held}")
        elif self.restricted_kinds is not None and self.sensitivities.get("restricted"):
            lines.append("restricted items: no personal data or secrets were found in them")
        return lines

    @property
    def verdict(self) -> str:
        """`clean`, or how many findings there are."""
        return "clean" if self.clean else count_of(self.faults, "finding")

    def text(self, all_ids: bool = False) -> str:
        """The audit in lines, each finding with the first few of its items, or with all."""
        lines = [f"{self.name}: {self.verdict}", *(f"  {line}" for line in self.facts())]
        lines += [f"  {finding.line(sys.maxsize if all_ids else _IDS_SHOWN)}" for finding in self.by_weight]
        return "\n".join([*lines, *(f"  not checked: {line}" for line in self.not_checked)])

    def __str__(self) -> str:
        return self.text()

    def _repr_html_(self) -> str:
        from workbench.views.audit import audit_html

        return audit_html(self)
