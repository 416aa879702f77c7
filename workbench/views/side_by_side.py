"""What the candidates wrote, next to each other, and where they disagree. Model output is escaped: it stays text.

disagreements(run.outcomes, "support_triage", "rules", "gemma3-q4#few_shot")
side_by_side(run, "support_triage", "st-001")
"""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import InputError
from workbench.privacy import redact, sensitivity_of
from workbench.scores import prepare
from workbench.views.tables import page

if TYPE_CHECKING:
    from IPython.display import HTML

    from workbench.runner import Run


def disagreements(outcomes: pd.DataFrame, task: str, a: str, b: str) -> pd.DataFrame:
    """The items of a task on which two candidates score differently, the largest difference first.

    Returns:
        Columns `item_id`, the scores of `a` and of `b`, `difference`, and their outputs, redacted where restricted.

    Raises:
        InputError: the task or a candidate is not in the outcomes.
    """
    table = prepare(outcomes)
    table = table[(table["task"] == task) & (table["repeat"] == 0)].set_index("item_id")
    sides = []
    for name in (a, b):
        rows = table[table["candidate"] == name]
        if rows.empty:
            raise InputError(f"there are no outcomes of '{name}' in task '{task}'.")
        sides.append(rows)
    left, right = sides
    joined = left["points"].to_frame("points_a").join(right["points"].to_frame("points_b"), how="inner")
    joined["difference"] = joined["points_a"] - joined["points_b"]
    joined = joined[joined["difference"] != 0]
    joined = joined.reindex(joined["difference"].abs().sort_values(ascending=False, kind="stable").index)
    for name, rows in ((a, left), (b, right)):
        joined[f"output {name}"] = [_shown(rows.loc[item]) for item in joined.index]
    renamed = joined.rename(columns={"points_a": f"score {a}", "points_b": f"score {b}"})
    return renamed.reset_index()


def telling_item(outcomes: pd.DataFrame, task: str, a: str, b: str) -> str:
    """The item on which two candidates differ most, one that may be shown before a restricted one."""
    table = prepare(outcomes)
    own = table[table["task"] == task].drop_duplicates("item_id").set_index("item_id")["class"]
    apart = list(disagreements(outcomes, task, a, b)["item_id"])
    ranked = [*apart, *own.index]
    return str(next((item for item in ranked if own[item] == "open"), ranked[0]))


def _shown(row: pd.Series[Any], reveal: bool = False) -> str:
    output = row.get("output")
    if not isinstance(output, str):
        return f"({row.get('error_class') or 'no answer'})"
    return output if reveal else str(redact(output, row.get("sensitivity")))


def side_by_side(run: Run, task: str, item_id: str, reveal: bool = False) -> HTML:
    """One item: its inputs, the key, and what each candidate wrote.

    Args:
        reveal: show the text of a restricted item too. Nothing of it is stored by the workbench, but a notebook that
            is saved keeps what it shows.

    Raises:
        InputError: there is no such task or item.
    """
    from IPython.display import HTML

    if task not in run.tasks:
        raise InputError(f"there is no task '{task}' in this run. There are: {', '.join(run.tasks)}.")
    item = next((item for item in run.tasks[task].items if item.id == item_id), None)
    if item is None:
        raise InputError(f"there is no item '{item_id}' among those of '{task}' that were asked.")
    hidden = sensitivity_of(item.sensitivity) == "restricted" and not reveal

    def shown(value: Any) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
        return escape(str(redact(text, "restricted")) if hidden else text)

    rows = "".join(
        f"<tr><td class=t>{escape(name)}</td><td class=w><pre>{shown(value)}</pre></td></tr>"
        for name, value in [*item.inputs.items(), ("expected", item.expectations)]
    )
    table = prepare(run.outcomes)
    own = table[(table["task"] == task) & (table["item_id"] == item_id)].sort_values("points", ascending=False)
    for _, row in own.iterrows():
        verdict = f"{row['points']:.2f}{'' if row['format_ok'] else ', format broken'}"
        text = escape(_shown(row, reveal))
        rows += f"<tr><td class=t>{escape(row['candidate'])}<br>{verdict}</td><td class=w><pre>{text}</pre></td></tr>"
    caption = f"{escape(task)}, item {escape(item_id)} ({sensitivity_of(item.sensitivity)})"
    return HTML(page(f"<table><caption>{caption}</caption>{rows}</table>"))
