"""What the candidates wrote, next to each other, and where they disagree. Model output is escaped: it stays text.

disagreements(run.outcomes, "support_triage", "rules", "gemma3-q4#few_shot")
side_by_side(run, "support_triage", "st-001")
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import pandas as pd

from workbench.errors import InputError
from workbench.privacy import redact
from workbench.scores import prepare
from workbench.views.answer import unseen
from workbench.views.items import Items, of_repeats
from workbench.views.shown import Shown
from workbench.views.tables import page

_SAME = 1e-9  # means over repeats that are no further apart are the same
OTHERWISE = "written otherwise, counts as right"

if TYPE_CHECKING:
    from IPython.display import HTML

    from workbench.evalset import EvalSet
    from workbench.runner import Run


def disagreements(outcomes: pd.DataFrame, task: str, a: str, b: str) -> pd.DataFrame:
    """The items of a task on which two candidates score differently, the largest difference first.

    Returns:
        Columns `item_id`, the scores of `a` and of `b` (means over repeats), `difference`, and their outputs, redacted
        where restricted; of repeats, the first that is right where the item counts as right, else a wrong one.

    Raises:
        InputError: the task or a candidate is not in the outcomes.
    """
    table = prepare(outcomes)
    table = table[table["task"] == task]
    for name in (a, b):
        if not (table["candidate"] == name).any():
            raise InputError(f"there are no outcomes of '{name}' in task '{task}'.")
    one = of_repeats(table).set_index("item_id")
    left, right = (one[one["candidate"] == name] for name in (a, b))
    means = table.groupby(["candidate", "item_id"], sort=False)["points"].mean()
    joined = pd.DataFrame({"points_a": means[a], "points_b": means[b]}).reindex(left.index).dropna()
    joined["difference"] = joined["points_a"] - joined["points_b"]
    joined = joined[joined["difference"].abs() > _SAME]
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


def _shown(row: pd.Series[Any]) -> str:
    why = unseen(row)
    return f"({why})" if why else str(redact(row["output"], row.get("sensitivity")))


def side_by_side(
    source: Run | pd.DataFrame,
    task: str,
    item_id: str,
    candidates: Sequence[str] | None = None,
    tasks: Mapping[str, EvalSet] | None = None,
) -> HTML:
    """One item: its inputs, the key, and what candidates wrote, with what differs marked.

    The text of a restricted item is not shown: a notebook that is saved keeps what it shows. The dashboard shows it
    (`wb.show(run, reveal=True)`).

    Args:
        source: a run, or an outcome table with the eval sets as `tasks`.
        candidates: whose answers; all of the task where left out, the best first.

    Raises:
        InputError: there is no such task, item or candidate.
    """
    from IPython.display import HTML

    items = Items(Shown.of(source, tasks=tasks))
    return HTML(item_html(items.look(task, item_id, candidates or items.candidates(task))))


def item_html(look: Mapping[str, Any]) -> str:
    """What `Items.look` found, as a page; all text is escaped."""
    rows = [(name, f"<pre>{escape(text)}</pre>") for name, text in look["inputs"]]
    if not rows and look["prompt"]:
        rows = [("prompt", f"<pre>{escape(look['prompt'])}</pre>")]
    if look["key"]:
        rows.append(("expected", f"<pre>{escape(look['key'])}</pre>"))
    body = "".join(f"<tr><td class=t>{escape(name)}</td><td class=w>{shown}</td></tr>" for name, shown in rows)
    for answer in look["answers"]:
        told = "<br>".join(escape(text) for text in (answer["name"], answer["verdict"], answer["figures"]) if text)
        said = f"<pre>{_marked(answer['parts'], answer['counts'])}</pre>{_folded(answer['prompt'])}"
        body += f"<tr><td class=t>{told}</td><td class=w>{said}</td></tr>"
    caption = f"{escape(look['task'])}, item {escape(look['item'])} ({look['class']})"
    caption += f"; marked is what differs from {escape(look['against'])}" if look["against"] else ""
    table = f"<table><caption>{caption}</caption>{body}</table>"
    return page(table + (_by_field(look) if look["fields"] else ""))


def _marked(parts: Sequence[Sequence[Any]], counts: bool) -> str:
    return "".join(_mark(text, counts) if differs else escape(text) for text, differs in parts)


def _mark(text: str, counts: bool) -> str:
    """What differs: strongly where it is wrong, or nothing says that it is right; weakly where it counts as right."""
    return f'<u title="{OTHERWISE}">{escape(text)}</u>' if counts else f"<mark>{escape(text)}</mark>"


def _folded(prompt: str) -> str:
    return f"<details><summary>prompt</summary><pre>{escape(prompt)}</pre></details>" if prompt else ""


def _by_field(look: Mapping[str, Any]) -> str:
    """The answers field by field; a cell that differs from the key is marked, or from the first answer.

    One that the scorer counts as right, in another spelling than the key's, is marked weakly.
    """
    key = ["key"] if look["keyed"] else []
    names = ["field", *key, *(answer["name"] for answer in look["answers"])]
    head = "".join(f"<th class=t>{escape(name)}</th>" for name in names)
    body = ""
    for row in look["fields"]:
        cells = zip(row["values"], row["differs"], row["counts"], strict=True)
        shown = "".join(
            f"<td class='w f'>{_mark(value, counts) if differs else escape(value)}</td>"
            for value, differs, counts in cells
        )
        body += f"<tr><td class=t>{escape(row['path'])}</td>{shown}</tr>"
    told = "by field; marked is what differs from the key; only underlined: " + OTHERWISE
    caption = told if key else "by field; marked is what differs from the first"
    return f"<table><caption>{caption}</caption><tr>{head}</tr>{body}</table>"
