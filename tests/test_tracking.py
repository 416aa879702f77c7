"""MLflow: how a run ended, and the saved view of its runs page."""

from __future__ import annotations

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import item, write_evalset, write_models
from test_runner import RULES

import workbench as wb
from workbench.runner import Run
from workbench.tracking import Store, store_uri, track_run
from workbench.tracking.runs import _note
from workbench.tracking.views import view_tag


def state(scores: pd.DataFrame) -> Any:
    tag = json.loads(view_tag("name", "parent-1", scores, ["score", "cost"], 5))
    return json.loads(zlib.decompress(base64.b64decode(tag["state"].removeprefix("deflate;"))))


def test_a_candidate_that_was_not_asked_everything_has_a_plot_that_shows_it() -> None:
    view = state(pd.DataFrame({"a": [1.0, 0.5], "b": [0.2, None]}, index=["m", "rules"]))
    plots = [chart["selectedMetrics"] for chart in view["compareRunCharts"] if chart["type"] == "PARALLEL"]
    assert plots == [["a", "b"], ["a"]]
    titles = [section["name"] for section in view["compareRunSections"]]
    assert titles[:2] == ["Which model for which task, without rules", "Which model, 1 of 2 tasks"]
    assert "parent-1" in view["searchFilter"]


def test_a_large_comparison_still_fits_into_a_tag() -> None:
    scores = pd.DataFrame({f"a_task_{i}": [0.1] * 30 for i in range(40)}, index=[f"model-{i}" for i in range(30)])
    assert len(view_tag("name", "parent", scores, ["score"], 1)) < 20_000
    assert sum(chart["type"] == "PARALLEL" for chart in state(scores)["compareRunCharts"]) == 1


