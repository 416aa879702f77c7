"""The journal: durable answers by request key, private, and clear when it is damaged."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from conftest import environment

from workbench.errors import RunError
from workbench.journal import Attempt, Journal, log, request_key

IDENTITY = {"engine": "llamacpp", "version": "1", "weights": "ab", "arguments": {"context": 2048}}
BODY = {"model": "m", "messages": [{"role": "user", "content": "Grüße"}], "temperature": 0}


def test_attempts_come_back_as_they_were(project: Path) -> None:
    attempts = [
        Attempt(None, "HTTP 500", "server", latency_s=0.25, backoff_s=0.5),
        Attempt("\u2028 \x00 é 😀", input_tokens=3, output_tokens=0, ttft_s=0.1, busy_s=0.2, asked_at="2026-11-01"),
    ]
    with Journal.open() as journal:
        assert journal.get("k") is None and len(journal) == 0
        journal.put("k", attempts)
        assert journal.get("k") == attempts and len(journal) == 1
    with Journal.open() as journal:
        assert journal.get("k") == attempts


def test_an_answer_is_replaced_by_a_longer_story(project: Path) -> None:
    with Journal.open() as journal:
        journal.put("k", [Attempt("a")])
        journal.put("k", [Attempt("a"), Attempt("b")])
        assert [attempt.text for attempt in journal.get("k") or []] == ["a", "b"] and len(journal) == 1


def test_the_key_hangs_on_content_and_not_on_the_order_of_fields() -> None:
    turned = dict(reversed(BODY.items()))
    assert request_key(IDENTITY, turned, 0) == request_key(dict(reversed(IDENTITY.items())), BODY, 0)
    assert len(request_key(IDENTITY, BODY, 0)) == 64


@pytest.mark.parametrize(
    ("identity", "body", "repeat"),
    [
        ({"version": "2"}, {}, 0),
        ({"weights": "cd"}, {}, 0),
        ({"arguments": {"context": 4096}}, {}, 0),
        ({}, {"model": "n"}, 0),
        ({}, {"messages": [{"role": "user", "content": "Gruesse"}]}, 0),
        ({}, {"temperature": 0.1}, 0),
        ({}, {"seed": 0}, 0),
        ({}, {}, 1),
    ],
)
def test_whatever_an_answer_depends_on_changes_the_key(
    identity: dict[str, Any], body: dict[str, Any], repeat: int
) -> None:
    assert request_key(IDENTITY | identity, BODY | body, repeat) != request_key(IDENTITY, BODY, 0)


def test_only_the_owner_can_read_it(project: Path) -> None:
    mask = os.umask(0)
    try:
        with Journal.open() as journal:
            journal.put("k", [Attempt("secret")])
            files = sorted((project / ".workbench").glob("journal.sqlite*"))
            assert len(files) == 3  # with its log and its index
            assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    finally:
        os.umask(mask)


@pytest.mark.parametrize("pages", [16_000, 3])
def test_what_was_put_survives_a_kill(project: Path, pages: int) -> None:
    code = (
        "from workbench.journal import Attempt, Journal, log\n"
        f"log._PAGES = {pages}  # with 3, the log is being written back at every moment\n"
        "journal = Journal.open()\n"
        "for n in range(1000000):\n"
        "    journal.put(f'k{n}', [Attempt('x' * 500)])\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], env=environment(project), stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        told = -1
        for line in writer.stdout:
            told = int(line)
            if told == 40:
                writer.send_signal(signal.SIGKILL)
            if line.endswith("\n"):
                last = told
    with Journal.open() as journal:
        assert last >= 40 and all(journal.get(f"k{n}") for n in range(last + 1))


def hashed(n: int) -> str:
    return hashlib.sha256(b"%d" % n).hexdigest()


def test_the_log_is_written_back_while_commits_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.journal.log._PAGES", 100)
    monkeypatch.setattr("workbench.journal.log._MOST_PAGES", 400)
    path = tmp_path / "j.sqlite"
    longest = 0
    with Journal.open(path) as journal:
        for start in range(0, 8000, 20):
            journal.put_many({hashed(n): [Attempt(str(n))] for n in range(start, start + 20)})
            longest = max(longest, path.with_name("j.sqlite-wal").stat().st_size)
            asked = {hashed(n): str(n) for n in (0, start // 2, start)}
            assert {key: each[0].text for key, each in journal.get_many(list(asked)).items()} == asked
    assert longest < 1000 * 4096  # 8,000 pages and more were written
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    with Journal.open(path) as journal:
        found = journal.get_many([hashed(n) for n in range(8000)])
    assert {key: each[0].text for key, each in found.items()} == {hashed(n): str(n) for n in range(8000)}


def test_a_log_that_cannot_be_written_back_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.journal.log._PAGES", 10)
    tried = []

    def fails(db: sqlite3.Connection) -> bool:
        tried.append(threading.current_thread().name)
        return False

    monkeypatch.setattr("workbench.journal.log._copied", fails)
    with Journal.open(tmp_path / "j.sqlite") as journal:
        for n in range(200):
            journal.put(hashed(n), [Attempt("a")])
    assert {"workbench-journal", threading.current_thread().name} <= set(tried)
    with Journal.open(tmp_path / "j.sqlite") as journal:
        assert len(journal.get_many([hashed(n) for n in range(200)])) == 200


def _write(path: Path, name: str) -> None:
    log._PAGES = 10  # each writes the log back while the others write
    with Journal.open(path) as journal:
        for n in range(50):
            journal.put(f"{name}-{n}", [Attempt(name)])


def test_several_processes_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path / "j.sqlite", str(name))) for name in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    with Journal.open(tmp_path / "j.sqlite") as journal:
        assert len(journal) == 200


def test_fields_of_a_later_version_are_passed_over(project: Path) -> None:
    with Journal.open() as journal:
        journal._db.execute('INSERT INTO answers (key, attempts) VALUES (\'k\', \'[{"text": "a", "mood": 1}]\')')
        assert journal.get("k") == [Attempt("a")]


@pytest.mark.parametrize("record", ["[{", "7", "[7]", '[{"error": "no text"}]', "null", "[]"])
def test_a_damaged_record_is_a_clear_error(project: Path, record: str) -> None:
    with Journal.open() as journal:
        journal._db.execute("INSERT INTO answers (key, attempts) VALUES ('k', ?)", (record,))
        with pytest.raises(RunError, match="journal cannot be used"):
            journal.get("k")


def test_a_file_that_is_no_journal_is_a_clear_error(tmp_path: Path) -> None:
    path = tmp_path / "j.sqlite"
    path.write_text("this is not a database, it is a letter to my aunt " * 100)
    with pytest.raises(RunError, match=r"j\.sqlite: the journal cannot be used"):
        Journal.open(path)


def test_a_folder_in_its_place_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "j.sqlite").mkdir()
    with pytest.raises(RunError, match="the journal cannot be used"):
        Journal.open(tmp_path / "j.sqlite")
