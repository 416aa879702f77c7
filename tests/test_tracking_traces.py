"""Traces: which outcomes are sampled, what each says, how two runs' are paired, and that none is lost unseen."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from planted import outcomes
from recording_server import RecordingServer
from tracked import CANARY, THINGS, of_mlflow, planted_run

from workbench import notebooks
from workbench.errors import InputError
from workbench.outcomes.table import normalize
from workbench.runner import Run
from workbench.tracking import Store, pair_link, store_uri
from workbench.tracking.sample import ITEMS_PER_TASK, TRACES_PER_RUN, labeled, sample, sampled_rows


def traces_of(run: Run) -> dict[str, dict[str, Any]]:
    """By candidate and item, what MLflow's store has."""
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=store_uri())
    experiment = client.get_experiment_by_name("workbench").experiment_id
    found: dict[str, dict[str, Any]] = defaultdict(dict)
    for candidate, run_id in run.tracked.items():
        for trace in client.search_traces(locations=[experiment], run_id=run_id, max_results=500):
            found[candidate][trace.info.tags["item_id"]] = trace
    return found


def values(trace: Any) -> dict[str, Any]:
    return {each.name: each.value for each in trace.info.assessments}


def test_the_sample_has_what_is_rare_whole_and_some_of_the_rest() -> None:
    n = 400
    a, b = np.ones(n), np.ones(n)
    b[:5] = 0  # disagreements
    a[5:8] = b[5:8] = 0  # all wrong
    table = outcomes({"a": list(a), "b": list(b)})
    table.loc[(table["model"] == "b") & (table["item_id"] == "internal-20"), "format_ok"] = False
    table.loc[(table["model"] == "a") & (table["item_id"] == "internal-21"), "error_class"] = "timeout"
    table["attempts"] = 1
    table.loc[(table["model"] == "a") & (table["item_id"] == "internal-22"), "attempts"] = 2
    found = sample(table)["planted"]
    assert len(found) == ITEMS_PER_TASK
    kinds = pd.Series(found)
    assert kinds.value_counts().to_dict() == {
        "all right": ITEMS_PER_TASK - 5 - 3 - 2 - 1,
        "disagreement": 5,
        "all wrong": 3,
        "format": 2,
        "failure": 1,
    }
    assert found["internal-21"] == "failure" and {found["internal-20"], found["internal-22"]} == {"format"}
    assert sample(table.sample(frac=1, random_state=1)) == {"planted": found}


