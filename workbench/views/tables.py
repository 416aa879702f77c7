"""Tables as plain HTML: they survive nbconvert, GitHub and a page without a kernel. All text is escaped.

leaderboard_html(board, policy)
routes_html(policy)
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.intervals import FEW_CLUSTERS
from workbench.outcomes import split_candidate
from workbench.scores import MIN_COVERAGE
from workbench.views.inline import bar, inlined
from workbench.words import counted

if TYPE_CHECKING:
    from IPython.display import HTML

    from workbench.catalog import Models
    from workbench.routing import Policy

RANKS = (
    "Ranks are sets: those that a candidate may have at 95 % confidence, all candidates compared at once; one that may "
    "have rank 1 cannot be told from the best. Behind: the best of all is better by less than that, whichever it is."
)
FORMATS = "Format: the share in the right format, of the answers that were given."


def usd(value: float) -> str:
    """A cost for people: four significant digits are two too many."""
    if math.isnan(value):
        return "unknown"
    if math.isinf(value):
        return "none accepted"
    return "free" if value == 0 else f"${value:.2g}" if value < 0.01 else f"${value:.3f}"


def seconds(value: float) -> str:
    """A time for people."""
    if math.isnan(value):
        return "unknown"
    return "<0.001 s" if value < 0.001 else f"{value:.3f} s" if value < 0.1 else f"{value:.2f} s"


def score_of(row: Mapping[Any, Any] | pd.Series[Any]) -> str:
    """A score for people; unknown where no answer has one."""
    return "unknown" if math.isnan(row["score"]) else f"{row['score']:.3f}"


def interval_of(row: Mapping[Any, Any] | pd.Series[Any], joined: str = " – ", digits: int = 2) -> str:
    """A score's interval; empty where no answer has a score."""
    lo, hi = row["score_lo"], row["score_hi"]
    return "" if math.isnan(lo) else f"{lo:.{digits}f}{joined}{hi:.{digits}f}"


def page(content: str) -> str:
    """A piece of HTML with the views' style, which stands on the elements themselves."""
    return f'<div class="wb" style="line-height:1.4">{inlined(content)}</div>'


def document(title: str, content: str) -> str:
    """A piece of HTML as a file of its own, which loads nothing."""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f'<title>{escape(title)}</title></head><body style="font-family:sans-serif">{content}</body></html>\n'
    )


def leaderboard_html(board: pd.DataFrame, policy: Policy | None = None, models: Models | None = None) -> str:
    """The leaderboard, a table a task.

    Args:
        policy: chosen candidates are marked with the classes that they are chosen for.
        models: for a column of zones.
    """
    tables = []
    for task, rows in board.groupby("task", sort=True):
        body = "".join(_row(row, marks(policy, str(task), row["candidate"]), models) for _, row in rows.iterrows())
        tables.append(
            f"<table><caption>{escape(str(task))}: {'; '.join([size(board, str(task)), *cautions(rows)])}</caption>"
            "<tr><th class=t>candidate</th><th class=t>chosen for</th><th>n</th><th>score</th>"
            "<th>95 % interval</th><th></th><th>rank</th><th>cost/accepted</th><th>p50</th><th>p95</th>"
            f"{'' if models is None else '<th class=t>zone</th>'}<th>accepted</th><th>format</th>"
            f"<th>behind (detects)</th></tr>{body}</table>"
        )
    note = f"{RANKS} In brackets: the difference that so many items can detect. {FORMATS}"
    return page("".join(tables) + f"<p>{note}</p>")


def size(board: pd.DataFrame, task: str) -> str:
    """How many items a task's figures are of: all, a sample, or those that are left (withheld, or not answered)."""
    rows = board[board["task"] == task]
    n, of = int(rows["n"].max()), int(rows["of"].max())
    taken = board.attrs.get("sample", {}).get(task, {}).get("n", of)
    if n >= of:
        return counted(n, "item")
    if taken >= of:
        return f"{n} of {counted(of, 'item')}"
    sample = f"a stratified sample of {taken} of {counted(of, 'item')}"
    return sample if n >= taken else f"{n} of {sample}"


