"""One answer as it is shown beside others: its text, its verdict, and what of it differs from what is right.

answer = Answer("gemma3-q4", rows, hidden=False, digest=evalset.digest, repeats="")
answer.told(right_texts(key, several=()), by_key=True, blind=False, at=0)        # plain data, for any view
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from typing import Any

import pandas as pd

from workbench.privacy import redact
from workbench.views.differences import Row, fields, nearest, parsed, sendable
from workbench.words import counted

FIELD = "metric.field."  # what a scorer says of a field of a JSON answer, in columns of the outcome table
RIGHT = 1.0  # where outcomes do not say what is accepted, only a full score is right
_LONGEST = 20_000  # letters of a text that are shown


def unseen(row: pd.Series[Any]) -> str:
    """Why an outcome has no text to show; empty where it has one."""
    if isinstance(row.get("output"), str):
        return ""
    failed = row.get("error_class")
    if isinstance(failed, str) and failed:
        return failed
    return "no answer" if pd.isna(row["score"]) else "what it answered is not in these outcomes"


class Answer:
    """One candidate's answer to an item.

    Args:
        digest: of the eval set whose key is shown; where it is none, or the scores are of another one, they do not tell
            what counts as right.
        repeats: what it comes to over all repeats; empty where there is one.
    """

    def __init__(self, name: str, rows: pd.DataFrame, hidden: bool, digest: str, repeats: str) -> None:
        self.name, self._repeats = name, repeats
        self.row = rows.iloc[0]
        output = self.row.get("output")
        self.text = sendable(output) if isinstance(output, str) else ""
        self.error = unseen(self.row)
        self.hidden = hidden
        scored_by = self.row.get("evalset_digest")
        self.judged = bool(digest) and (not isinstance(scored_by, str) or scored_by == digest)

    @property
    def parsed(self) -> Any:
        return parsed(self.text) if len(self.text) <= _LONGEST else None

    @property
    def _fields(self) -> list[str]:
        return [name.removeprefix(FIELD) for name in map(str, self.row.index) if name.startswith(FIELD)]

    def counts(self, path: str) -> bool:
        """Whether the scorer counts the field at a path as right, however it is written."""
        own = [name for name in self._fields if path == name or path.startswith((f"{name}.", f"{name}["))]
        value = self.row[FIELD + max(own, key=len)] if own and self.judged else None
        return value is not None and not pd.isna(value) and bool(value >= RIGHT)

    @property
    def has_words(self) -> bool:
        """Whether it is compared word by word: it is there, is seen, and is no JSON."""
        return not self.hidden and not self.error and self.parsed is None

    def told(self, references: Sequence[str], by_key: bool, blind: bool, at: int) -> dict[str, Any]:
        """What is shown, with what differs from the nearest reference; blind, a number stands for the name."""
        text = f"({self.error})" if self.error else text_of(self.text, self.hidden)
        parts = nearest(references, text) if references and self.has_words else [(text, False)]
        told: dict[str, Any] = {
            "name": f"answer {at + 1}" if blind else self.name,
            "parts": [list(part) for part in parts],
        }
        told |= {"json": not self.hidden and self.parsed is not None, "prompt": "" if blind else self.prompt}
        told |= {"counts": by_key and self.judged and bool(self.row["points"] >= RIGHT)}
        return told | (
            {"verdict": "", "figures": ""} if blind else {"verdict": self._verdict, "figures": self._figures}
        )

    @property
    def prompt(self) -> str:
        """What the candidate got."""
        prompt = self.row.get("prompt")
        return text_of(prompt, self.hidden) if isinstance(prompt, str) else ""

    @property
    def _verdict(self) -> str:
        accepted = self.row.get("accepted")
        if pd.isna(self.row["points"]):
            return f"no score: the {self.row['error_class']} failed" + (f" ({self._repeats})" if self._repeats else "")
        said = "" if accepted is None or pd.isna(accepted) else ", accepted" if accepted else ", not accepted"
        said += ", format broken" if self.row["unformatted"] else ""
        return f"score {self.row['points']:.2f}{said}" + (f" ({self._repeats})" if self._repeats else "")

    @property
    def _figures(self) -> str:
        from workbench.views.tables import seconds, usd

        parts = []
        for name, form in (("latency_s", seconds), ("cost_usd", usd)):
            value = self.row.get(name)
            if value is not None and not pd.isna(value):
                parts.append(form(float(value)))
        attempts = self.row.get("attempts")
        if attempts is not None and not pd.isna(attempts) and attempts > 1:
            parts.append(f"{int(attempts)} attempts")
        tokens = self.row.get("output_tokens")
        if tokens is not None and not pd.isna(tokens) and not math.isnan(float(tokens)):
            parts.append(counted(int(tokens), "token"))
        return ", ".join(parts)


def text_of(value: Any, hidden: bool) -> str:
    """A value as text, as a page can hold it; hidden, only its length."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)
    if hidden:
        return str(redact(text, "restricted"))
    text = sendable(text)
    return (
        text
        if len(text) <= _LONGEST
        else f"{text[:_LONGEST]} … ({counted(len(text) - _LONGEST, 'more letter', spec=',')})"
    )


def right_texts(key: Any, several: Collection[str]) -> list[str]:
    """The texts that are right by a key of one value, such as {"label": "bug"}; none where the key is no text."""
    if not isinstance(key, dict) or len(key) != 1:
        return []
    ((name, value),) = key.items()
    values = value if isinstance(value, list) else [value]
    if not all(isinstance(each, str | int | float) and not isinstance(each, bool) for each in values):
        return []
    texts = list(map(str, values))
    return texts if name in several else [", ".join(texts)]


def by_field(key: Any, answers: Sequence[Answer], several: Collection[str]) -> list[dict[str, Any]] | None:
    """Answers by field, the key first; None where they are no JSON. Without a key, the first stands for it."""
    found = [answer.parsed for answer in answers]
    if all(each is None for each in found):
        return None
    if isinstance(key, dict):
        return [row._asdict() | {"counts": _counted(row, answers)} for row in fields([key, *found], several)]
    first = next(each for each in found if each is not None)
    rows = fields([first, *found])
    none = [False] * len(answers)  # nobody says what is right
    return [{"path": row.path, "values": row.values[1:], "differs": row.differs[1:], "counts": none} for row in rows]


def _counted(row: Row, answers: Sequence[Answer]) -> list[bool]:
    """Which values differ from the key, the first of them, and count as right all the same."""
    counting = [answer.counts(row.path) for answer in answers]
    return [False, *(differs and counts for differs, counts in zip(row.differs[1:], counting, strict=True))]