@pytest.mark.parametrize(("status", "logged"), [("interrupted", "KILLED"), ("failed", "FAILED")])
def test_a_run_that_did_not_end_well_is_logged_as_such(project: Path, status: Any, logged: str) -> None:
    import mlflow

    write_evalset(project, "colors", [item("1", "brick")], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    done = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    done.status = status
    track_run(done)
    client = mlflow.MlflowClient(tracking_uri=store_uri())
    found = client.search_runs(client.get_experiment_by_name("workbench").experiment_id)
    assert [run.info.status for run in found] == [logged] * 2  # the parent and its child


def test_a_store_that_fails_midway_leaves_no_run_that_seems_to_go_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import mlflow

    def full(*_: Any) -> None:
        raise OSError("no space")

    write_evalset(project, "colors", [item("1", "brick")], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    monkeypatch.setattr("workbench.views.figures.save_figures", full)
    done = wb.run(wb.load_evalsets(), wb.load_models(), progress=False)
    assert any("not logged" in problem for problem in done.problems)
    assert (done.path / "outcomes.parquet").exists()
    client = mlflow.MlflowClient(tracking_uri=store_uri())
    found = client.search_runs(client.get_experiment_by_name("workbench").experiment_id)
    assert "RUNNING" not in {run.info.status for run in found}


def rules_run(project: Path, *things: str) -> Run:
    write_evalset(project, "colors", [item(str(number), thing) for number, thing in enumerate(things)], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    return wb.run(wb.load_evalsets(), wb.load_models(), progress=False)


def deleted_experiment() -> Any:
    """The store's client, after somebody has deleted the experiment there."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store_uri())
    client.delete_experiment(client.get_experiment_by_name("workbench").experiment_id)
    return client


def test_a_deleted_experiment_is_restored_and_that_is_said(project: Path) -> None:
    rules_run(project, "brick")
    client = deleted_experiment()
    later = rules_run(project, "brick", "sky")
    assert not later.problems and client.get_run(later.links["run_id"]).info.status == "FINISHED"
    said = [note for note in later.notes if "'workbench' was deleted: it was restored" in note]
    assert len(said) == 1 and said[0] in (later.path / "run.json").read_text()
    assert not any("deleted" in note for note in rules_run(project, "brick", "sky", "sea").notes)


def test_a_deleted_experiment_that_cannot_be_restored_is_told_with_its_mend(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise PermissionError("not yours")

    rules_run(project, "brick")
    deleted_experiment()
    monkeypatch.setattr("mlflow.MlflowClient.restore_experiment", refuse)
    (problem,) = rules_run(project, "brick", "sky").problems
    assert "not logged to" in problem and "could not be restored (PermissionError: not yours)" in problem
    assert "'mlflow experiments restore --experiment-id 1'" in problem


def test_a_folder_as_a_store_fails_for_one_reason_by_its_path_and_by_its_uri(tmp_path: Path) -> None:
    def reason(uri: str) -> str:
        with pytest.raises(Exception) as failed, Store(uri).open():
            pass
        return Store(uri).said(failed.value)

    folder = tmp_path / "store"
    assert reason(folder.as_uri()) == reason(str(folder))


def test_a_repeated_run_points_to_the_one_that_is_there_without_mlflow(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    write_evalset(project, "colors", [item("1", "brick"), item("2", "sky")], rules=RULES)
    write_models(project, rules={"engine": "rules"})

    def links() -> dict[str, str]:
        return wb.run(wb.load_evalsets(), wb.load_models(), progress=False).links

    first = links()
    with monkeypatch.context() as patch:
        patch.setattr("workbench.tracking.store.Store.open", None)  # would fail if it were used
        assert links() == first and "run_id" in first
    write_evalset(project, "colors", [item("1", "brick"), item("2", "sky")], rules=RULES, limits={"min_score": 0.9})
    limited = links()
    assert limited["run_id"] != first["run_id"]  # other limits, another decision
    MlflowClient(tracking_uri=f"sqlite:///{project}/mlruns/mlflow.db").delete_run(limited["run_id"])
    again = links()
    assert "run_id" in again and again["run_id"] != limited["run_id"]  # what was deleted is logged anew


def test_a_field_whose_name_mlflow_refuses_is_logged_under_one_that_it_takes(project: Path) -> None:
    import mlflow

    fields = ["Total (EUR)", "Total €EUR€", "rate %", "a/../b"]
    answer = dict.fromkeys(fields, "red")
    items = [
        {"id": f"{index}", "inputs": {"thing": "brick"}, "expectations": dict.fromkeys(fields, label)}
        for index, label in enumerate(["red", "blue"])
    ]
    scorer = {"type": "json_fields", "fields": dict.fromkeys(fields, "label")}
    enum = {"type": "string", "enum": ["red", "blue"]}
    schema = {"type": "object", "properties": dict.fromkeys(fields, enum), "required": fields}
    rules = {"rules": [{"pattern": "brick", "answer": answer}]}
    output = {"json_schema": "schema.json"}
    folder = write_evalset(project, "bills", items, rules=rules, output=output, scorers=[scorer])
    (folder / "schema.json").write_text(json.dumps(schema))
    write_models(project, rules={"engine": "rules"})
    done = wb.run(wb.load_evalsets(), wb.load_models(), progress=False)
    assert not [problem for problem in done.problems if "MLflow" in problem]
    logged = mlflow.MlflowClient(tracking_uri=store_uri()).get_run(done.tracked["rules"]).data.metrics
    named = {name.removeprefix("macro_f1/bills.") for name in logged if name.startswith("macro_f1/")}
    assert named == {"Total _EUR_", "Total _EUR__2", "rate _", "a_.._b"}


def test_the_description_of_many_tasks_keeps_its_problems_and_counts_what_has_no_room(project: Path) -> None:
    for number in range(45):
        write_evalset(project, f"a_task_with_a_name_{number:02}", [item("1", "brick")], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    run.problems.append("something went wrong at the end")
    note = _note(run)
    assert len(note) < 8000 and "- something went wrong at the end" in note
    shown = sum(line.startswith("| a_task") for line in note.splitlines())
    assert (
        note.splitlines()[-1]
        == f"{len(run.policy.routes) - shown} further routes stand in routing.yaml, among the artifacts."
    )
    assert 10 < shown < len(run.policy.routes)
