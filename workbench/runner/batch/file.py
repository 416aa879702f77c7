"""The lines of the OpenAI batch format: requests into files, and answers out of them.

files = Files(folder, destination, max_lines=50_000)
files.add(key, gate(payload, destination), worst_usd)      # only what the gate released
parts = files.close()
for key, line in lines_of(folder.output(part)):
    attempt_of(line, key=None)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from workbench import project
from workbench.client.reading import ANSWER_LIMIT, Reading, message_of
from workbench.errors import JournalError
from workbench.journal import Attempt
from workbench.privacy import Destination, Released
from workbench.runner.batch.input import Input
from workbench.runner.batch.state import Folder, Part

MAX_LINES = 50_000  # of one file, by the hosted API
MAX_BYTES = 200_000_000
_UNANSWERED = frozenset({"batch_expired", "batch_cancelled"})


class Files:
    """Writes requests to as many files as they take, readable by their owner only."""

    def __init__(
        self, folder: Folder, destination: Destination, max_lines: int = MAX_LINES, max_bytes: int = MAX_BYTES
    ) -> None:
        self._folder, self._destination = folder, destination
        self._max_lines, self._max_bytes = max_lines, max_bytes
        self._worst_usd = 0.0
        self._input: Input | None = None
        self._keys: BinaryIO | None = None

    def add(self, key: str, released: Released, worst_usd: float) -> None:
        """Write a request.

        Args:
            worst_usd: what it costs at most, NaN is unknown.

        Raises:
            JournalError: it cannot be written.
        """
        try:
            if not self._added(key, released):
                self._next()
                self._added(key, released)
            assert self._keys is not None
            self._keys.write(f"{key}\n".encode())
        except OSError as failure:
            raise self._broken(failure) from None
        self._worst_usd += worst_usd
        self._folder.parts[-1].requests += 1

    def _added(self, key: str, released: Released) -> bool:
        """Whether the file that is being written took it."""
        if self._input is None or self._folder.parts[-1].requests >= self._max_lines:
            return False
        return self._input.add(key, released, self._max_bytes)

    def _next(self) -> None:
        self._finish()
        part = Part(len(self._folder.parts), 0, None)
        self._folder.parts.append(part)
        self._worst_usd = 0.0
        self._input = self._folder.inputs[part.number] = Input(self._folder.input(part), self._destination)
        self._keys = project.private_file(self._folder.keys_file(part)).open("wb")

    def _finish(self) -> None:
        for file in (self._input, self._keys):
            if file is not None:
                file.close()
        if self._input is not None:
            self._folder.parts[-1].worst_usd = None if math.isnan(self._worst_usd) else self._worst_usd
        self._input = self._keys = None

    def close(self) -> list[Part]:
        """The batches that were written.

        Raises:
            JournalError: the last of it cannot be written.
        """
        try:
            self._finish()
        except OSError as failure:
            raise self._broken(failure) from None
        return self._folder.parts

    def _broken(self, failure: OSError) -> JournalError:
        return JournalError(
            f"{project.shown(self._folder.path)}: cannot be written ({failure.strerror}). Free space or mend "
            "permissions, then again: nothing of it was sent."
        )


def lines_of(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The lines of an output file by their requests' keys; what is none, such as a cut off last one, is passed over."""
    if not path.exists():
        return
    with path.open("rb") as file:
        while raw := file.readline(ANSWER_LIMIT):
            try:
                line = json.loads(raw.decode("utf-8", "replace"))
            except (ValueError, RecursionError):
                continue
            if isinstance(line, dict) and isinstance(line.get("custom_id"), str):
                yield line["custom_id"], line


def attempt_of(line: dict[str, Any], key: str | None) -> Attempt:
    """What a line of an output file says. How long it took is not known in a batch.

    Args:
        key: the API's, never to be repeated.
    """
    response, error = line.get("response"), line.get("error")
    status = response.get("status_code") if isinstance(response, dict) else None
    attempt = Attempt(None, batch=True, latency_s=None, concurrency=None)
    if isinstance(response, dict) and isinstance(status, int):
        body = response.get("body")
        # vLLM says the error beside an empty body, as a sentence or as {"error": {…}}.
        found = body if status == 200 and not error else body or error
        return Reading.whole(status if status != 200 or not error else 500, found, key).fill(attempt)
    code = error.get("code") if isinstance(error, dict) else None
    said = message_of(json.dumps(error).encode(), key) if error else "no answer and no error"
    attempt.error_class, attempt.error = ("expired" if code in _UNANSWERED else "server"), said
    return attempt


def missing() -> Attempt:
    """What stands for a request that the output does not have."""
    return Attempt(None, "the batch ended without it", "expired", batch=True, latency_s=None, concurrency=None)
