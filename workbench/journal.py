"""The journal: every answer on disk before it is reported as done, and the cache that a second run answers from.

    with Journal.open() as journal:
        key = request_key(identity, body, repeat=0)
        attempts = journal.get(key)          # None where this was not answered yet
        journal.put(key, attempts)           # durable when it returns, also against kill -9

SQLite in WAL mode: a commit survives the death of the process (power loss is not promised). It holds answers as the
models gave them, so the file is readable by its owner only.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import sqlite3
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import Any

from workbench import project
from workbench.errors import RunError


@dataclass(frozen=True)
class Attempt:
    """One request and what came of it.

    Attributes:
        text: the answer; None where there was an error.
        error_class: None, or what kind of error: connection (never reached), disconnected, timeout, rate_limit, server,
            auth, bad_request, not_found, context_length, content_policy, refusal, protocol, engine, no_match.
        latency_s: from sending to the last byte.
        ttft_s: from sending to the first text.
        backoff_s: waited before this attempt because the last one failed.
        busy_s: share of a local engine's busy time.
        concurrency: requests in flight when it was sent, this one included.
        asked_at: UTC, ISO 8601.
    """

    text: str | None
    error: str | None = None
    error_class: str | None = None
    finish_reason: str | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    latency_s: float = 0.0
    ttft_s: float | None = None
    backoff_s: float = 0.0
    busy_s: float | None = None
    concurrency: int = 1
    served_model: str | None = None
    engine_id: str | None = None
    asked_at: str = ""
    retry_after_s: float | None = None


_FIELDS = {field.name for field in fields(Attempt)}


def request_key(identity: Mapping[str, Any], body: Mapping[str, Any], repeat: int) -> str:
    """SHA-256 of who is asked, what exactly, and the how-manieth time.

    Zone, price, limits and scorers are no part of it: they apply afresh to an answer out of the journal.
    """
    canonical = json.dumps([identity, body, repeat], sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


class Journal:
    """Answers by request key. Several processes may use one at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        try:
            project.private_file(path)
            self._db = sqlite3.connect(path, timeout=30, check_same_thread=False, isolation_level=None)
            with project.private_file(path.with_suffix(".lock")).open("w") as lock:
                # Switching a fresh file to WAL does not wait for others who do the same.
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
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
        """The attempts of an answered request, the answer last; None where there is none yet."""
        try:
            with self._lock:
                row = self._db.execute("SELECT attempts FROM answers WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError as failure:
            raise self._broken(failure) from None
        if row is None:
            return None
        try:
            found = [Attempt(**{k: v for k, v in record.items() if k in _FIELDS}) for record in json.loads(row[0])]
        except (ValueError, TypeError, AttributeError) as failure:
            raise self._broken(failure) from None
        if not found:
            raise self._broken(ValueError("a record is empty"))
        return found

    def put(self, key: str, attempts: list[Attempt]) -> None:
        """Store the attempts of an answered request; it is durable when this returns."""
        record = json.dumps([asdict(attempt) for attempt in attempts], ensure_ascii=False)
        try:
            with self._lock:
                self._db.execute("INSERT OR REPLACE INTO answers (key, attempts) VALUES (?, ?)", (key, record))
        except sqlite3.DatabaseError as failure:
            raise self._broken(failure) from None

    def __len__(self) -> int:
        with self._lock:
            return int(self._db.execute("SELECT count(*) FROM answers").fetchone()[0])

    def close(self) -> None:
        with self._lock:
            self._db.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def _broken(self, failure: Exception) -> RunError:
        return RunError(
            f"{project.shown(self.path)}: the journal cannot be used ({failure}). Free space or mend the permissions; "
            "if it is damaged, move it away: the runs so far are in .workbench/runs/."
        )
