"""Killed at any moment, a run goes on where it was: judged by what the server was asked, and by the processes left."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import environment, eventually, item, write_evalset, write_models
from recording_server import RecordingServer
from test_intents import in_journal, item_of, keys_by_item, on_disk

import workbench as wb
from workbench.journal import Journal
from workbench.outcomes import KEY
from workbench.runner import make_plan

ITEMS, CONCURRENCY = 60, 4


def start(project: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "workbench.cli", "run", "--no-track"]
    return subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def answered(project: Path) -> set[str]:
    """The items whose answers are in the journal."""
    path = project / ".workbench" / "journal.sqlite"
    if not path.exists():
        return set()
    plan = make_plan(wb.load_evalsets(), wb.load_models())
    with Journal.open(path) as journal:
        questions = [question for part in plan.questions.values() for question in part]
        return {question.item.id for question in questions if journal.get(question.key)}


def final_table(project: Path) -> pd.DataFrame:
    files = list((project / ".workbench" / "runs").glob("*/outcomes.parquet"))
    assert len(files) == 1  # a killed run leaves none
    return wb.read_outcomes(files[0])


@pytest.mark.slow
def test_no_answer_that_the_journal_holds_is_asked_again(project: Path, server: RecordingServer) -> None:
    server.delay_s = 0.03
    write_evalset(project, "colors", [item(f"i{n:02}", f"thing i{n:02}") for n in range(ITEMS)])
    entry: dict[str, Any] = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m={**entry, "concurrency": CONCURRENCY, "max_concurrency": CONCURRENCY})

    def asked_since(mark: int) -> list[str]:
        return [request.last_user.split()[-1].rstrip("?") for request in server.requests[mark:]]

    kept: set[str] = set()
    mark = 0
    for moment in (1, 6, 17, 31, 50):  # requests that the server has seen
        server.hold_after = moment + 6  # however late the kill comes, the run has not ended
        process = start(project)
        try:
            assert eventually(lambda: len(server.requests) >= moment or process.poll() is not None, 120)  # noqa: B023
            assert process.poll() is None
        finally:
            process.kill()
            process.wait()
        asked = asked_since(mark)
        assert not kept & set(asked)
        mark += len(asked)
        before, kept = kept, answered(project)
        assert before <= kept <= before | set(asked)
    server.hold_after = None
    process = start(project)
    assert process.wait(timeout=240) == 0
    rest = asked_since(mark)
    assert sorted(rest) == sorted({f"i{n:02}" for n in range(ITEMS)} - kept)
    # A kill costs what was in flight, and what was answered within one commit: 50 ms of answers that take 30 ms each.
    assert len(server.requests) <= ITEMS + 5 * 3 * CONCURRENCY

    table = final_table(project)
    assert len(table) == ITEMS == table["item_id"].nunique() and not table.duplicated(KEY).any()
    assert table["score"].eq(1).all() and table["attempts"].eq(1).all()


def processes_of(project: Path) -> dict[int, str]:
    """The command lines of all processes that belong to a project, by their environment."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
            mine = f"WORKBENCH_ROOT={project}\0".encode() in (folder / "environ").read_bytes()
            if mine and state not in ("Z", "X"):
                found[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
    return found


@pytest.mark.slow
def test_no_engine_outlives_a_killed_run_and_the_next_one_completes(project: Path, smollm2: Path) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(50)])
    model = {"engine": "llamacpp", "model": str(smollm2), "max_model_len": 512, "concurrency": 2, "threads": 1}
    write_models(project, smollm2=model)
    process = start(project)
    try:
        assert eventually(lambda: len(answered(project)) >= 2 or process.poll() is not None, 120)
        engines = [pid for pid, line in processes_of(project).items() if "_llamacpp_child" in line]
        assert len(engines) == 1 and process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert eventually(lambda: not processes_of(project), 60), processes_of(project)
    finally:
        process.kill()
        process.wait()
    kept = answered(project)
    assert 2 <= len(kept) < 50

    process = start(project)
    assert process.wait(timeout=240) == 0
    table = final_table(project)
    assert len(table) == 50 == table["item_id"].nunique() and table["output"].notna().all()
    assert eventually(lambda: not processes_of(project), 60), processes_of(project)


# At random moments.

TIMES = ["latency_s", "ttft_s", "wait_s", "asked_at", "concurrency", "attempts", "run_id"]
KILLS, MANY, AT_ONCE = 50, 4000, 8
BATCH = 40  # what 50 ms bring at 8 at once and 50 ms each, and room for a slow machine


def without_times(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=TIMES).sort_values(list(KEY), ignore_index=True)


