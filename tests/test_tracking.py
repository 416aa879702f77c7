"""The saved view of MLflow's runs page: every candidate is in a plot, and the tag is small enough to be stored."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

import pandas as pd

from workbench._mlflow_views import view_tag


def state(scores: pd.DataFrame) -> Any:
    tag = json.loads(view_tag("name", "parent-1", scores, ["score_by_task", "cost"], 5))
    return json.loads(zlib.decompress(base64.b64decode(tag["state"].removeprefix("deflate;"))))


def test_a_candidate_that_was_not_asked_everything_has_a_plot_that_shows_it() -> None:
    view = state(pd.DataFrame({"a": [1.0, 0.5], "b": [0.2, None]}, index=["m", "rules"]))
    plots = [chart["selectedMetrics"] for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert plots == [["score_by_task/a", "score_by_task/b"], ["score_by_task/a"]]
    titles = [section["name"] for section in view["compareRunSections"]]
    assert titles[:2] == ["Which model for which task, without rules", "Which model, 1 of 2 tasks"]
    assert "parent-1" in view["searchFilter"]


def test_a_large_comparison_still_fits_into_a_tag() -> None:
    scores = pd.DataFrame({f"a_task_{i}": [0.1] * 30 for i in range(40)}, index=[f"model-{i}" for i in range(30)])
    assert len(view_tag("name", "parent", scores, ["score_by_task"], 1)) < 20_000
    assert sum(chart["type"] == "PARALLEL" for chart in state(scores)["compareRunCharts"]) == 1
