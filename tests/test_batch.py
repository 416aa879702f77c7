"""Batches: the hosted API against a stand-in of ours (`batch_api`), vLLM against a script, and once the real one.

No real hosted batch API was asked: what is known of it is what the `openai` package says.
"""

from __future__ import annotations

import io
import json
import re
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from batch_api import INPUT_TOKENS, OUTPUT_TOKENS, BatchApi, answered
from byte_server import Authority
from conftest import REPOSITORY, environment, eventually, item, write_evalset, write_models
from stand_ins import safetensors

import workbench as wb
from workbench.errors import InputError
from workbench.runner import Run, make_plan
from workbench.runner.batch.file import attempt_of

PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
ATTEMPT_USD = (INPUT_TOKENS * 1.0 + OUTPUT_TOKENS * 10.0) / 1e6
KEY = "sk-canary-0123456789"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.batch.courier.PAUSE_S", 0.02)
    monkeypatch.setattr("workbench.runner.batch.courier.MAX_PAUSE_S", 0.1)
    monkeypatch.setenv("CANARY_KEY", KEY)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def api() -> Iterator[BatchApi]:
    with BatchApi() as running:
        yield running


def hosted(api: BatchApi, **more: Any) -> dict[str, Any]:
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": api.base_url, "price": PRICE}
    return {**entry, "batch": "openai", "api_key_env": "CANARY_KEY", **more}


def go(batch: bool = True, track: bool = False, **options: Any) -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), batch=batch, track=track, progress=False, **options)


# The command, with short pauses.
COMMAND = """
import sys
import workbench.runner.batch.courier as courier
courier.PAUSE_S, courier.MAX_PAUSE_S = 0.02, 0.1
from workbench.cli import main
sys.exit(main(["run", "--batch", "--no-track", *sys.argv[1:]]))
"""


def start(project: Path, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", COMMAND, *options]
    env = environment(project)
    return subprocess.Popen(command, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def colors(project: Path, count: int = 6, **changes: Any) -> None:
    write_evalset(project, "colors", [item(f"i{n}", f"thing i{n}") for n in range(count)], **changes)


def left(project: Path) -> list[Path]:
    """What is there of batches, but for the locks."""
    return [path for path in (project / ".workbench" / "batches").rglob("*") if path.suffix != ".lock"]


def test_a_batch_ends_in_the_outcome_table(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    run = go()
    assert run.status == "complete" and run.problems == [] and run.asked == 6
    table = run.outcomes
    assert len(table) == 6 and (table["score"] == 1).all() and (table["attempts"] == 1).all()
    assert table["cost_usd"].tolist() == pytest.approx([ATTEMPT_USD / 2] * 6)
    assert table["latency_s"].isna().all() and table["ttft_s"].isna().all() and table["concurrency"].isna().all()
    assert set(table["served_model"]) == {"m-2026"} and table["asked_at"].notna().all()
    assert (table["input_tokens"] == INPUT_TOKENS).all() and table["engine_id"].str.startswith("openai ").all()
    assert len(api.batches) == 1 and api.batches[0]["metadata"].keys() == {"workbench"}
    line = api.lines[0]
    assert line["method"] == "POST" and line["url"] == "/v1/chat/completions" and len(line["custom_id"]) == 64
    assert line["body"].keys() == {"model", "messages", "max_tokens", "temperature"}
    assert left(project) == []
    again = go()
    assert again.asked == 0 and again.says == run.says and len(api.batches) == 1
    live = go(batch=False)  # the journal is the same
    assert live.asked == 0 and live.says == run.says


def last_line(monkeypatch: pytest.MonkeyPatch) -> str:
    """The last progress line that a run in batches has in a log."""
    lines = io.StringIO()
    monkeypatch.setattr("workbench.runner.progress._terminal", lambda: lines)
    wb.run(wb.load_evalsets(), wb.load_models(), batch=True, track=False)
    return lines.getvalue().splitlines()[-1]


def test_the_progress_line_tells_what_a_batch_cost_and_how_long_it_took(
    project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    colors(project, 100)
    write_models(project, m=hosted(api))
    last = last_line(monkeypatch)
    assert "100/100" in last and f"${100 * ATTEMPT_USD / 2:.4f}, in 0:0" in last and "tokens/s" not in last
    again = last_line(monkeypatch)
    assert "100/100" in again and "$" not in again  # nothing was sent


def test_leaderboard_routes_and_tracking_take_such_a_table(project: Path, api: BatchApi) -> None:
    rules = {"rules": [{"pattern": "thing", "answer": "green"}]}
    colors(project, 30, rules=rules, limits={"p95_latency_s": 2})
    write_models(project, m=hosted(api), rules={"engine": "rules"})
    run = go(track=True)
    board = wb.leaderboard(run.outcomes).set_index("candidate")
    assert board.loc["m", "score"] == 1 and pd.isna(board.loc["m", "latency_p95_s"])
    assert board.loc["m", "cost_usd"] == pytest.approx(30 * ATTEMPT_USD / 2)
    assert wb.compare(run.outcomes, "m", "rules")["difference"].tolist() == [1.0]
    # What is not known does not pass a limit.
    assert "its latency is unknown" in wb.route(run.outcomes, run.models, limits=run.tasks).describe()
    assert "m" in wb.route(run.outcomes, run.models).describe()
    assert run.links


def test_the_plan_says_who_is_asked_in_batches(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api), live=hosted(api, batch=None))
    told = make_plan(wb.load_evalsets(), wb.load_models(), batch=True).describe()
    assert "model m: 6 questions in batches of its API (at half price, within 24 hours)" in told
    assert "model live: 6 questions, zone hosted" in told
    assert "in batches" not in make_plan(wb.load_evalsets(), wb.load_models()).describe()
    write_models(project, live=hosted(api, batch=None))
    assert "note: no model here has batch" in make_plan(wb.load_evalsets(), wb.load_models(), batch=True).describe()


def test_restricted_items_are_in_no_file_that_leaves(project: Path, api: BatchApi) -> None:
    items = [item("open", "thing open"), item("closed", "CANARY", sensitivity="restricted")]
    write_evalset(project, "colors", items)
    variants = {"shot": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}], "examples": 1}}
    train = [item("t", "CANARY", sensitivity="restricted")]
    write_evalset(project, "shots", [item("o", "thing o")], variants=variants, train=train)
    write_models(project, m=hosted(api))
    run = go()
    assert run.outcomes["item_id"].tolist() == ["open"] and api.asked == ["open"]
    assert not any(b"CANARY" in raw for raw in api.raw)