def cautions(rows: pd.DataFrame) -> list[str]:
    """A warning where a task's items come in too few clusters for their intervals to be trusted."""
    few = rows["clusters"].min()
    if not few < FEW_CLUSTERS:
        return []
    return [f"only {counted(int(few), 'cluster')}: too few for intervals to be trusted"]


def marks(policy: Policy | None, task: str, candidate: str) -> str:
    if policy is None:
        return ""
    found = [
        f"{route.class_} ({route.status})"
        for route in policy.routes
        if route.task == task and route.chain and route.chain[0].candidate == candidate
    ]
    return ", ".join(found)


def asked(row: pd.Series[Any]) -> str:
    """How many items a candidate was asked; one that misses too many to be compared is marked."""
    return f"{row['n']}" if row["coverage"] >= MIN_COVERAGE else f"only {row['n']}"


def ranked(row: pd.Series[Any]) -> str:
    """The ranks that a candidate may have, and whether it is tied with the best."""
    return f"{row['rank']}, tied" if row["tied"] else str(row["rank"])


def behind(row: pd.Series[Any]) -> str:
    """Under what the candidate is behind the best of all."""
    return "" if math.isnan(row["behind_best_hi"]) else f"< {row['behind_best_hi']:.3f}"


def detects(row: pd.Series[Any]) -> str:
    """What difference to the best the items detect."""
    return f"detects {row['detectable']:.3f}" if row["detectable"] < 1 else ""  # 1 and NaN: none


def _behind(row: pd.Series[Any]) -> str:
    detected = f" ({row['detectable']:.3f})" if row["detectable"] < 1 else ""
    return f"{behind(row)}{detected}" if behind(row) else ""


def _title(row: pd.Series[Any], name: str) -> str:
    """The interval of a time, shown where the pointer rests."""
    lo, hi = row[f"{name}_lo"], row[f"{name}_hi"]
    if math.isnan(lo):
        return ""
    return f' title="95 %: {seconds(lo)} to {"no bound" if math.isinf(hi) else seconds(hi)}"'


def _row(row: pd.Series[Any], mark: str, models: Models | None) -> str:
    cells = [
        f"<td class=t>{escape(row['candidate'])}</td>",
        f"<td class=t>{escape(mark).replace(', ', '<br>')}</td>",
        f"<td>{asked(row)}</td>",
        f"<td>{score_of(row)}</td>",
        f"<td>{interval_of(row)}</td>",
        f"<td>{'' if math.isnan(row['score']) else bar(row['score_lo'], row['score'], row['score_hi'])}</td>",
        f"<td>{escape(ranked(row))}</td>",
        f"<td>{usd(row['cost_per_accepted_usd'])}</td>",
        f"<td{_title(row, 'latency_p50_s')}>{seconds(row['latency_p50_s'])}</td>",
        f"<td{_title(row, 'latency_p95_s')}>{seconds(row['latency_p95_s'])}</td>",
    ]
    if models is not None:
        cells.append(f"<td class=t>{models.zone_of(split_candidate(row['candidate'])[0])}</td>")
    cells += [
        f"<td>{row['accepted']:.0%}</td>" if not math.isnan(row["accepted"]) else "<td>unknown</td>",
        f"<td>{row['format_ok']:.0%}</td>" if not math.isnan(row["format_ok"]) else "<td>unknown</td>",
        f"<td>{escape(_behind(row))}</td>",
    ]
    return f"<tr{' class=on' if mark else ''}>{''.join(cells)}</tr>"


def routes_html(policy: Policy) -> str:
    """The routes, their chains and why."""
    rows = "".join(
        f"<tr><td class=t>{escape(route.task)}</td><td class=t>{route.class_}</td>"
        f"<td class=w>{escape(route.way)}</td>"
        f"<td class=t>{route.status}</td><td class=w>{escape(route.reason)}</td></tr>"
        for route in policy.routes
    )
    head = f"<tr>{''.join(f'<th class=t>{name}</th>' for name in ('task', 'class', 'chain', 'status', 'why'))}</tr>"
    return page(f"<table><caption>routes</caption>{head}{rows}</table>")


def routes(policy: Policy) -> HTML:
    """The routes, to be shown by a cell."""
    from IPython.display import HTML

    return HTML(routes_html(policy))


