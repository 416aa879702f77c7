"""What must be known of a run stands above its dashboard, its page and its text."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import planted
import pytest
from conftest import item, write_evalset, write_models

import workbench as wb
from workbench.errors import InputError
from workbench.runner import Plan, Run
from workbench.views import show
from workbench.views.opening import opening, opening_html

SCRIPT = "<script>alert(1)</script>"
ELSEWHERE = "MLflow: not logged to http://mlflow.example (refused). It was logged to mlruns instead."


def made(status: Any = "complete", problems: list[str] | None = None, rows: int = 80, **plan: Any) -> Run:
    """A run of planted outcomes."""
    models: Any = planted.models(a="local", b="local")
    run = Run("r", Plan({}, models, **plan), status, problems or [], 0, 0, Path(), datetime.now(UTC), rows, {}, "")
    table = planted.outcomes({"a": planted.right(0.9, 40), "b": planted.right(0.5, 40)})
    run.__dict__["outcomes"] = table if rows else table[:0]
    return run


def test_a_run_in_order_has_nothing_to_tell() -> None:
    assert opening(made()) == [] and opening(None) == [] and opening_html(made()) == ""


def test_what_is_partial_missing_or_logged_elsewhere_is_told() -> None:
    questions: dict[str, Any] = {"a": range(40), "b": range(100)}
    run = made("interrupted", [ELSEWHERE], skipped={"k": "k: its key is not set."}, questions=questions)
    run.plan.notes.append("note: colors has no variant to ask b as terse: not asked there")
    first, *others = opening(run)
    assert first.startswith("This run was interrupted, so it is partial: 80 of 140 outcomes are there.")
    assert others == [
        "Not asked: k: its key is not set.",
        "Note: colors has no variant to ask b as terse: not asked there",
        f"Problem: {ELSEWHERE}",
    ]
    assert opening(made("failed", ["b: dead"])) == [
        "This run failed: not every model could be asked, or one answered nothing.",
        "Problem: b: dead",
    ]


def test_it_stands_above_the_dashboard_and_above_the_page_and_is_escaped(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = made("failed", [f"{SCRIPT}: dead", ELSEWHERE])
    show(run)  # in a terminal
    assert capsys.readouterr().out.startswith("This run failed: ")
    monkeypatch.setattr("workbench.views.notebook.in_notebook", lambda: True)
    for live in (False, True):
        seen: list[Any] = []
        monkeypatch.setattr("IPython.display.display", lambda *things, seen=seen, **_: seen.extend(things))
        show(run, live=live)
        page = seen[0].data
        assert "<b>This run failed: " in page.replace("strong", "b") and ELSEWHERE in page
        assert SCRIPT not in page and "&lt;script&gt;" in page


def test_without_any_outcome_it_is_told_why() -> None:
    with pytest.raises(InputError, match=r"no outcomes to show(.|\n)*\nProblem: a: its weights are damaged"):
        show(made("failed", ["a: its weights are damaged"], rows=0))


def test_a_model_whose_key_is_not_set_is_named_where_the_run_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_evalset(
        project, "colors", [item("1", "red"), item("2", "blue")], rules={"rules": [{"pattern": "red", "answer": "red"}]}
    )
    entry = {"engine": "openai", "base_url": "http://127.0.0.1:9/v1", "model": "k", "zone": "local"}
    write_models(project, rules={"engine": "rules"}, keyed={**entry, "api_key_env": "NOT_SET_ANYWHERE"})
    show(wb.run(wb.load_evalsets("evalsets"), wb.load_models("models.yaml"), track=False, progress=False))
    said = capsys.readouterr().out
    assert said.startswith("Not asked: keyed: its key is not set. Set the environment variable NOT_SET_ANYWHERE.")
