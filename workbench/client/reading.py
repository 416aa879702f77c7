"""What is read of an answer: events of a stream or a whole one, to text, tokens, times and a class of error.

reading = Reading(key)
reading.head(200, {"content-type": "text/event-stream"})
reading.data(b'data: {"choices": [{"delta": {"content": "red"}}]}\\n\\n', at=time.perf_counter())
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench.client.limits import retry_after
from workbench.journal import Attempt

ANSWER_LIMIT = 16 << 20
_SECRET = 12  # characters from which on a key is taken for one
_BY_STATUS = {401: "auth", 403: "auth", 404: "not_found", 408: "timeout", 413: "context_length", 429: "rate_limit"}
_loads = json.JSONDecoder().decode


class Reading:
    """What was read of an answer so far.

    Attributes:
        ttft_s: from sending to the first text; None for an answer that came whole, which does not tell.
        headers: of the response, names in lower case.
    """

    def __init__(self, key: str | None) -> None:
        self._key = key
        self.sent_at = self.ended_at = 0.0
        self.done = False
        self.headers: Mapping[str, str] = {}
        self.parts: list[str] = []
        self.error: str | None = None
        self.error_class: str | None = None
        self.finish_reason: str | None = None
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.ttft_s: float | None = None
        self.served_model: str | None = None
        self.retry_after_s: float | None = None
        self._answered = False  # something of an answer was there
        self._status = 0
        self._streamed = False
        self._size = 0
        self._rest: list[bytes] = []  # of a line that has no end yet; of a whole answer all there is

    # What the wire calls.

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self.headers = status, headers
        self._streamed = status == 200 and "text/event-stream" in headers.get("content-type", "")

    def data(self, piece: bytes, at: float) -> None:
        self._size += len(piece)
        if self._size > ANSWER_LIMIT:
            self.fail("protocol", f"the answer is over {ANSWER_LIMIT >> 20} MiB")
            self.done = True
            return
        if not self._streamed or b"\n" not in piece:
            self._rest.append(piece)
            return
        if self._rest:
            piece = b"".join([*self._rest, piece])
        *lines, rest = piece.split(b"\n")
        self._rest = [rest] if rest else []
        for line in lines:
            if line.startswith(b"data:"):
                self._line(line[5:].strip(), at)
                if self.done:
                    return

    def ended(self) -> None:
        """The answer's body has ended, as the wire sees it."""
        if self._status != 200:
            self._fail_status(b"".join(self._rest))
        elif not self._streamed and self.error_class is None:
            self._whole(b"".join(self._rest))
        elif not self.done and self.finish_reason is None and self.error_class is None:
            self.fail("protocol", "the stream ended before the answer did")

    @classmethod
    def whole(cls, status: int, body: Any, key: str | None) -> Reading:
        """What is read of an answer that is there as a whole, such as a line of a batch's output.

        Args:
            status: the answer's HTTP status.
            body: its JSON, parsed; of an error also its words alone.
            key: never to be repeated.
        """
        reading = cls(key)
        reading._status = status
        if status == 200:
            reading._answer(body)
        else:
            reading._fail_status(json.dumps(body).encode())
        return reading

    def fill(self, attempt: Attempt) -> Attempt:
        """An attempt with what was read: its text, or its error."""
        if self.error_class is None:
            attempt.text = self._answer_text()
        attempt.error, attempt.error_class = self.error, self.error_class
        attempt.finish_reason = self.finish_reason
        attempt.input_tokens, attempt.output_tokens = self.input_tokens, self.output_tokens
        attempt.ttft_s = self.ttft_s
        attempt.served_model = self.served_model
        attempt.retry_after_s = self.retry_after_s
        return attempt

    def _answer_text(self) -> str:
        text = clean("".join(self.parts))
        # Local servers are often given a word for a key, such as "none"; in an answer that is a word.
        return without_key(text, self._key) if self._key and len(self._key) >= _SECRET else text

    # What is made of it.

    def fail(self, error_class: str, error: str) -> None:
        self.error_class, self.error = error_class, clean(error)[:500]

    def _line(self, data: bytes, at: float) -> None:
        if data == b"[DONE]":
            self.done = True
            if not self._answered and self.error_class is None:
                self.fail("protocol", "the answer has no choices")
            return
        try:
            event = _loads(data.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            event = None
        if isinstance(event, dict):
            self._event(event, at)
        else:
            self.fail("protocol", "a piece of the stream is not a JSON object")
            self.done = True

    def _event(self, data: dict[str, Any], at: float | None, key: str = "delta") -> None:
        """Take in one chunk of a stream (`delta`), or a whole answer (`message`)."""
        if data.get("error"):
            self.fail("server", message_of(json.dumps(data).encode(), self._key))
            return
        if self.served_model is None:
            self.served_model = _str(data.get("model"), self._key)
        usage = data.get("usage")
        if isinstance(usage, dict):
            self.input_tokens = _int(usage.get("prompt_tokens"))
            self.output_tokens = _int(usage.get("completion_tokens"))
        choices = data.get("choices")
        choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
        self._answered = self._answered or bool(choice)
        turn = _object(choice.get(key))
        content = turn.get("content")
        if isinstance(content, str) and content:
            if self.ttft_s is None and at is not None:
                self.ttft_s = at - self.sent_at
            self.parts.append(content)
        if isinstance(turn.get("refusal"), str) and turn["refusal"]:
            self.fail("refusal", "the model refused")
        self.finish_reason = _str(choice.get("finish_reason"), self._key) or self.finish_reason
        if self.finish_reason == "content_filter":
            self.fail("content_policy", "the provider's content filter stopped the answer")

    def _whole(self, raw: bytes) -> None:
        """Take in an answer that was not streamed."""
        try:
            data = _loads(raw.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            self.fail("protocol", "the answer is not JSON")
            return
        self._answer(data)

    def _answer(self, data: Any) -> None:
        choices = data.get("choices") if isinstance(data, dict) else None
        choice = _object(choices[0]) if isinstance(choices, list) and choices else {}
        if not isinstance(data, dict) or not (isinstance(choice.get("message"), dict) or data.get("error")):
            self.fail("protocol", "the answer has no choices")
            return
        self._event(data, None, key="message")

    def _fail_status(self, raw: bytes) -> None:
        status, message = self._status, message_of(raw, self._key)
        kind = _BY_STATUS.get(status) or ("server" if status >= 500 else "bad_request")
        if kind == "bad_request" and ("context" in message and ("exceed" in message or "length" in message)):
            kind = "context_length"
        if kind == "bad_request" and ("content_filter" in message or "content_policy" in message):
            kind = "content_policy"
        if kind == "rate_limit" and "quota" in message and ("billing" in message or "insufficient" in message):
            kind = "auth"  # no waiting mends an account without money
        if 300 <= status < 400:
            kind, message = "bad_request", "the server redirects, and redirects are not followed. Mend base_url"
        self.retry_after_s = retry_after(self.headers)
        self.fail(kind, f"HTTP {status}: {message}" if message else f"HTTP {status}")


def message_of(raw: bytes, key: str | None) -> str:
    """A server's own words out of an error body, in one short line; a key that it repeats is left out."""
    text = raw[: 64 << 10].decode("utf-8", "replace")
    try:
        data = json.loads(raw)
        error = data.get("error", data) if isinstance(data, dict) else data
        text = str(error.get("message", error)) if isinstance(error, dict) else str(error)
    except (ValueError, RecursionError):
        pass
    return " ".join(without_key(text, key)[:4000].split())[:300]  # cut afterwards, or a part of the key could stay


def without_key(text: str, key: str | None) -> str:
    """A text without the key; a server may repeat what it was shown, the header too."""
    return text.replace(f"Bearer {key}", "[key]").replace(key, "[key]") if key else text


def clean(text: str) -> str:
    """Text that can be stored as UTF-8: the halves of a character that came apart are joined, a lone one replaced."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _int(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None


def _str(value: Any, key: str | None) -> str | None:
    return without_key(clean(value), key)[:200] if isinstance(value, str) and value else None
