"""From figures to a verdict and to words: free, costs, or cannot be told. No difference found is not "no difference".

verdict(row)                       # 'free'
sentence(rows)                     # 'On 108 items: w8a8 is free (…); w4a16 costs 4.0 points (1.2 to 6.9).'
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from workbench.scores import MIN_COVERAGE
from workbench.words import counted

Row = Mapping[str, Any]
Verdict = Literal["free", "costs", "score only", "undecided", "not compared"]


def verdict(row: Row) -> Verdict:
    """What the evidence carries.

    `free`: the score is not worse by more than the margin, and neither are format failures. `costs`: it is worse, and
    how much it is worse may be more than the margin; or formats break more often. `score only`: within the margin by
    score, with formats not known. `not compared`: held to another output format, or too few shared items with answers.
    `undecided` is all else. Where it is not known who was held to a format, the sentence says so beside the verdict.
    """
    if row["mode"] == "another" or not row["coverage"] >= MIN_COVERAGE:
        return "not compared"
    margin = row["margin"]
    within = row["lo"] >= -margin
    if (row["hi"] < 0 and not within) or row["format_lo"] > 0:
        return "costs"
    if not within:
        return "undecided"
    if math.isnan(row["format_hi"]):
        return "score only"
    return "free" if row["format_hi"] <= margin else "undecided"


def sentence(rows: Iterable[Row], apart: Mapping[str, list[Row]] | None = None) -> str:
    """One sentence on all candidates.

    Args:
        rows: one a candidate, with its verdict.
        apart: by candidate, its rows of single tasks whose verdict is `costs` where the whole's is not.
    """
    parts = [f"{_name(row)} {_said(row)}{_except((apart or {}).get(row['candidate'], []))}" for row in rows]
    if not parts:
        return "There is no candidate to compare with the reference."
    return f"{'; '.join(parts)}."


def _name(row: Row) -> str:
    """A candidate, with what else differs from the reference than the quantization."""
    return f"{row['candidate']} ({row['compares']})" if row["compares"].startswith("engine") else row["candidate"]


def _said(row: Row) -> str:
    kind = row["verdict"]
    if kind == "not compared":
        return f"is not compared ({_why_not(row)})"
    more = "".join(f", {extra}" for extra in _beside(row))
    if kind == "free":
        lower = f"{_points(-row['difference'])} points lower, " if row["hi"] < 0 else ""
        return f"is free ({lower}at most {_points(max(-row['lo'], 0.0))} points worse; n = {row['n']}){more}"
    if kind == "score only":
        return f"is within {_points(row['margin'])} points by score, its format failures are not known{more}"
    if kind == "costs":
        return f"costs {_cost(row)} on {counted(row['n'], 'item')}{more}"
    return f"cannot be told on {counted(row['n'], 'item')} ({_needs(row)}){more}"


def _why_not(row: Row) -> str:
    if row["mode"] == "another":
        return "only one of it and the reference was held to a JSON schema"
    left_out = f"; {_left_out(row)}" if row["lost"] else ""
    return f"it shares {counted(row['n'], 'item')} with the reference, {row['coverage']:.0%}{left_out}"


def _left_out(row: Row) -> str:
    return counted(row["lost"], "lost to errors is left out", "lost to errors are left out")


def _cost(row: Row) -> str:
    costs = []
    if row["hi"] < 0:
        costs.append(f"{_points(-row['difference'])} points ({_points(-row['hi'])} to {_points(-row['lo'])})")
    if row["format_lo"] > 0:
        between = f"{_points(row['format_lo'])} to {_points(row['format_hi'])}"
        costs.append(f"{_points(row['format_difference'])} % more format failures ({between})")
    return " and ".join(costs)


def _beside(row: Row) -> list[str]:
    """What comes on top of the score: lost items, an unknown setting, retries, answers that change beyond the noise."""
    found = [_left_out(row)] if row["lost"] else []
    if row["mode"] == "unknown":
        found.append("if both were held to the same output format, which is not known")
    if row["retry_lo"] > 0:
        between = f"{_points(row['retry_lo'])} to {_points(row['retry_hi'])}"
        found.append(f"retries {_points(row['retry_difference'])} % more of the items ({between})")
    if row["flips_beyond_lo"] > 0:
        between = f"{_points(row['flips_beyond_lo'])} to {_points(row['flips_beyond_hi'])}"
        found.append(f"flips {_points(row['flips_beyond'])} % of the items beyond the noise ({between})")
    return found


def _needs(row: Row) -> str:
    between = f"{_signed(row['difference'])} points, {_signed(row['lo'])} to {_signed(row['hi'])}"
    needed = row["items_needed"]
    many = f"needs about {needed:,.0f}" if math.isfinite(needed) and needed > row["n"] else "needs more"
    return f"{between}; {many}"


def _except(rows: list[Row]) -> str:
    return "".join(f"; but on {row['task']} it costs {_cost(row)}" for row in rows)


def _points(share: float) -> str:
    """A share in points: hundredths, with one digit."""
    return f"{100 * share:.1f}"


def _signed(share: float) -> str:
    return f"{100 * share:+.1f}".replace("-", "−")