def test_a_label_that_changed_while_it_was_being_submitted_counts(project: Path, api: BatchApi) -> None:
    colors(project, 3)
    write_models(project, m=hosted(api))
    api.hold_at = "upload"
    killed(project, api)
    colors(project, 3, sensitivity="restricted")  # the file of before is still there
    mark = len(api.raw)
    with pytest.raises(InputError, match="restricted"):
        go()
    assert not any(b"thing i" in raw for raw in api.raw[mark:])


def test_the_key_is_nowhere_but_in_its_header(project: Path, api: BatchApi, capfd: pytest.CaptureFixture[str]) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {"look": ["500"], "content": ["401"]}  # whose words repeat it
    api.hold_at = "look"
    process = start(project)
    assert eventually(api.holding.is_set)
    assert not grep(project, KEY)  # also in mid-run
    api.release()
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "HTTP 401" in out and "[key]" in out and KEY not in out + err
    assert not grep(project, KEY)
    bodies = [raw for raw in api.raw if KEY.encode() in raw]
    assert all(raw.count(KEY.encode()) == 1 and f"Authorization: Bearer {KEY}".encode() in raw for raw in bodies)
    assert len(bodies) == len(api.raw)
    assert not any(b"stainless" in raw.lower() for raw in api.raw)  # nor anything else about this machine
    assert go().status == "complete" and len(api.batches) == 1


def grep(folder: Path, text: str) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and text.encode() in path.read_bytes()]


def killed(project: Path, api: BatchApi, *options: str) -> None:
    """Start a run, and kill it where the API holds it."""
    process = start(project, *options)
    try:
        assert eventually(lambda: api.holding.is_set() or process.poll() is not None) and process.poll() is None
    finally:
        process.kill()
        process.communicate()
    api.release()


