"""One progress line a model, in a notebook and in a terminal; while an engine loads, in a notebook its log's tail too.

with Progress(plan.questions, shown=True) as progress:
    progress.done("smollm2-q4", error=False)
"""

from __future__ import annotations

import contextlib
import html
import importlib
import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Sized
from types import TracebackType
from typing import Any, TextIO

from workbench.servers.idle import interactive


def _terminal() -> TextIO | None:
    """Where `WORKBENCH_PROGRESS` sends the lines: nobody looks at the widgets of a notebook that papermill runs."""
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


class Progress:
    """tqdm bars: done, errors, rate and time left; a bar that is not shown costs nothing."""

    def __init__(self, totals: Mapping[str, Sized], shown: bool = True) -> None:
        self._errors: Counter[str] = Counter()
        self._bars: dict[str, Any] = {}
        self._tails: dict[str, Any] = {}  # what shows the end of an engine's log
        self._notebook = False
        self._lock = threading.Lock()
        self._new_bar: Callable[[str, int], Any] | None = None
        if not shown:
            return
        terminal = _terminal()
        bar: Any = importlib.import_module("tqdm" if terminal else "tqdm.auto").tqdm
        file = terminal or sys.stderr
        self._notebook = terminal is None and interactive()

        self._width = max((len(name) for name in totals), default=0)
        self._new_bar = lambda name, total: bar(
            total=total,
            desc=name.ljust(self._width),
            position=len(self._bars),
            unit="item",
            file=_Quiet(file),
            mininterval=0.5 if file.isatty() else 10,
            dynamic_ncols=True,
        )
        for name, questions in totals.items():
            self._bars[name] = self._new_bar(name, len(questions))

    def count(self, name: str, done: int, total: int) -> None:
        """How far something is that is no model's own line, such as a judge."""
        with self._lock:
            if self._new_bar is None:
                return
            if name not in self._bars:
                self._bars[name] = self._new_bar(name, total)
            self._bars[name].update(done - self._bars[name].n)

    def done(self, name: str, error: bool) -> None:
        """One more outcome of a model. It is in the journal by now."""
        with self._lock:
            self._errors[name] += error
            bar = self._bars.get(name)
            if bar is None:
                return
            if error:
                bar.set_postfix_str(f"{self._errors[name]} errors", refresh=False)
            bar.update(1)

    def say(self, name: str, text: str) -> None:
        """What a model's engine is doing."""
        with self._lock:
            bar = self._bars.get(name)
            if bar is not None:
                bar.set_postfix_str(text)
                if self._notebook:
                    self._show_tail(name, getattr(text, "tail", ()))

    def _show_tail(self, name: str, lines: Sequence[str]) -> None:
        """The last lines of an engine's log below the bars, until it is ready."""
        if not lines and name not in self._tails:
            return
        from IPython.display import HTML, display

        shown = HTML(f'<pre style="font-size: 80%">{html.escape(chr(10).join(lines))}</pre>' if lines else "")
        if name in self._tails:
            self._tails[name].update(shown)
        else:
            self._tails[name] = display(shown, display_id=True)
        if not lines:
            del self._tails[name]

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        for name in list(self._tails):
            self._show_tail(name, ())
        for bar in self._bars.values():
            bar.close()
