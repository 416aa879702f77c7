"""The journal: every answer on disk before it is reported as done, and the cache that a second run answers from.

    with Journal.open() as journal:
        journal.get_many([key])              # {} where it was not answered yet
        journal.put_many({key: attempts})    # durable when it returns, also against kill -9

SQLite in WAL mode: a commit survives the death of the process (power loss is not promised). It holds answers as the
models gave them, so the file is readable by its owner only.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

from workbench import project
from workbench.errors import JournalError
from workbench.journal.attempt import Attempt, from_record, to_record
from workbench.journal.log import Log

_CACHE_KIB = 64 << 10
_PAGE = 4096
_BUSY_S = 30.0  # how long another run's commit is waited for
_AT_ONCE = 500  # keys in one question to SQLite

# A failure never takes the place of an answer, which another run may have got meanwhile.
_PUT = """
    INSERT INTO answers (key, attempts) VALUES (?, ?) ON CONFLICT (key) DO UPDATE
    SET attempts = excluded.attempts, at = CURRENT_TIMESTAMP
    WHERE json_extract(answers.attempts, '$[#-1].text') IS NULL
       OR json_extract(excluded.attempts, '$[#-1].text') IS NOT NULL
"""


class Journal:
    """Answers by request key. Several processes may use one at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            project.private_file(path)
            self._db = sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            with project.private_file(path.with_suffix(".lock")).open("w") as lock:
                # Switching a fresh file to WAL does not wait for others who do the same.
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._db.execute("PRAGMA journal_mode=WAL")
            self._log = Log(path)
            self._log.tend(self._db)
            self._db.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers "
                "(key TEXT PRIMARY KEY, attempts TEXT NOT NULL, at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP)"
            )
            for suffix in ("-wal", "-shm"):
                side = path.with_name(path.name + suffix)
                if side.exists():
                    side.chmod(0o600)
        except (sqlite3.DatabaseError, OSError) as failure:
            raise self._broken(failure) from None

    @classmethod
    def open(cls, path: Path | None = None) -> Journal:
        """The project's journal, `<root>/.workbench/journal.sqlite`, or another."""
        return cls(path or project.state() / "journal.sqlite")

    def get(self, key: str) -> list[Attempt] | None:
        """The attempts of a request, the last one last; None where there is none yet."""
        return self.get_many([key]).get(key)

    def get_many(self, keys: Sequence[str]) -> dict[str, list[Attempt]]:
        """The attempts of those requests that have any."""
        rows: list[tuple[str, str]] = []
        try:
            with self._lock:
                for start in range(0, len(keys), _AT_ONCE):
                    some = keys[start : start + _AT_ONCE]
                    marks = ",".join("?" * len(some))
                    rows += self._db.execute(f"SELECT key, attempts FROM answers WHERE key IN ({marks})", some)
        except sqlite3.DatabaseError as failure:
            raise self._broken(failure) from None
        try:
            return {key: from_record(record) for key, record in rows}
        except ValueError as failure:
            raise self._broken(failure) from None

    def put(self, key: str, attempts: list[Attempt]) -> None:
        """Store the attempts of a request; they are durable when this returns."""
        self.put_many({key: attempts})

    def put_many(self, answers: Mapping[str, list[Attempt]]) -> None:
        """Store the attempts of several requests in one commit; they are durable when this returns."""
        records = [(key, to_record(attempts)) for key, attempts in answers.items()]
        try:
            with self._lock:
                self._db.execute("BEGIN IMMEDIATE")
                try:
                    self._db.executemany(_PUT, records)
                    self._db.execute("COMMIT")
                except BaseException:
                    if self._db.in_transaction:  # SQLite rolls back by itself where the disk is full
                        self._db.execute("ROLLBACK")
                    raise
                # At most a page of the index for each, and the records' own.
                self._log.wrote(self._db, len(records) + sum(len(record) for _, record in records) // _PAGE)
        except sqlite3.DatabaseError as failure:
            raise self._broken(failure) from None

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._log.close()
            self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _broken(self, failure: Exception) -> JournalError:
        return JournalError(
            f"{project.shown(self.path)}: the journal cannot be used ({failure}). Free space or mend the permissions; "
            "if it is damaged, move it away: the runs so far are in .workbench/runs/."
        )
