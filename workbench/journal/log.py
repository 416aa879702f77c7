"""The journal's log on its way into its database: in a thread beside the run, so that no commit waits for the disk.

log = Log(path)
log.wrote(db, pages)         # after a commit
log.close()

A commit is durable once it is in the log, whatever becomes of this. SQLite by itself would write a full log back within
a commit: some 0.2 s at a time in a large journal, in which nothing else is done.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path

_PAGES = 16_000  # 64 MB: keys are random, so the index's pages come up often; a long log writes each of them once
_MOST_PAGES = 8 * _PAGES  # where the disk cannot keep up, commits wait for it


class Log:
    """Has the log written back each time that so many pages were added to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pages = 0  # that were added, more or less
        self._copying: threading.Thread | None = None

    @staticmethod
    def tend(db: sqlite3.Connection) -> None:
        """Set a connection up so that it leaves the log to this."""
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("PRAGMA wal_autocheckpoint=0")

    def wrote(self, db: sqlite3.Connection, pages: int) -> None:
        """Note what a commit added; the connection is in no transaction.

        The thread copies all but what is written meanwhile. That little is copied here, between two commits: then the
        log is empty, and its file is begun anew.
        """
        self._pages += pages
        if self._copying is None:
            if self._pages >= _PAGES:
                self._copying = threading.Thread(target=self._copy, name="workbench-journal", daemon=True)
                self._copying.start()
        elif not self._copying.is_alive() or self._pages > _MOST_PAGES:
            self._copying.join()
            self._copying = None
            self._pages = 0 if _copied(db) else _PAGES  # another run may have written just then: soon again

    def _copy(self) -> None:
        with contextlib.suppress(sqlite3.DatabaseError), contextlib.closing(sqlite3.connect(self._path)) as db:
            self.tend(db)
            _copied(db)
            _copied(db)  # what came while the first was copied

    def close(self) -> None:
        """Wait for the thread."""
        if self._copying is not None:
            self._copying.join()


def _copied(db: sqlite3.Connection) -> bool:
    """Copy what is in the log; whether that is all.

    What goes wrong here loses nothing, as the log stays; where it lasts, the next commits fail and say so.
    """
    try:
        busy, pages, copied = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()  # waits for nobody
    except sqlite3.DatabaseError:
        return False
    return not busy and pages == copied