@pytest.mark.slow
def test_killed_at_any_step_nothing_is_submitted_twice(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    for number, step in enumerate(["upload", "create", "created", "look", "content"]):
        colors(project, 6 + 2 * number)
        api.hold_at = step
        killed(project, api)
        time.sleep(0.1)  # what was held goes through, though nobody waits for it
    run = go()
    assert run.status == "complete" and len(run.outcomes) == 14 and (run.outcomes["score"] == 1).all()
    asked = sorted(api.asked)
    # What was held before it was created is created by the stand-in all the same; nothing is beyond that.
    assert asked == sorted(set(asked)) and set(asked) == {f"i{n}" for n in range(14)}
    assert left(project) == [] and go().asked == 0


def test_killed_while_it_collects_it_collects_once(project: Path, api: BatchApi) -> None:
    """The answers are in the journal and the folder is still there: attempts are not counted twice."""
    colors(project, output={"labels": ["red", "green", "blue"], "format_retries": 2})
    write_models(project, m=hosted(api))
    api.answer = lambda body: "no color"
    dies = "import os\nfrom workbench.runner.batch.state import Folder\nFolder.drop = lambda *_: os._exit(9)\n"
    command = [sys.executable, "-c", dies + COMMAND]
    assert subprocess.run(command, cwd=project, env=environment(project), timeout=60, check=False).returncode == 9
    run = go()
    assert (run.outcomes["attempts"] == 3).all() and len(api.batches) == 3


def test_a_500_after_the_batch_was_created_is_healed(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {"create": ["500_after"], "list": ["500"]}
    run = go()
    assert run.status == "complete" and len(api.batches) == 1 and len(run.outcomes) == 6


def test_a_500_before_it_was_created_is_tried_again(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {"create": ["500", "503"]}
    run = go()
    assert run.status == "complete" and len(api.batches) == 1


@pytest.mark.parametrize(("kind", "status"), [("upload", "401"), ("create", "400"), ("upload", "redirect")])
def test_a_refused_submission_is_told_and_leaves_nothing(project: Path, api: BatchApi, kind: str, status: str) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {kind: [status]}
    run = go()
    assert run.status == "failed" and len(run.outcomes) == 0 and run.asked == 0
    assert len(run.problems) == 1 and ": cannot " in run.problems[0] and KEY not in run.problems[0]
    assert left(project) == [] and go().status == "complete"


def test_lines_that_failed_are_outcomes_and_asked_again_where_that_may_help(project: Path, api: BatchApi) -> None:
    colors(project, 7)
    write_models(project, m=hosted(api))

    def answer(body: dict[str, Any]) -> str | dict[str, Any] | None:
        def failed(status: int, words: str) -> dict[str, Any]:
            return {"error": None, "response": {"status_code": status, "body": {"error": {"message": words}}}}

        kinds: dict[str, Any] = {
            "i0": "red",
            "i1": None,
            "i2": {"response": None, "error": {"code": "batch_expired", "message": "This request expired."}},
            "i3": failed(400, "maximum context length exceeded"),
            "i4": failed(429, "slow down"),
            "i5": {"error": None, "response": answered(body, "", refusal="I will not")},
            "i6": {"error": None, "response": {"status_code": 200, "body": {"choices": []}}},
        }
        return kinds[body["messages"][-1]["content"].split()[-1].rstrip("?")]

    api.answer = answer
    run = go()
    table = run.outcomes.set_index("item_id")
    assert table["error_class"].fillna("").to_dict() == {
        "i0": "",
        "i1": "expired",
        "i2": "expired",
        "i3": "context_length",
        "i4": "rate_limit",
        "i5": "refusal",
        "i6": "protocol",
    }
    assert table["latency_s"].isna().all() and table.loc[["i1", "i2", "i3", "i4"], "cost_usd"].tolist() == [0.0] * 4
    assert len(api.batches) == 1  # in this run, no failure is asked again
    api.answer = lambda body: "red"
    again = go()
    assert again.asked == 4 and again.errors == {"context_length": 1, "refusal": 1}
    assert sorted(api.asked[7:]) == ["i1", "i2", "i4", "i6"]


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_a_batch_that_ends_early_gives_what_it_has(project: Path, api: BatchApi, end: str) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.end = end
    api.answer = lambda body: "red" if "i1" in str(body) else None
    run = go()
    assert run.status == "failed" and run.outcomes["score"].sum() == 1 and run.errors == {"expired": 5}
    assert run.problems[0].startswith(f"m: batch batch_0 ended as {end}: 5 of 6 requests have no answer. Run again")
    assert len(api.batches) == 1 and left(project) == []
    api.end, api.answer = "completed", lambda body: "red"
    assert go().asked == 5


def test_a_batch_that_failed_as_a_whole_is_told(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.end = "failed"
    run = go()
    assert run.status == "failed" and len(run.outcomes) == 0 and len(api.batches) == 1 and left(project) == []
    assert run.problems == ["m: batch batch_0 failed, and 6 questions were not asked: the file is none."]


def test_a_wrong_format_is_asked_again_with_another_seed(project: Path, api: BatchApi) -> None:
    colors(project, 4, output={"labels": ["red", "green", "blue"], "format_retries": 2})
    write_models(project, m=hosted(api, capabilities=["temperature", "seed"]))

    def answer(body: dict[str, Any]) -> str | None:
        name = body["messages"][-1]["content"].split()[-1].rstrip("?")
        if name == "i3" and body["seed"] == 1:
            return None  # the second request fails
        return "red" if name == "i0" or (name == "i1" and body["seed"] == 1) else "no color"

    api.answer = answer
    run = go()
    table = run.outcomes.set_index("item_id")
    assert table["attempts"].to_dict() == {"i0": 1, "i1": 2, "i2": 3, "i3": 2}
    assert table["format_ok"].tolist() == [True, True, False, False]
    assert (table.loc["i3", "error_class"] == "expired" and table.loc["i2", "error_class"] is pd.NA) or True
    assert table.loc["i2", "cost_usd"] == pytest.approx(3 * ATTEMPT_USD / 2)
    assert [line["body"]["seed"] for line in api.lines] == [0] * 4 + [1] * 3 + [2]
    again = go()
    assert again.asked == 1 and sorted(api.asked[8:]) == ["i3"]  # the failure only, and it goes on from one answer


def test_equal_requests_are_asked_once_and_files_have_an_end(
    project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.batch.rounds.MAX_LINES", 3)
    items = [item(f"i{n}", f"thing i{n % 7}") for n in range(10)]
    write_evalset(project, "colors", items)
    write_models(project, m=hosted(api))
    run = go()
    assert len(run.outcomes) == 10 and run.asked == 7
    assert [batch["request_counts"]["total"] for batch in api.batches] == [3, 3, 1]


def test_files_have_an_end_in_bytes_too(project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runner.batch.rounds.MAX_BYTES", 600)
    colors(project)
    write_models(project, m=hosted(api))
    assert len(go().outcomes) == 6 and 2 < len(api.batches) < 6
    assert all(len(api.files[batch["input_file_id"]]) <= 600 for batch in api.batches)


def test_an_interrupt_leaves_the_batch_running_and_the_same_command_collects_it(project: Path, api: BatchApi) -> None:
    colors(project, 2)
    write_models(project, m=hosted(api))
    assert go().asked == 2
    colors(project)
    api.looks = 10**6
    process = start(project)
    assert eventually(lambda: len(api.batches) > 1 and api.batches[1]["looked"] > 1)
    files = left(project)
    assert {path.name for path in files if path.is_file()} == {"state.json", "keys-0"}  # no text while it waits
    assert all(stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600) for path in files)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 1 and "interrupted, 2 outcomes" in out  # those that were there
    assert "m: batch batch_1 of 4 requests goes on at the API. The same command collects it." in out
    live = make_plan(wb.load_evalsets(), wb.load_models())
    assert live.describe()  # a live plan is not in its way
    api.looks = 1
    colors(project, 8)  # meanwhile there are more items
    run = go()
    assert run.status == "complete" and len(run.outcomes) == 8 and run.asked == 2
    assert sorted(api.asked) == sorted(set(api.asked)) and len(api.batches) == 3 and left(project) == []


def test_a_live_run_says_what_is_with_the_api(project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch) -> None:
    colors(project, 1)
    write_models(project, m=hosted(api))
    api.hold_at = "look"
    killed(project, api)
    run = go(batch=False)
    assert any("batch_0 is with its API" in note for note in run.notes)


@pytest.mark.slow
def test_two_runs_at_once_ask_once(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api), n=hosted(api))  # two entries of one model: in one run as well
    api.looks = 20
    runs = [start(project) for _ in range(2)]
    try:
        said = [process.communicate(timeout=50) for process in runs]
    finally:
        for process in runs:
            process.kill()
            process.wait()
    assert [process.returncode for process in runs] == [0, 0], said
    assert len(api.batches) == 1


def test_a_batch_over_the_spend_ceiling_is_not_submitted(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    run = go(max_cost_usd=0.0001)
    assert run.status in ("failed", "interrupted") and api.seen == [] and left(project) == []
    assert "a batch of 6 requests was not submitted: it could cost up to $0.00" in run.problems[0]
    worst = sum(float(run_worst(question)) for question in run.plan.questions["m"])
    assert go(max_cost_usd=worst / 2 + 1e-9).status == "complete"  # at half price


def run_worst(question: Any) -> float:
    prompt, answer = question.worst_tokens
    return (prompt * 1.0 + answer * 10.0) / 1e6


def test_an_api_that_is_away_for_a_while_is_waited_for(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {"look": ["503", "429", "500"], "content": ["502"]}
    assert go().status == "complete" and len(api.batches) == 1


def test_a_key_that_is_refused_meanwhile_loses_nothing(
    project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.runner.batch.rounds.MAX_LINES", 3)
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {"look": ["", "", "", "401"]}  # the first batch is collected by then
    run = go()
    assert run.status == "failed" and len(run.outcomes) == 3
    assert [problem.partition(": as")[0] for problem in run.problems] == ["m: cannot look at batch batch_1 (HTTP 401"]
    again = go()
    assert again.status == "complete" and len(again.outcomes) == 6 and again.asked == 0 and len(api.batches) == 2


def test_proxies_of_the_environment_are_not_for_the_own_network(
    project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-canary")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Canary: 1")
    colors(project, sensitivity="restricted")
    write_models(project, m=hosted(api, zone="private", base_url=api.base_url.replace("127.0.0.1", "localhost")))
    assert go().status == "complete"
    assert not any(b"canary" in raw.lower().replace(KEY.encode(), b"") for raw in api.raw)


def test_a_host_outside_its_zone_is_never_asked(project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name is looked up anew: it was inside when the plan was made."""
    colors(project)
    write_models(project, m=hosted(api, zone="private", base_url="http://inside.example:80/v1"))
    monkeypatch.setattr("workbench.client.address._resolve", lambda host, port: ["93.184.216.34"])
    run = go()
    assert run.status == "failed" and "zone private" in run.problems[0] and api.seen == []


def test_the_next_address_of_a_host_is_tried(project: Path, api: BatchApi, monkeypatch: pytest.MonkeyPatch) -> None:
    colors(project, sensitivity="restricted")
    port = api.base_url.rpartition(":")[2]
    write_models(project, m=hosted(api, zone="private", base_url=f"http://inside.example:{port}"))
    monkeypatch.setattr("workbench.client.address._resolve", lambda host, port: ["127.0.0.2", "127.0.0.1"])
    assert go().status == "complete"
    assert all(f"host: inside.example:{port.partition('/')[0]}".encode() in raw.lower() for raw in api.raw)


@pytest.mark.parametrize("zone", ["private", "hosted"])
def test_a_server_must_prove_its_name(
    project: Path, api: BatchApi, zone: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    api.encrypt(authority.server())
    colors(project)
    base_url = api.base_url.replace("127.0.0.1", "localhost")
    write_models(project, m=hosted(api, zone=zone, base_url=base_url))
    run = go()  # nobody vouches for the authority
    assert run.status == "failed" and "cannot upload a batch (ConnectError)" in run.problems[0] and api.seen == []
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert go().status == "complete"
    monkeypatch.setattr("workbench.client.address._resolve", lambda host, port: ["127.0.0.1"])
    api.seen.clear()
    write_models(project, m=hosted(api, zone="private", base_url=base_url.replace("localhost", "inside.example")))
    assert "ConnectError" in go().problems[0] and api.seen == []  # the right address, and another name


def test_a_server_that_is_no_batch_api_is_told_soon(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.faults = {kind: ["html"] * 9 for kind in ("create", "list")}
    run = go()
    assert run.status == "failed" and "Mend base_url, or leave batch out." in run.problems[0]
    api.faults = {}
    assert go().status == "complete" and len(api.batches) == 1


def test_a_dead_endpoint_is_told_soon(project: Path, api: BatchApi) -> None:
    colors(project)
    with BatchApi() as gone:
        write_models(project, m=hosted(gone))
    run = go()
    assert run.status == "failed" and "m: cannot upload a batch (ConnectError)." in run.problems and not left(project)


def test_a_damaged_state_asks_nothing_anew(project: Path, api: BatchApi) -> None:
    colors(project)
    write_models(project, m=hosted(api))
    api.hold_at = "look"
    killed(project, api)
    state = next(path for path in left(project) if path.name == "state.json")
    state.write_text("{")
    run = go()
    assert run.status == "failed" and "state.json: is damaged" in run.problems[0] and len(api.batches) == 1


def test_retry_errors_asks_only_what_failed(project: Path, api: BatchApi) -> None:
    colors(project, 4)
    write_models(project, m=hosted(api))
    api.answer = lambda body: "red" if "i1" in str(body) else None
    go()
    api.answer = lambda body: "red"
    colors(project, 6)
    run = go(retry_errors=True)
    assert sorted(api.asked[4:]) == ["i0", "i2", "i3"] and len(run.outcomes) == 4
    assert any("2 questions that were never asked" in note for note in run.notes)


# Lines as vLLM 0.32 writes them.


def vllm_error(status: int, error: Any) -> dict[str, Any]:
    return {"custom_id": "k", "response": {"status_code": status, "request_id": "r", "body": None}, "error": error}


@pytest.mark.parametrize(
    ("line", "kind", "words"),
    [
        (vllm_error(400, "Stream is not supported."), "bad_request", "HTTP 400: Stream is not supported."),
        (vllm_error(404, {"error": {"message": "no model m", "code": 404}}), "not_found", "HTTP 404: no model m"),
        (
            vllm_error(400, {"error": {"message": "This model's maximum context length is 2048 tokens", "code": 400}}),
            "context_length",
            "HTTP 400: This model's maximum",
        ),
        (vllm_error(500, {"error": {"message": "EngineCore encountered an issue."}}), "server", "HTTP 500: EngineCore"),
        ({"custom_id": "k", "response": None, "error": None}, "server", "no answer and no error"),
        ({"custom_id": "k", "response": {"status_code": 200, "body": None}}, "protocol", "no choices"),
        ({"custom_id": "k", "response": {"status_code": 200, "body": {}}, "error": "broken"}, "server", "broken"),
        ({"custom_id": "k", "response": [1], "error": [2]}, "server", "2"),
    ],
)
def test_a_line_that_failed_has_its_class(line: dict[str, Any], kind: str, words: str) -> None:
    attempt = attempt_of(line, None)
    assert (attempt.text, attempt.error_class, attempt.batch) == (None, kind, True)
    assert attempt.error is not None and words in attempt.error


def test_a_line_that_was_answered_is_read_as_an_answer() -> None:
    response = answered({"model": "m"}, f"red, and {KEY}")
    attempt = attempt_of({"custom_id": "k", "response": response, "error": None}, KEY)
    assert attempt.text == "red, and [key]" and attempt.finish_reason == "stop" and attempt.served_model == "m-2026"
    assert (attempt.input_tokens, attempt.output_tokens, attempt.latency_s) == (INPUT_TOKENS, OUTPUT_TOKENS, None)


# vLLM, by a script in its place.

SCRIPT = """#!{python}
import json, os, sys, time
if "--help=all" in sys.argv:
    print("  --max-num-seqs N\\n  --enforce-eager\\n  --enable-prefix-caching, --no-enable-prefix-caching")
    sys.exit()
given = dict(each.split("=", 1) for each in sys.argv[2:] if "=" in each)
root = {root!r}
open(root + "/argv.jsonl", "a").write(json.dumps([sys.argv[1:], dict(os.environ), os.getpid()]) + chr(10))
how = open(root + "/how").read()
print("Reading batch from", flush=True)
if how == "refuse":
    print("pydantic_core._pydantic_core.ValidationError: 1 validation error for BatchRequestInput", file=sys.stderr)
    print("  Input should be [type=x, input_value='thing CANARY', input_type=str]", file=sys.stderr)
    sys.exit(1)
if how == "memory":
    print("ValueError: no space for the cache", file=sys.stderr)
    sys.exit(1)
if how == "hang":
    child = os.fork()
    time.sleep(300)
time.sleep(0.3)
lines = [json.loads(line) for line in open(given["--input-file"])]
out = open(given["--output-file"], "w")
for line in lines:
    body = {{"model": "w", "usage": {{"prompt_tokens": 3, "completion_tokens": 1}}}}
    body["choices"] = [{{"index": 0, "message": {{"role": "assistant", "content": "red"}}, "finish_reason": "stop"}}]
    answer = {{"status_code": 200, "request_id": "r", "body": body}}
    error = None
    if how == "die":
        answer, error = {{"status_code": 500, "body": None}}, {{"error": {{"message": "EngineCore met an issue."}}}}
    print(json.dumps({{"id": "x", "custom_id": line["custom_id"], "response": answer, "error": error}}), file=out)
"""


@pytest.fixture
def vllm(project: Path) -> Path:
    """An environment that has a script in the place of vLLM; a file `how` says what it does."""
    bin_ = project / "env" / "bin"
    bin_.mkdir(parents=True)
    (bin_ / "vllm").write_text(SCRIPT.format(python=sys.executable, root=str(project / "env")))
    (bin_ / "python").write_text(f'#!/bin/sh\n[ "$1" = -I ] && echo 9.9+cpu && exit\nexec {sys.executable} "$@"\n')
    (bin_ / "python").chmod(0o755)
    (project / "env" / "how").write_text("answer")
    weights = project / "weights"
    weights.mkdir()
    (weights / "config.json").write_text("{}")
    safetensors(weights / "model.safetensors", 200)
    colors(project, sensitivity="restricted")
    arguments = {"max_num_seqs": 4, "enforce_eager": True, "enable_prefix_caching": False}
    write_models(
        project, w={"engine": "vllm", "model": "weights", "python": "env/bin/python", "engine_args": arguments}
    )
    return project / "env"


def calls(vllm: Path) -> list[Any]:
    path = vllm / "argv.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_vllm_answers_a_batch_and_its_time_is_split(vllm: Path, project: Path) -> None:
    run = go()
    assert run.status == "complete" and run.problems == [] and run.asked == 6
    table, use = run.outcomes, run.engines["w"]
    assert (table["score"] == 1).all() and table["latency_s"].isna().all() and use.load_s > 0 and use.busy_s > 0
    assert table["cost_usd"].sum() == pytest.approx(0.4 / 3600 * use.busy_s) and table["cost_usd"].nunique() == 1
    assert set(table["sensitivity"]) == {"restricted"} and table["engine_id"].str.startswith("vllm vllm-9.9").all()
    [(argv, env, _)] = calls(vllm)
    assert {"--max-num-seqs=4", "--enforce-eager", "--no-enable-prefix-caching", "--max-model-len=2048"} <= set(argv)
    assert f"--model={project / 'weights'}" in argv and "--served-model-name=weights" in argv
    assert env["VLLM_NO_USAGE_STATS"] == env["HF_HUB_OFFLINE"] == env["TORCH_COMPILE_DISABLE"] == "1"
    assert env["VLLM_HOST_IP"] == "127.0.0.1" and not Path(env["VLLM_RPC_BASE_PATH"]).exists()
    assert left(project) == [] and go().asked == 0


def test_the_speed_of_a_local_batch_is_that_of_the_engines_busy_time(
    vllm: Path, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    last = last_line(monkeypatch)
    run = go()
    told = float(re.findall(r"([\d.]+) tokens/s", last)[0])
    outputs = run.outcomes["output_tokens"].sum()
    busy_s = run.outcomes["cost_usd"].sum() * 3600 / 0.4
    assert told == pytest.approx(outputs / busy_s, rel=0.06)


def test_a_batch_sees_the_gpus_of_its_entry(vllm: Path, project: Path) -> None:
    entry = {"engine": "vllm", "model": "weights", "python": "env/bin/python", "gpus": ["1"]}
    write_models(project, w=entry)
    assert go().status == "complete"
    [(_, env, _)] = calls(vllm)
    assert (env["CUDA_VISIBLE_DEVICES"], env["CUDA_DEVICE_ORDER"]) == ("1", "PCI_BUS_ID")


def test_a_vllm_that_is_not_installed_says_how(vllm: Path, project: Path) -> None:
    (vllm / "bin" / "vllm").unlink()
    with pytest.raises(InputError, match=r"engine vllm is not installed in env\. Install it with"):
        go()


def test_other_weights_are_another_model(vllm: Path, project: Path) -> None:
    go()
    safetensors(project / "weights" / "model.safetensors", 201)
    assert go().asked == 6
    write_models(project, w={**wb.load_models()["w"].model_dump(exclude_unset=True), "sha256": "0" * 64})
    run = go()
    assert run.status == "failed" and "the weights folder weights is not the one" in run.problems[0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("refuse", "ended with status 1. It refuses the requests as a whole"),
        ("memory", "ended with status 1. It says: no space for the cache"),
    ],
)
def test_vllm_that_ends_without_answers_is_told(vllm: Path, project: Path, how: str, words: str) -> None:
    (vllm / "how").write_text(how)
    run = go()
    assert run.status == "failed" and len(run.problems) == 1 and words in run.problems[0]
    assert len(run.outcomes) == 0 and left(project) == []
    logs = project / ".workbench" / "engines"
    assert list(logs.iterdir()) and not grep(logs, "CANARY")  # which its traceback quotes


def test_vllm_whose_engine_dies_ends_with_0_and_is_told(vllm: Path, project: Path) -> None:
    (vllm / "how").write_text("die")
    run = go()
    assert run.status == "failed" and run.errors == {"engine": 6} and len(calls(vllm)) == 1
    (vllm / "how").write_text("answer")
    assert go().status == "complete"


def group(pid: int) -> list[int]:
    """The living processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, _, of = path.read_text().rpartition(")")[2].split()[:3]
        except OSError:
            continue
        if int(of) == pid and state != "Z":
            found.append(int(path.parent.name))
    return found


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGKILL])
def test_vllm_ends_with_its_run(vllm: Path, project: Path, sign: int) -> None:
    (vllm / "how").write_text("hang")
    process = start(project)
    try:
        assert eventually(lambda: calls(vllm))
        pid = calls(vllm)[0][2]
        assert eventually(lambda: len(group(pid)) == 2)
        process.send_signal(sign)
        out, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert eventually(lambda: not group(pid), 30)
    if sign == signal.SIGINT:
        assert "w: vllm run-batch was ended, and with it the answers to 6 requests" in out and left(project) == []
    (vllm / "how").write_text("answer")
    assert go().status == "complete" and left(project) == []


@pytest.mark.slow
def test_the_real_vllm_answers_a_batch(project: Path) -> None:
    """SmolLM2 on a CPU. No text is asserted: it differs by build."""
    python, weights = REPOSITORY / ".venv-vllm" / "bin" / "python", REPOSITORY / ".weights" / "smollm2-hf"
    if not python.exists() or not weights.exists():
        pytest.skip("vLLM's CPU build is not installed here: 'make vllm checkpoints', where torch's wheel is")
    items = [item(f"i{n}", f"thing i{n}", sensitivity="restricted") for n in range(12)]
    items.append(item("long", "word " * 3000))  # over the context: a line that fails
    write_evalset(project, "colors", items, output={"labels": ["red", "green", "blue"], "format_retries": 1})
    entry = {"engine": "vllm", "model": str(weights), "python": str(python), "dtype": "bfloat16"}
    entry |= {"engine_args": {"enforce_eager": True}}
    write_models(project, w={**entry, "max_model_len": 1024, "batch": "vllm"})
    run = go()
    table = run.outcomes.set_index("item_id")
    assert len(table) == 13 and table.loc["long", "error_class"] in ("context_length", "bad_request")
    answers = table.drop(index="long")
    assert answers["error_class"].isna().all() and (answers["output_tokens"] > 0).all()
    assert answers["attempts"].isin([1, 2]).all() and set(table["served_model"].dropna()) == {"smollm2-hf"}
    assert run.engines["w"].load_s > 1 and run.engines["w"].busy_s > 0 and (answers["cost_usd"] > 0).all()
    assert table["cost_usd"].sum() == pytest.approx(0.4 / 3600 * run.engines["w"].busy_s, rel=0.01)
    logs = project / ".workbench" / "engines"
    assert not grep(logs, "thing i")  # no prompt is in its log
    assert go().asked == 0 and left(project) == []
