"""Killed at any moment, a run goes on where it was: judged by what the server was asked, and by the processes left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
from conftest import environment, eventually, item, write_evalset, write_models
from recording_server import RecordingServer

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


def test_no_answer_that_the_journal_holds_is_asked_again(project: Path, server: RecordingServer) -> None:
    server.delay_s = 0.03
    write_evalset(project, "colors", [item(f"i{n:02}", f"thing i{n:02}") for n in range(ITEMS)])
    entry: dict[str, Any] = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m={**entry, "concurrency": CONCURRENCY})

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
    assert len(server.requests) <= ITEMS + 5 * CONCURRENCY  # a kill costs what was in flight, no more

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


def test_no_engine_outlives_a_killed_run_and_the_next_one_completes(project: Path, smollm2: Path) -> None:
    write_evalset(project, "colors", [item(str(n)) for n in range(50)])
    model = {"engine": "llamacpp", "model": str(smollm2), "context": 512, "concurrency": 2, "threads": 1}
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