def uninterrupted(project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """The table of the same project where nothing happens to it."""
    calm = project.parent / "calm"
    calm.mkdir()
    shutil.copytree(project / "evalsets", calm / "evalsets")
    shutil.copy(project / "models.yaml", calm)
    with monkeypatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", str(calm))
        patch.chdir(calm)
        run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    assert run.status == "complete"
    return run.outcomes


def tables(project: Path) -> list[Path]:
    return list((project / ".workbench" / "runs").glob("*/outcomes.parquet"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_killed_at_fifty_random_moments_a_run_loses_nothing_and_pays_hardly_anything_twice(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    luck = random.Random(seed)
    server.delay_s = 0.05
    server.answer = lambda body: ("red", "blue", "no idea")[len(body["messages"][0]["content"]) % 3]
    items = [item(f"i{n:04}", f"{'x' * (n % 7)} i{n:04}") for n in range(MANY)]
    write_evalset(project, "colors", items)
    price = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": price}
    write_models(project, far={**entry, "concurrency": 4, "max_concurrency": AT_ONCE})
    keys = keys_by_item()
    names = {key: name for name, key in keys.items()}

    done: set[str] = set()
    mark = twice = 0
    for _ in range(KILLS):
        process = start(project)
        time.sleep(luck.uniform(0.3, 1.6))
        assert process.poll() is None, "there is too little to do for so many kills"
        process.kill()
        process.wait()
        time.sleep(0.1)  # for requests that are on their way into the server's log
        asked = [item_of(request) for request in server.requests[mark:]]
        mark += len(asked)
        assert not done & set(asked)  # what was reported as done is not asked again
        assert len(asked) == len(set(asked))
        before, done = done, {names[key] for key in in_journal(project)}
        assert before <= done <= before | set(asked)
        unanswered = set(asked) - done
        assert len(unanswered) <= AT_ONCE + BATCH
        twice += len(unanswered)
        left = {names[key] for key in on_disk(project)} - done
        ever = {item_of(request) for request in server.requests} - done
        assert ever <= left  # each is told
        assert len(left - ever) <= AT_ONCE * KILLS  # and a few that the kill kept from being sent
        assert tables(project) == []  # no partial table
    assert done and twice  # or nothing was put to the test

    left = {names[key] for key in on_disk(project)} - done
    process = subprocess.Popen(
        [sys.executable, "-m", "workbench.cli", "run", "--no-track"],
        cwd=project,
        env=environment(project),
        stdout=subprocess.PIPE,
        text=True,
    )
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    told = re.search(r"possibly paid twice: (\d+) requests?, at most \$", out)
    assert (int(told[1]) if told else 0) == len(left)
    asked = [item_of(request) for request in server.requests[mark:]]
    assert sorted(asked) == sorted(keys.keys() - done)
    assert len(server.requests) <= MANY + twice and on_disk(project) == {}

    server.delay_s = 0
    (path,) = tables(project)
    table = wb.read_outcomes(path)
    assert len(table) == MANY == table["item_id"].nunique() and not table.duplicated(list(KEY)).any()
    pd.testing.assert_frame_equal(without_times(table), without_times(uninterrupted(project, server, monkeypatch)))


@pytest.mark.slow
def test_a_run_that_is_killed_while_it_writes_its_table_leaves_none_or_all_of_it(
    project: Path, server: RecordingServer
) -> None:
    luck = random.Random(11)
    write_evalset(
        project,
        "colors",
        [item(f"i{n:05}") for n in range(12_000)],
        rules={"rules": [{"pattern": "thing", "answer": "red"}]},
    )
    write_models(project, rules={"engine": "rules"})  # nothing to wait for
    process = start(project)
    began = time.monotonic()
    assert process.wait(60) == 0
    took_s = time.monotonic() - began
    (first,) = tables(project)
    for _ in range(15):
        process = start(project)
        time.sleep(took_s * luck.uniform(0.3, 1.0))
        process.kill()
        process.wait()
    assert len(list((project / ".workbench" / "runs").iterdir())) > 5
    found = tables(project)
    assert len(found) < 16  # some were killed before
    for path in found:
        assert len(wb.read_outcomes(path)) == 12_000
    assert start(project).wait(60) == 0 and first in tables(project)


@pytest.mark.slow
def test_two_runs_at_once_on_one_journal_are_both_right_and_complete(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.delay_s = 0.01
    server.answer = lambda body: ("red", "blue", "no idea")[len(body["messages"][0]["content"]) % 3]
    write_evalset(project, "colors", [item(f"i{n:03}", f"{'x' * (n % 7)} i{n:03}") for n in range(300)])
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url, "price": None}
    write_models(project, far={**entry, "zone": "hosted", "concurrency": 4})
    started = [start(project), start(project)]
    assert [process.wait(120) for process in started] == [0, 0]
    assert 300 <= len(server.requests) <= 600 and on_disk(project) == {} and len(in_journal(project)) == 300
    both = [without_times(wb.read_outcomes(path)) for path in tables(project)]
    assert len(both) == 2 and len(both[0]) == 300
    pd.testing.assert_frame_equal(both[0], both[1])
    pd.testing.assert_frame_equal(both[0], without_times(uninterrupted(project, server, monkeypatch)))
