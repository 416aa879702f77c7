"""What is about to be sent is on disk before it is, and the next run tells what may be paid twice: no more, no less."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import re
import sqlite3
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, eventually, item, write_evalset, write_models
from recording_server import Recorded, RecordingServer

import workbench as wb
from workbench.journal import Intents
from workbench.outcomes import RUN_FILE
from workbench.runner import Run, make_plan
from workbench.runner.outcome import worst_cost

PRICE = {"input_usd_per_mtok": 100.0, "output_usd_per_mtok": 1000.0}
KEYS = [f"{number:064x}" for number in range(1, 9)]


def project_of(project: Path, server: RecordingServer, items: int, **more: Any) -> None:
    write_evalset(project, "colors", [item(f"i{n:03}", f"thing i{n:03}") for n in range(items)])
    entry = {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE, **more}
    write_models(project, far=entry)


def start(project: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "workbench.cli", "run", "--no-track"]
    return subprocess.Popen(
        command, cwd=project, env=environment(project), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def go(**options: Any) -> Run:
    return wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False, **options)


def keys_by_item() -> dict[str, str]:
    plan = make_plan(wb.load_evalsets(), wb.load_models())
    return {question.item.id: question.key for questions in plan.questions.values() for question in questions}


def item_of(request: Recorded) -> str:
    return request.last_user.split()[-1].rstrip("?")


def on_disk(project: Path) -> dict[str, float]:
    """What the files of all runs hold, read as the bytes that they are."""
    found = {}
    for path in (project / ".workbench" / "intents").glob("*.intents"):
        data = path.read_bytes()
        for key, worst in struct.iter_unpack("<32sd", data[: len(data) // 40 * 40]):
            if any(key):
                found[key.hex()] = worst
    return found


def files(project: Path) -> list[Path]:
    return list((project / ".workbench" / "intents").glob("*.intents"))


def in_journal(project: Path) -> set[str]:
    path = project / ".workbench" / "journal.sqlite"
    if not path.exists():
        return set()
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10) as journal:
        try:
            return {key for (key,) in journal.execute("SELECT key FROM answers")}
        except sqlite3.OperationalError:  # no table yet
            return set()


def told_twice(notes: list[str]) -> tuple[int, float]:
    """N and X of 'possibly paid twice: N requests, at most $X'."""
    lines = [note for note in notes if note.startswith("possibly paid twice")]
    if not lines:
        return 0, 0.0
    (line,) = lines
    found = re.match(r"possibly paid twice: (\d+) requests?, at most \$([0-9.e-]+) ", line)
    assert found, line
    return int(found[1]), float(found[2])


# The file by itself.


def test_what_a_run_that_died_left_is_taken_over_with_its_cost(tmp_path: Path) -> None:
    dead = Intents(tmp_path, "dead")
    slots = [dead.begin(key, 0.25) for key in KEYS[:3]]
    dead.end(slots[1])
    dead.close()
    assert [path.name for path in tmp_path.glob("*.intents")] == ["dead.intents"]
    with Intents(tmp_path, "next") as after:
        assert after.left == {KEYS[0]: 0.25, KEYS[2]: 0.25}
        assert not (tmp_path / "dead.intents").exists()
        after.answered(KEYS[0])
        after.answered(KEYS[7])
    with Intents(tmp_path, "third") as third:
        assert third.left == {KEYS[2]: 0.25}
        third.answered(KEYS[2])
    assert list(tmp_path.glob("*.intents")) == []


def test_slots_are_used_again(tmp_path: Path) -> None:
    with Intents(tmp_path, "run") as intents:
        for _ in range(1000):
            first, second = intents.begin(KEYS[0], 0.0), intents.begin(KEYS[1], 0.0)
            intents.end(first)
            intents.end(second)
        assert (tmp_path / "run.intents").stat().st_size == 80


def test_a_file_of_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    with Intents(tmp_path, "living") as living:
        living.begin(KEYS[0], 1.0)
        with Intents(tmp_path, "other") as other:
            assert other.left == {}
        assert (tmp_path / "living.intents").exists()


@pytest.mark.parametrize("tail", [b"", b"\x07", b"\x07" * 39])
def test_a_slot_that_was_cut_short_is_none(tmp_path: Path, tail: bytes) -> None:
    (tmp_path / "dead.intents").write_bytes(struct.pack("<32sd", bytes.fromhex(KEYS[0]), 2.0) + tail)
    with Intents(tmp_path, "next") as after:
        assert after.left == {KEYS[0]: 2.0}


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    with Intents(tmp_path, "run"):
        assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir() if path.is_file()} == {0o600}


def test_a_file_that_vanishes_while_it_is_looked_at_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "ended.intents").symlink_to(tmp_path / "removed")  # listed, and not there when it is opened
    with Intents(tmp_path, "next") as after:
        assert after.left == {}


def _open_and_close(folder: Path, name: str) -> None:
    for number in range(150):
        with Intents(folder, f"{name}-{number}") as intents:
            slot = intents.begin(KEYS[0], 0.0)
            intents.end(slot)


def test_runs_that_begin_and_end_at_once_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_open_and_close, args=(tmp_path, str(name))) for name in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 3 and list(tmp_path.glob("*.intents")) == []


# In runs.


def test_each_request_is_on_disk_when_the_server_sees_it(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 40)
    keys, missing = keys_by_item(), []

    def look(request: Recorded) -> None:
        key = keys[item_of(request)]
        if not on_disk(project).get(key, 0) > 0:
            missing.append(item_of(request))

    server.on_request = look
    assert go().status == "complete"
    assert missing == [] and len(server.requests) == 40


def test_a_slot_is_free_only_once_the_answer_is_in_the_journal(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 120, concurrency=4)
    keys, lost, sizes = keys_by_item(), set[str](), []
    server.delay_s = 0.01

    def look(request: Recorded) -> None:
        earlier = {keys[item_of(each)] for each in list(server.requests)}
        noted = on_disk(project)
        lost.update(earlier - noted.keys() - in_journal(project))  # in this order: it is freed after the commit
        sizes.append(len(noted))

    server.on_request = look
    assert go().status == "complete"
    assert lost == set() and max(sizes) <= 16 + 64  # a ceiling of 16, and what waits for its commit
    assert sizes[-1] < 60  # they are freed as it goes on


@pytest.mark.parametrize("fault", ["ok", "400", "500", "reset"])
def test_a_run_that_ended_leaves_no_file(
    project: Path, server: RecordingServer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    monkeypatch.setattr("workbench.runner.ask._BACKOFF_S", 0.001)
    monkeypatch.setattr("workbench.flow._PAUSE_S", 0.001)
    project_of(project, server, 8)
    server.fault = fault
    assert go().rows > 0
    assert files(project) == []


@pytest.fixture
def killed(project: Path, server: RecordingServer) -> Iterator[Callable[..., set[str]]]:
    """Runs the project and kills it once the server has seen so many requests; what was asked and not answered."""

    def kill(seen: int) -> set[str]:
        process = start(project)
        try:
            assert eventually(lambda: len(server.requests) >= seen or process.poll() is not None)
            assert process.poll() is None
            time.sleep(0.3)  # for the commit of what was answered
        finally:
            process.kill()
            process.communicate()
        answered = in_journal(project)
        keys = keys_by_item()
        return {item_of(request) for request in server.requests if keys[item_of(request)] not in answered}

    yield kill


def test_the_next_run_tells_what_may_be_paid_twice_as_the_server_saw_it(
    project: Path, server: RecordingServer, killed: Callable[..., set[str]]
) -> None:
    project_of(project, server, 60, concurrency=5, max_concurrency=5)
    server.hold_after = 20
    unanswered = killed(25)  # five are with the server, and no more will come
    assert len(unanswered) == 5 and {item_of(request) for request in server.requests[20:]} == unanswered
    keys = keys_by_item()
    assert on_disk(project).keys() - in_journal(project) == {keys[name] for name in unanswered}
    server.hold_after = None
    run = go()
    assert run.status == "complete" and run.rows == 60
    number, at_most = told_twice(run.notes)
    model = wb.load_models()["far"]
    plan = make_plan(wb.load_evalsets(), wb.load_models())
    worst = sum(worst_cost(model, *each.worst_tokens) for each in plan.questions["far"] if each.item.id in unanswered)
    assert number == 5 and at_most == pytest.approx(worst, rel=0.05)
    asked = [item_of(request) for request in server.requests]
    assert {name for name in asked if asked.count(name) == 2} == unanswered and len(asked) == 65
    assert files(project) == [] and told_twice(go().notes) == (0, 0.0)


def test_a_second_death_forgets_nothing_of_the_first(
    project: Path, server: RecordingServer, killed: Callable[..., set[str]]
) -> None:
    project_of(project, server, 40, concurrency=3, max_concurrency=3)
    server.hold_after = 10
    first = killed(13)
    server.hold_after = 13
    second = killed(16)
    assert first == second  # the same three, asked twice, never answered
    server.hold_after = None
    run = go()
    assert told_twice(run.notes)[0] == 3 and files(project) == []


def test_what_a_dead_run_had_committed_but_not_noted_is_cleared_up(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 3)
    assert go().status == "complete"
    keys = keys_by_item()
    with Intents.open("dead") as dead:
        dead.begin(keys["i001"], 1.0)
        dead.begin(KEYS[0], 2.0)  # of an item that is no more
    run = go()
    assert told_twice(run.notes) == (0, 0.0) and run.asked == 0
    assert on_disk(project) == {KEYS[0]: 2.0}  # nobody can tell


def test_what_was_refused_is_not_paid_and_not_told(
    project: Path, server: RecordingServer, killed: Callable[..., set[str]]
) -> None:
    project_of(project, server, 3, concurrency=3)
    server.fault, server.retry_after = "429", "25"
    killed(3)
    assert eventually(lambda: on_disk(project) == {}, 2)
    server.fault = "ok"
    assert told_twice(go().notes) == (0, 0.0)


def test_what_broke_off_may_have_been_paid_whatever_came_after(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 1, concurrency=1)
    server.faults, server.fault, server.retry_after = ["reset", "429"], "429", "25"
    process = start(project)
    try:
        assert eventually(lambda: len(server.requests) == 2)
    finally:
        process.kill()
        process.communicate()
    server.fault = "ok"
    assert told_twice(go().notes)[0] == 1


def test_what_a_living_run_asks_is_not_told_as_lost(project: Path, server: RecordingServer) -> None:
    project_of(project, server, 12, concurrency=4)
    goes_on, number = threading.Event(), itertools.count()

    def hold(request: Recorded) -> None:
        if next(number) < 4:
            goes_on.wait(60)

    server.on_request = hold
    process = start(project)
    try:
        assert eventually(lambda: len(on_disk(project)) == 4)
        run = go()
        assert run.status == "complete"
    except BaseException:
        process.kill()
        raise
    finally:
        goes_on.set()
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0, out
    assert told_twice(run.notes) == (0, 0.0) and "possibly paid twice" not in out


def test_the_command_says_it_and_it_is_kept_with_the_run(
    project: Path, server: RecordingServer, killed: Callable[..., set[str]]
) -> None:
    project_of(project, server, 10, concurrency=2, max_concurrency=2)
    server.hold_after = 4
    killed(6)
    server.hold_after = None
    process = start(project)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and "note: possibly paid twice: 2 requests, at most $" in out
    noted = [json.loads(path.read_text()) for path in (project / ".workbench" / "runs").glob(f"*/{RUN_FILE}")]
    assert [told_twice(each["notes"])[0] for each in noted] == [2]


def test_a_price_that_is_not_known_is_told_so(
    project: Path, server: RecordingServer, killed: Callable[..., set[str]]
) -> None:
    project_of(project, server, 10, concurrency=2, max_concurrency=2, price=None)
    server.hold_after = 4
    killed(6)
    server.hold_after = None
    lines = [note for note in go().notes if note.startswith("possibly paid twice: 2 requests")]
    assert len(lines) == 1 and "2 of unknown price" in lines[0]