def test_the_sample_is_bounded_whatever_the_run(project: Path) -> None:
    table = pd.concat(
        [outcomes({f"m{i}": [1.0, 0.0] * 40 for i in range(7)}, task=f"task-{j}") for j in range(4)], ignore_index=True
    )
    table = normalize(table)
    items = sample(table)
    rows = labeled(sampled_rows(table, items), items)
    assert len(rows) == 4 * 7 * (TRACES_PER_RUN // 28) <= TRACES_PER_RUN
    # The same items for all candidates of a task, each once.
    by_candidate = rows.groupby(["task", "candidate"])["item_id"].agg(lambda ids: tuple(sorted(ids)))
    assert all(by_candidate[task].nunique() == 1 for task in items)
    assert sample(table, total=3) == {f"task-{j}": {} for j in range(4)}
    assert len(sampled_rows(table, sample(table, total=3))) == 0


def test_abstaining_rules_are_no_failure_and_repeats_are_one_trace() -> None:
    table = outcomes({"rules": [0.0, 1.0], "m": [1.0, 1.0]})
    table["error_class"] = None
    table.loc[(table["model"] == "rules") & (table["item_id"] == "internal-0"), "error_class"] = "no_match"
    both = pd.concat([table.assign(repeat=1), table.assign(repeat=0)], ignore_index=True)
    items = sample(both)
    assert items["planted"] == {"internal-0": "disagreement", "internal-1": "all right"}
    assert sampled_rows(both, items)["repeat"].tolist() == [0] * 4


@pytest.fixture
def run(project: Path, server: RecordingServer) -> Run:
    done = planted_run(project, server)
    assert of_mlflow(done) == []
    return done


def test_each_trace_says_what_its_outcome_says(run: Run) -> None:
    found = traces_of(run)
    table = run.outcomes.set_index(["model", "item_id"])
    assert {name: set(items) for name, items in found.items()} == {
        name: {*THINGS, "c0"} for name in ("strong", "weak", "rules")
    }
    names = set()
    for candidate, traces in found.items():
        for item_id, trace in traces.items():
            row, info = table.loc[(candidate, item_id)], trace.info
            span = trace.data.spans[0]
            assert info.trace_metadata["mlflow.sourceRun"] == run.tracked[candidate]
            assert info.request_time == row["asked_at"].timestamp() * 1000
            took_s = (span.end_time_ns - span.start_time_ns) / 1e9
            assert took_s == pytest.approx(row["latency_s"], abs=1e-6)
            said = values(trace)
            names.add(frozenset(said))
            assert said["score"] == (0 if pd.isna(row["score"]) else row["score"])
            assert said["accepted"] == row["accepted"] and said["format_ok"] == row["format_ok"]
            assert said["error_class"] == (row["error_class"] or "none")
            assert info.state.value == ("ERROR" if row["error_class"] else "OK")
            if item_id != "c0":
                assert span.inputs == {"item": item_id, "prompt": row["prompt"]}
                assert span.outputs == (row["output"] or row["error"])
                assert json.loads(said["expected_response"]) == {"label": "red"}
    assert len(names) == 1 and {"score", "accepted", "format_ok", "error_class", "expected_response"} <= set(*names)
    strong = found["strong"]["b0"].info
    assert strong.token_usage == {"input_tokens": 10, "output_tokens": 2, "total_tokens": 12}
    assert strong.cost["total_cost"] == pytest.approx(14e-6)
    whys = {name: found["weak"][name].info.tags["why"] for name in ("x0", "o0", "s0", "h0")}
    assert whys == {"x0": "failure", "o0": "format", "s0": "disagreement", "h0": "all wrong"}


def test_two_runs_traces_are_paired_by_a_request_that_is_the_same(run: Run) -> None:
    found = traces_of(run)
    requests = {name: {trace.info.request_preview for trace in traces.values()} for name, traces in found.items()}
    assert len(requests["strong"]) == len(THINGS) + 1
    assert requests["strong"] == requests["weak"] == requests["rules"]
    assert any(text.startswith("b0 (colors, all right") and "both 0" in text for text in requests["weak"])


def test_restricted_text_is_in_no_trace(run: Run) -> None:
    trace = traces_of(run)["weak"]["c0"]
    shown = json.dumps(trace.to_dict(), default=str)
    assert CANARY not in shown and shown.count("[restricted]") >= 3
    assert values(trace)["expected_response"].startswith("[restricted]")
    with contextlib.closing(sqlite3.connect(Path(store_uri().removeprefix("sqlite:///")))) as database:
        dump = "\n".join(database.iterdump())
    assert "split 1" in dump and CANARY not in dump  # the open items' text is there


def test_traces_that_the_store_does_not_take_are_a_problem_of_the_run(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow.tracing.client import TracingClient

    begin, seen = TracingClient.start_trace, []

    def some(self: Any, info: Any) -> Any:
        seen.append(info)
        if len(seen) in (3, 5):
            raise OSError("disk I/O error")
        return begin(self, info)

    monkeypatch.setattr(TracingClient, "start_trace", some)
    log = TracingClient.log_spans
    monkeypatch.setattr(TracingClient, "log_spans", lambda self, place, spans: log(self, place, spans[:-1]))
    run = planted_run(project, server)
    # Two were refused, and one got lost without a word.
    assert of_mlflow(run) == ["MLflow: 3 of 33 traces are not in the store: OSError: disk I/O error."]
    assert run.status == "complete" and "run_id" in run.links


def test_the_pair_in_question_is_where_most_is_at_stake(run: Run) -> None:
    a, b = run.links["pair_of"].split(",")[0].split(" and ")
    assert run.links["pair"] == pair_link(run, a, b)
    accepted = run.outcomes.pivot(index="item_id", columns="model", values="accepted")
    assert f"{int((accepted[a] != accepted[b]).sum())} items of colors apart" in run.links["pair_of"]
    link = pair_link(run, "weak", "rules")
    assert link.endswith(f"/runs/{run.tracked['weak']}/evaluations?compareToRunUuid={run.tracked['rules']}")


def test_a_notebook_takes_that_pair_where_none_is_named(run: Run) -> None:
    first, second = run.links["pair_of"].split(",")[0].split(" and ")
    assert notebooks.pair(run) == ("colors", first, second)
    best = next(name for name in run.leaderboard["candidate"] if name != "weak")
    assert notebooks.pair(run, "colors", "weak") == ("colors", "weak", best)
    assert notebooks.pair(run, b="weak") == ("colors", best, "weak")
    assert notebooks.pair(run, "colors", best, "weak") == ("colors", best, "weak")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"task": "shapes"}, "parameter 'task': there is no task 'shapes' in this run. There are: colors."),
        ({"a": "x"}, "parameter 'a': there is no candidate 'x' in this run"),
        ({"task": "colors", "a": "weak", "b": "x"}, "parameter 'b': there is no candidate 'x' in this run"),
        ({"a": "weak", "b": "weak"}, "parameters 'a' and 'b' are both 'weak'. Name two candidates"),
    ],
)
def test_a_pair_that_is_none_is_told_before_it_is_used(run: Run, given: dict[str, str], said: str) -> None:
    with pytest.raises(InputError) as failure:
        notebooks.pair(run, **given)
    assert str(failure.value).startswith(said)


@pytest.mark.parametrize(
    ("a", "b", "said"),
    [("strong", "other", "candidate 'other' was not tracked. There are:"), ("weak", "weak", "'weak' is no pair")],
)
def test_a_pair_that_is_none_is_told(run: Run, a: str, b: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        pair_link(run, a, b)
    run.links.clear()
    with pytest.raises(InputError, match="is not in MLflow"):
        pair_link(run, "weak", "strong")


def test_a_store_is_shown_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store("postgresql://ann:p%40ss-w@db.example:5432/runs?sslpassword=hush")
    assert str(store) == "postgresql://db.example:5432/runs"
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "tok-123")
    failure = OSError("no: ann:p%40ss-w p@ss-w sslpassword=hush tok-123 at https://u:v@host/x")
    assert not any(secret in store.said(failure) for secret in ("p%40ss", "p@ss", "hush", "tok-123", "u:v"))
    assert "p%40ss" not in repr(store)
    server = Store("https://u:v@mlflow.example/base/")
    assert (server.ui, server.is_server) == ("https://mlflow.example/base", True)
