"""What the disk does to a run: full, read-only, locked, damaged. A clear error each time, and the old data intact."""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, item, write_evalset, write_models
from recording_server import Recorded, RecordingServer

import workbench as wb
from workbench.cli import main
from workbench.errors import JournalError
from workbench.runner import Run

PAGE = 4096


def project_of(project: Path, server: RecordingServer, items: int, **more: Any) -> None:
    write_evalset(project, "colors", [item(f"i{n:04}", f"thing i{n:04}") for n in range(items)])
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url, "concurrency": 8}
    write_models(project, near={**entry, **more})


def command(project: Path, file_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command; no file that it writes may become longer than that, as on a disk that is full."""

    def limit() -> None:
        if file_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

    return subprocess.run(
        [sys.executable, "-m", "workbench.cli", "run", "--no-track"],
        cwd=project,
        env=environment(project),
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=90,
    )


def in_process(capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """The command in this process: its status, and what it says of an error."""
    status = main(["run", "--no-track"])
    return status, capsys.readouterr().err


def go() -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)


def check_error(status: int, said: str, *words: str) -> None:
    """One clear message, and no traceback."""
    lines = [line for line in said.splitlines() if line.startswith("workbench: ")]
    assert status == 1 and len(lines) == 1 and "Traceback" not in said, said
    assert all(word in lines[0] for word in words), lines[0]


def digests(project: Path) -> dict[str, str]:
    """The tables of all runs, and what is noted with them."""
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in (project / ".workbench" / "runs").glob("*/*")
        if path.suffix in (".parquet", ".json")
    }


def answers(project: Path) -> dict[str, str]:
    with contextlib.closing(sqlite3.connect(project / ".workbench" / "journal.sqlite")) as journal:
        return dict(journal.execute("SELECT key, attempts FROM answers").fetchall())


# Full.


@pytest.mark.slow
def test_a_disk_that_is_full_in_mid_run_loses_nothing_that_is_in_the_journal(
    project: Path, server: RecordingServer
) -> None:
    project_of(project, server, 30)
    assert command(project).returncode == 0
    before, kept = digests(project), answers(project)
    project_of(project, server, 500)
    failed = command(project, file_bytes=100_000)
    check_error(failed.returncode, failed.stderr, "journal.sqlite: the journal cannot be used", "Free space")
    now = answers(project)
    assert digests(project) == before and kept.items() <= now.items()
    asked = len(server.requests)
    assert 30 < len(now) < 500 and asked <= len(now) + 256 + 32  # a commit, and what was in flight
    again = command(project)
    assert again.returncode == 0 and len(server.requests) == asked + 500 - len(now)
    assert before.items() <= digests(project).items()


@pytest.mark.slow
def test_a_disk_that_is_full_when_the_table_is_written_leaves_no_part_of_it(
    project: Path, server: RecordingServer
) -> None:
    project_of(project, server, 900)
    assert go().status == "complete"
    before, asked = digests(project), len(server.requests)
    failed = command(project, file_bytes=36_000)  # a table is longer
    check_error(failed.returncode, failed.stderr, "outcomes.parquet: cannot be written", "Free space")
    assert digests(project) == before
    assert [path.name for path in (project / ".workbench" / "runs").glob("*/*part*")] == []
    assert command(project).returncode == 0 and len(server.requests) == asked


def test_a_disk_that_is_full_from_the_start_is_told_before_anything_is_asked(
    project: Path, server: RecordingServer
) -> None:
    project_of(project, server, 30)
    failed = command(project, file_bytes=0)
    check_error(failed.returncode, failed.stderr)
    assert server.requests == []


SMALL = """
set -e
mount -t tmpfs -o size=400k tmpfs "$1"
cp -r "$2"/. "$1"
cd "$1"
set +e
"$3" -m workbench.cli run --no-track; echo "status $?"
ls .workbench/runs/*/outcomes.parquet >/dev/null 2>&1 && echo "a table"
mount -o remount,size=20m "$1"
"$3" -m workbench.cli run --no-track >/dev/null; echo "status $?"
ls .workbench/runs/*/outcomes.parquet >/dev/null 2>&1 && echo "a table"
"""


@pytest.mark.slow
def test_a_small_file_system_that_runs_full_and_is_made_larger_goes_on(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 900)
    small = project.parent / "small"
    small.mkdir()
    own = [] if os.geteuid() == 0 else ["-r"]
    if subprocess.run(["unshare", *own, "-m", "true"], capture_output=True).returncode:
        pytest.skip("no file systems of one's own here; RLIMIT_FSIZE stands in for them above")
    done = subprocess.run(
        ["unshare", *own, "-m", "sh", "-c", SMALL, "sh", str(small), str(project), sys.executable],
        env=environment(small),
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert [line for line in done.stdout.splitlines() if line.startswith(("status", "a table"))] == [
        *("status 1", "status 0", "a table")
    ], done.stdout + done.stderr
    check_error(1, done.stderr, "cannot be")
    assert 900 <= len(server.requests) <= 900 + 256 + 32


# Read-only, or in the way.


@pytest.fixture
def frozen() -> Iterator[Callable[[Path], None]]:
    """Makes a file or a folder one that nobody can change, root included."""
    changed: list[Path] = []

    def freeze(path: Path) -> None:
        changed.append(path)
        path.chmod(0o555 if path.is_dir() else 0o444)
        if os.geteuid() == 0:
            subprocess.run(["chattr", "+i", str(path)], check=True)

    yield freeze
    for path in changed:
        if os.geteuid() == 0:
            subprocess.run(["chattr", "-i", str(path)], check=True)
        path.chmod(0o755)


def test_a_project_that_cannot_be_written_is_told_before_anything_is_asked(
    project: Path, server: RecordingServer, frozen: Callable[[Path], None], capsys: pytest.CaptureFixture[str]
) -> None:
    project_of(project, server, 3)
    frozen(project)
    check_error(*in_process(capsys), ".workbench", "cannot be written")
    assert server.requests == []


@pytest.mark.parametrize("name", ["", "runs", "intents", "journal.sqlite"])
def test_a_folder_that_became_read_only_is_told_and_the_old_data_stay(
    project: Path,
    server: RecordingServer,
    frozen: Callable[[Path], None],
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    project_of(project, server, 3)
    assert go().status == "complete"
    before, kept = digests(project), answers(project)
    project_of(project, server, 6)
    frozen(project / ".workbench" / name if name else project / ".workbench")
    check_error(*in_process(capsys), ".workbench", "cannot be")
    assert digests(project) == before and len(server.requests) == 3
    if name:
        assert answers(project) == kept


@pytest.mark.parametrize("name", ["", "runs", "intents", "journal.sqlite", "journal.lock", "intents/.lock"])
def test_something_else_in_the_place_of_what_is_written_is_told(
    project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    project_of(project, server, 3)
    place = project / ".workbench" / name if name else project / ".workbench"
    place.parent.mkdir(parents=True, exist_ok=True)
    if "." in name:
        place.mkdir()
    else:
        place.write_text("a letter to my aunt")
    check_error(*in_process(capsys), ".workbench", "cannot be")
    assert server.requests == []


# Locked.


class Holder:
    """Another process's transaction that does not end."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)

    def lock(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def release(self) -> None:
        self._db.execute("ROLLBACK")
        self._db.close()


@pytest.mark.parametrize("stalled", [False, True])
def test_a_journal_that_stays_locked_ends_the_run_soon(
    project: Path,
    server: RecordingServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    stalled: bool,
) -> None:
    monkeypatch.setattr("workbench.journal.answers._BUSY_S", 0.3)
    monkeypatch.setattr("workbench.runner.ask.GRACE_S", 0.5)
    project_of(project, server, 3)
    assert go().status == "complete"
    before, kept = digests(project), answers(project)
    project_of(project, server, 200)
    holder = Holder(project / ".workbench" / "journal.sqlite")
    server.faults = ["stall"] if stalled else []

    def lock(request: Recorded) -> None:
        if len(server.requests) == 3:
            holder.lock()

    server.on_request = lock
    began = time.monotonic()
    check_error(*in_process(capsys), "journal.sqlite: the journal cannot be used (database is locked)")
    assert time.monotonic() - began < 15  # not the time of a request that is never answered
    holder.release()
    assert digests(project) == before and answers(project) == kept and len(server.requests) < 200
    server.on_request = lambda request: None
    assert go().rows == 200


def test_a_journal_that_is_locked_for_a_moment_is_waited_for(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 3)
    assert go().status == "complete"
    project_of(project, server, 40)
    holder = Holder(project / ".workbench" / "journal.sqlite")
    holder.lock()
    threading.Timer(1.0, holder.release).start()
    run = go()
    assert run.status == "complete" and run.rows == 40 and run.took_s > 0.9


# Damaged.


def test_whatever_page_of_the_journal_is_damaged_it_is_an_error_or_the_right_table(
    project: Path, server: RecordingServer
) -> None:
    server.answer = lambda body: ("red", "blue")[len(server.requests) % 2]
    project_of(project, server, 250)
    whole = go().outcomes
    journal = project / ".workbench" / "journal.sqlite"
    good = journal.read_bytes()
    before = digests(project)
    pages = len(good) // PAGE
    assert pages > 20
    luck = random.Random(3)
    told = 0
    for page in range(pages):
        for noise in (bytes(700), luck.randbytes(700)):
            start = page * PAGE + 1700
            damaged = good[:start] + noise + good[start + 700 :]
            assert damaged != good or not any(noise)
            journal.write_bytes(damaged)
            for side in journal.parent.glob("journal.sqlite-*"):
                side.unlink()
            try:
                run = go()
            except JournalError as failure:
                told += 1
                assert "journal.sqlite: the journal cannot be used" in str(failure)
                assert "if it is damaged, move it away" in str(failure)
                continue
            assert run.rows == 250 == run.outcomes["item_id"].nunique()
            if run.asked == 0:
                assert run.outcomes["output"].tolist() == whole["output"].tolist()
            else:
                assert run.outcomes["output"].isin(["red", "blue"]).all()
    assert told > pages / 4
    assert before.items() <= digests(project).items()


def test_a_damaged_page_of_answers_is_told_by_the_command_and_moving_it_away_mends_it(
    project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    project_of(project, server, 250)
    assert go().status == "complete"
    journal, before = project / ".workbench" / "journal.sqlite", digests(project)
    good = journal.read_bytes()
    places = [n for n in range(len(good)) if good.startswith(b'[{"text":', n)]
    middle = places[len(places) // 2]
    journal.write_bytes(good[: middle - 200] + bytes(400) + good[middle + 200 :])
    asked = len(server.requests)
    status, said = in_process(capsys)
    check_error(status, said, "journal.sqlite: the journal cannot be used", "move it away")
    assert digests(project) == before and len(server.requests) <= asked + 32
    shutil.move(journal, project / "damaged")
    assert go().rows == 250
    assert before.items() <= digests(project).items()
