"""One progress line a model, in a notebook and in a terminal; while an engine loads, in a notebook its log's tail too.

with Progress(plan.questions, shown=True) as progress:
    progress.made("smollm2-q4", cost, attempts)      # what was sent, and came back
    progress.done("smollm2-q4", error=False)

A terminal has bars, a log a plain line now and then and a last one. A notebook has one table that is replaced in place,
so a page that was executed by a program shows how it ended, and needs no widget for that.
"""

from __future__ import annotations

import contextlib
import html
import os
import sys
import threading
import time
from collections.abc import Mapping, Sequence, Sized
from types import TracebackType
from typing import Any, Protocol, TextIO

from workbench.journal import Attempt
from workbench.runner.pace import STOPPING, Cost, Pace
from workbench.servers.idle import interactive

LOOK_S = 0.5  # between two looks at how far everything is
_PLAIN_S = 10.0  # between two lines of a model in a log
_LONGEST_NAME = 24  # columns
_WIDE = 100  # columns of a terminal that has room for bars


def _terminal() -> TextIO | None:
    """Where `WORKBENCH_PROGRESS` sends the lines: nobody looks at a notebook while papermill runs it."""
    named = os.environ.get("WORKBENCH_PROGRESS")
    try:
        return open(named, "a", encoding="utf-8") if named else None
    except OSError:
        return None


class _Quiet:
    """A stream that may close while the run goes on: whoever read its lines has gone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with contextlib.suppress(OSError, ValueError):
            return self._stream.write(text)
        return 0

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Face(Protocol):
    """Where lines are shown."""

    def show(self, paces: Sequence[Pace], last: bool) -> None:
        """Show how far they are."""


class _Bars:
    """Bars in a terminal, redrawn in place."""

    def __init__(self, file: TextIO) -> None:
        from tqdm import tqdm

        class Bar(tqdm):  # type: ignore[type-arg]
            """Its words are the pace's, made when it is drawn."""

            monitor_interval = 0  # a thread of tqdm's own, which would draw what nobody asked for

            def __init__(self, pace: Pace, columns: int, **more: Any) -> None:
                self.pace, self.columns = pace, columns
                super().__init__(total=pace.total, dynamic_ncols=True, **more)

            @property
            def format_dict(self) -> dict[str, Any]:
                given = super().format_dict
                width = given["ncols"] or _WIDE
                text = self.pace.text(width, self.columns)
                roomy = width >= _WIDE and len(text) + 23 < width
                said = {"head": text[: self.columns], "tail": text[self.columns :], "text": text}
                return {**given, **said, "bar_format": "{head} |{bar:20}|{tail}" if roomy else "{text}"}

        self._bar, self._file = Bar, _Quiet(file)
        self._bars: dict[str, Any] = {}

    def show(self, paces: Sequence[Pace], last: bool) -> None:
        for pace in paces:
            bar = self._bars.get(pace.name)
            if bar is None:
                bar = self._bar(pace, _width(paces), position=len(self._bars), file=self._file)
                self._bars[pace.name] = bar
            bar.n, bar.total = pace.done, pace.total
            bar.refresh()
        if last:
            for bar in self._bars.values():
                bar.close()


class _Lines:
    """Plain lines in a log: of what has moved, at most one a model in ten seconds, and one when it is over."""

    def __init__(self, file: TextIO) -> None:
        self._file = _Quiet(file)
        self._said: dict[str, tuple[float, tuple[object, ...]]] = {}

    def show(self, paces: Sequence[Pace], last: bool) -> None:
        now = time.monotonic()
        for pace in paces:
            at, state = self._said.setdefault(pace.name, (now, Pace(pace.name, pace.total).state))
            due = pace.over or last or now - at >= _PLAIN_S
            if due and pace.state != state:
                self._said[pace.name] = now, pace.state
                self._file.write(f"{pace.text(0, _width(paces))}\n")
        self._file.flush()


