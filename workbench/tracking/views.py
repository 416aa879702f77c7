"""A saved view of MLflow's runs page: which model for which task, with nothing to click.

The page reads the experiment tag `mlflow.sharedViewState.<key>` when its address says `viewStateShareKey=<key>`.
What is in there is not documented (read from MLflow 3.17's page): only `tracking` writes it, and a page that knows
another form says that the view is invalid and shows the experiment.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

import pandas as pd

TAG = "mlflow.sharedViewState."
COMPARISON = "workbench.comparison"  # tag of a candidate's run: the id of the comparison's own run
_NAME, _CREATED = "attributes.`Run Name`", "runDateAndNestInfo"  # what the page calls its first two columns
# Three tasks are seen whole on 1440 pixels beside the assistant, which MLflow opens at a first visit.
_SCORE_PX, _FIRST_PX = 155, {_NAME: 190, _CREATED: 84}


def view_tag(name: str, parent: str, scores: pd.DataFrame, sections: Sequence[str], at_ms: int) -> str:
    """The tag's text: a view, by name, of the candidates of a comparison.

    Args:
        parent: the comparison's own run.
        scores: a row a candidate, a column a task; missing where a candidate was not asked.
        sections: of charts, in the order in which they shall come: that of the scores, then prefixes of metrics.
    """
    state = json.dumps(_state(parent, scores, sections))
    packed = "deflate;" + base64.b64encode(zlib.compress(state.encode(), 9)).decode()  # a tag holds 20,000 letters
    return json.dumps({"name": name, "createdAt": at_ms, "updatedAt": at_ms, "state": packed})


def _state(parent: str, scores: pd.DataFrame, sections: Sequence[str]) -> dict[str, Any]:
    tasks = [str(task) for task in scores.columns]  # the score of a task has its bare name
    columns = [f"metrics.`{task}`" for task in tasks]
    plots = _plots(scores)
    bars = [_bar(task, sections[0]) for task in tasks]
    return {
        "searchFilter": f"tags.`{COMPARISON}` = '{parent}'",
        "orderByKey": columns[0],
        "orderByAsc": False,
        "selectedColumns": columns,
        "columnOrder": [*_FIRST_PX, *columns],
        "columnWidths": _FIRST_PX | dict.fromkeys(columns, _SCORE_PX),
        "runsHiddenMode": "SHOW_ALL",
        "runListHidden": True,  # in the charts only: their axes have room for names then
        "compareRunCharts": [plot for _, plot in plots] + bars,
        "compareRunSections": [_section(plot["metricSectionId"], title) for title, plot in plots]
        + [_section(prefix, prefix) for prefix in sections],
        "isAccordionReordered": True,  # else the page sorts the sections by name
    }


def _plots(scores: pd.DataFrame) -> list[tuple[str, dict[str, Any]]]:
    """Parallel coordinates, each with its title: the page leaves out whoever misses a value of any axis.

    So there is one plot for each set of tasks that a candidate was asked, the widest first: who is missing in one,
    and is told so by the title, is in another.
    """
    asked = scores.notna()
    sets = sorted({tuple(map(str, scores.columns[row])) for row in asked.to_numpy()}, key=lambda x: (-len(x), x))
    plots = []
    for index, tasks in enumerate(tasks for tasks in sets if tasks):
        left_out = [str(name) for name in scores.index[~asked[list(tasks)].all(axis=1)]]
        title = "Which model for which task" if len(tasks) == scores.shape[1] else "Which model"
        title += "" if len(tasks) == scores.shape[1] else f", {len(tasks)} of {scores.shape[1]} tasks"
        if left_out:  # the page cuts a title after some 40 letters
            title += f", without {left_out[0] if len(left_out) == 1 else f'{len(left_out)} candidates'}"
        section = f"workbench-{index}"
        plot = {"selectedParams": ["candidate"], "selectedMetrics": list(tasks)}
        plots.append((title, _chart("PARALLEL", section, section) | plot | {"showAllRuns": False}))
    return plots


def _bar(metric: str, section: str) -> dict[str, Any]:
    return _chart("BAR", f"workbench-{metric}", section) | {"metricKey": metric, "isGenerated": True}


def _chart(type_: str, uuid: str, section: str) -> dict[str, Any]:
    return {"type": type_, "uuid": uuid, "metricSectionId": section, "deleted": False, "isGenerated": False}


def _section(uuid: str, name: str) -> dict[str, Any]:
    """A section with one chart a line: beside another, a chart's title and legend are cut."""
    return {"uuid": uuid, "name": name, "display": True, "isReordered": False, "columns": 1, "cardHeight": 320}