def rejected(policy: Policy) -> pd.DataFrame:
    """The candidates that were not chosen, and why: columns `task`, `class`, `candidate`, `reason`."""
    rows = [
        {"task": route.task, "class": route.class_, "candidate": candidate, "reason": reason}
        for route in policy.routes
        for candidate, reason in route.evidence.rejected.items()
    ]
    return pd.DataFrame(rows, columns=["task", "class", "candidate", "reason"])


def leaderboard_text(board: pd.DataFrame, policy: Policy | None = None) -> str:
    """The leaderboard for a terminal."""
    lines = []
    for task, rows in board.groupby("task", sort=True):
        lines.append(f"{task}: {'; '.join([size(board, str(task)), *cautions(rows)])}")
        lines.append(
            f"  {'candidate':24} {'n':>7} {'score':>6} {'95 % interval':>14}  {'rank':>5} {'behind':>7} "
            f"{'accepted':>8} {'format':>6} {'cost/accepted':>13} {'p50':>9} {'p95':>9}"
        )
        for _, row in rows.iterrows():
            mark = marks(policy, str(task), row["candidate"])
            interval = interval_of(row)
            accepted = "unknown" if math.isnan(row["accepted"]) else f"{row['accepted']:.0%}"
            below = "" if math.isnan(row["behind_best_hi"]) else f"< {row['behind_best_hi']:.2f}"
            kept = "unknown" if math.isnan(row["format_ok"]) else f"{row['format_ok']:.0%}"
            lines.append(
                f"  {row['candidate']:24} {asked(row):>7} {score_of(row):>6} {interval:>14}  "
                f"{row['rank']:>5} {below:>7} {accepted:>8} "
                f"{kept:>6} {usd(row['cost_per_accepted_usd']):>13} "
                f"{seconds(row['latency_p50_s']):>9} {seconds(row['latency_p95_s']):>9}{'  ← ' + mark if mark else ''}"
            )
        lines.append("")
    return "\n".join([*lines, *textwrap.wrap(f"{RANKS} {FORMATS}", 120)])


_ALWAYS = "To give always the commonest class would be right on at least"


def set_figures_html(figures: pd.DataFrame) -> str:
    """Macro-F1 and balanced accuracy of label fields, a table a task; empty where there are none."""
    head = "<tr><th class=t>field</th><th class=t>candidate</th><th>macro-F1</th><th>balanced accuracy</th></tr>"
    tables = []
    for task, rows in figures.groupby("task", sort=True):
        body, shares = "", rows.groupby("field", sort=True)["commonest"].first()
        for (field, candidate), own in rows.groupby(["field", "candidate"], sort=True):
            said = _said(own)
            body += f"<tr><td class=t>{escape(str(field))}</td><td class=t>{escape(str(candidate))}</td>"
            body += f"<td>{said['macro_f1']}</td><td>{said['balanced_accuracy']}</td></tr>"
        caption = f"<caption>{escape(str(task))}: labels over the whole set, 95 % intervals</caption>"
        always = "; ".join(f"{escape(str(field))} {share:.2f}" for field, share in shares.items())
        tables.append(f"<table>{caption}{head}{body}</table><p>{_ALWAYS}: {always}.</p>")
    return page("".join(tables)) if tables else ""


def _said(rows: pd.DataFrame) -> dict[str, str]:
    """Each figure of a candidate's label field, with its interval."""
    named = zip(rows["figure"], rows["value"], rows["lo"], rows["hi"], strict=True)
    return {str(figure): f"{value:.2f} ({lo:.2f} – {hi:.2f})" for figure, value, lo, hi in named}


def set_figures_text(figures: pd.DataFrame) -> str:
    """The same for a terminal."""
    lines = []
    for (task, field), rows in figures.groupby(["task", "field"], sort=True):
        lines.append(f"{task}, {field}: over the whole set (95 % intervals)")
        lines.append(f"  {_ALWAYS} {rows['commonest'].iloc[0]:.2f}")
        for candidate, own in rows.groupby("candidate", sort=True):
            said = _said(own)
            told = f"macro-F1 {said['macro_f1']}   balanced accuracy {said['balanced_accuracy']}"
            lines.append(f"  {candidate!s:24} {told}")
    return "\n".join(lines)