class _Cell:
    """A table in a notebook's cell, replaced in place; below it the log of an engine that loads."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._shown = ""

    def show(self, paces: Sequence[Pace], last: bool) -> None:
        from IPython.display import display

        page = _table(paces)
        if page == self._shown:
            return
        self._shown = page
        told = {"text/html": page, "text/plain": "\n".join(pace.text(0, _width(paces)) for pace in paces)}
        if self._handle is None:
            self._handle = display(told, raw=True, display_id=True)
        else:
            self._handle.update(told, raw=True)


_CELL = "padding:1px 8px;white-space:nowrap;text-align:"
_HEADS = ("", "", "done", "errors", "output", "cost", "time", "")


def _table(paces: Sequence[Pace]) -> str:
    rows = "".join(_row(pace) for pace in paces)
    heads = "".join(f'<th style="{_CELL}{"left" if not head else "right"}">{head}</th>' for head in _HEADS)
    tails = "".join(_tail(pace) for pace in paces if pace.tail and pace.status)
    return f'<table style="border-collapse:collapse"><tr>{heads}</tr>{rows}</table>{tails}'


def _row(pace: Pace) -> str:
    # Its color comes with opacity, so that it reads on light and on dark ground.
    share = pace.done / pace.total if pace.total else 1.0
    bar = (
        '<div style="width:90px;height:9px;background:rgba(128,128,128,.2)">'
        f'<div style="width:{100 * share:.1f}%;height:9px;background:rgba(0,114,178,.7)"></div></div>'
    )
    words = [pace.count, str(pace.errors), pace.speed, pace.cost, pace.time]
    cells = [f'<td style="{_CELL}right">{html.escape(word)}</td>' for word in words]
    name, status = (f'<td style="{_CELL}left">{html.escape(word)}</td>' for word in (pace.name, pace.status))
    return f"<tr>{name}<td>{bar}</td>{''.join(cells)}{status}</tr>"


def _tail(pace: Pace) -> str:
    return f'<pre style="font-size:80%">{html.escape(chr(10).join(pace.tail))}</pre>'


def _width(paces: Sequence[Pace]) -> int:
    """Columns that the names take."""
    return min(max((len(pace.name) for pace in paces), default=0), _LONGEST_NAME)


def _faces() -> list[_Face]:
    terminal = _terminal()
    inside = interactive()
    faces: list[_Face] = [_Cell()] if inside else []
    file = terminal or (None if inside else sys.stderr)
    if file is not None:
        faces.append(_Bars(file) if file.isatty() else _Lines(file))
    return faces


class Progress:
    """What goes on, looked at twice a second by a thread of its own, so that who works only counts."""

    def __init__(self, totals: Mapping[str, Sized], shown: bool = True) -> None:
        self._paces: dict[str, Pace] = {}
        self._lock = threading.Lock()
        self._showing = threading.Lock()
        self._ended = threading.Event()
        self._faces = _faces() if shown else []
        self._ticker: threading.Thread | None = None
        if self._faces:
            self._paces = {name: Pace(name, len(questions)) for name, questions in totals.items()}

    def count(self, name: str, done: int, total: int) -> None:
        """How far a judge is: a line of its own, its cost apart from the contestants'."""
        with self._lock:
            if self._faces:
                self._paces.setdefault(name, Pace(name, total, judges=True)).done = done

    def done(self, name: str, error: bool) -> None:
        """One more outcome of a model. It is in the journal by now."""
        with self._lock:
            pace = self._paces.get(name)
            if pace is not None:
                pace.done += 1
                pace.errors += error

    def made(self, name: str, cost: Cost, attempts: list[Attempt]) -> None:
        """A question was sent in this run, and this came of it.

        Args:
            cost: what an attempt cost in USD; None is unknown. It is asked when the line is made.
        """
        pace = self._paces.get(name)
        if pace is not None:
            pace.made(attempts, cost)

    def say(self, name: str, text: str) -> None:
        """What a model's engine is doing."""
        with self._lock:
            pace = self._paces.get(name)
            if pace is not None:
                pace.status, pace.tail = str(text), getattr(text, "tail", ())

    def over(self, name: str) -> None:
        """Nothing more will come of a model."""
        with self._lock:
            pace = self._paces.get(name)
            if pace is not None:
                pace.end()

    def stopping(self) -> None:
        """An interrupt was heard."""
        with self._lock:
            for pace in self._paces.values():
                if not pace.over:
                    pace.status = STOPPING

    def show(self, last: bool = False) -> None:
        """Show how far everything is."""
        with self._showing:
            with self._lock:
                paces = list(self._paces.values())
                now = time.perf_counter()
                for pace in paces:
                    pace.look(now)
                    if last:
                        pace.end()
            for face in list(self._faces):
                try:
                    face.show(paces, last)
                except Exception:  # noqa: BLE001  (a run is not lost because its lines cannot be shown)
                    self._faces.remove(face)

    def _tick(self) -> None:
        while not self._ended.wait(LOOK_S):
            self.show()

    def __enter__(self) -> Progress:
        if self._faces:
            self._ticker = threading.Thread(target=self._tick, name="workbench-progress", daemon=True)
            self.show()
            self._ticker.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        if self._ticker is not None:
            self._ticker.join()
            self.show(last=True)
