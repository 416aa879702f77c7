"""promptfoo's rows and its short notation for assertions: `icontains:bonjour`, `rouge-n(0.5):…`, a bare text.

assertion_from("contains-all:a,b")        # {'type': 'contains-all', 'value': ['a', 'b']}
test, places = from_row({"text": "Hi", "__expected": "Salut"}, "tests.csv:2")
"""

from __future__ import annotations

import csv
import re
from typing import Any

_TYPES = (
    *("agent-rubric", "answer-relevance", "bleu", "classifier", "contains", "contains-all", "contains-any"),
    *("contains-html", "contains-json", "contains-sql", "contains-xml", "context-faithfulness", "context-recall"),
    *("context-relevance", "conversation-relevance", "cost", "ends-with", "equals", "factuality", "finish-reason"),
    *("g-eval", "gleu", "guardrails", "icontains", "icontains-all", "icontains-any", "is-html", "is-json"),
    *("is-refusal", "is-sql", "is-valid-function-call", "is-valid-openai-function-call"),
    *("is-valid-openai-tools-call", "is-xml", "javascript", "latency", "levenshtein", "llm-rubric", "meteor"),
    *("model-graded-closedqa", "model-graded-factuality", "moderation", "perplexity", "perplexity-score", "pi"),
    *("python", "regex", "rouge-l", "rouge-n", "rouge-s", "ruby", "search-rubric", "similar", "skill-used"),
    *("starts-with", "tool-call-f1", "trace-error-spans", "trace-span-count", "trace-span-duration", "webhook"),
    *("trajectory:goal-success", "trajectory:step-count", "trajectory:tool-args-match"),
    *("trajectory:tool-sequence", "trajectory:tool-used", "word-count"),
)
_NOTATION = re.compile(
    rf"(not-)?({'|'.join(sorted(map(re.escape, _TYPES), key=len, reverse=True))})(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?",
    re.DOTALL,
)
_LISTS = ("contains-all", "contains-any", "icontains-all", "icontains-any")
_SCRIPTS = re.compile(r"(?:javascript|fn|eval):|file://.*\.(?:js|ts|mjs|cjs)(?::|$)", re.DOTALL)
_PYTHON = re.compile(r"python:|file://.*\.py(?::|$)", re.DOTALL)


def assertion_from(text: str) -> dict[str, Any]:
    """An assertion in short notation; a text without a known type is what the answer must equal."""
    text = text.strip()
    if _SCRIPTS.match(text):
        return {"type": "javascript", "value": text}
    if _PYTHON.match(text):
        return {"type": "python", "value": text}
    if text.startswith("grade:"):
        return {"type": "llm-rubric", "value": text[6:]}
    match = _NOTATION.fullmatch(text)
    if match is None:
        return {"type": "equals", "value": text}
    negated, kind, threshold, value = match.groups()
    assertion: dict[str, Any] = {"type": f"{negated or ''}{kind}"}
    if value is not None and value.strip():
        assertion["value"] = separated(value) if kind in _LISTS else value.strip()
    if threshold is not None:
        assertion["threshold"] = float(threshold)
    return assertion


def separated(text: str) -> list[str]:
    """The values of a list in short notation: commas part them, quotes hold one together."""
    try:
        cells = next(csv.reader([text.replace("\n", " ")], skipinitialspace=True), [])
    except csv.Error:
        cells = text.split(",")
    return [cell.strip() for cell in cells if cell.strip()]


def from_row(row: dict[str, str], place: str) -> tuple[dict[str, Any], list[str]]:
    """A row of a table of tests as a test, and the places of its assertions.

    What nothing reads stands in the test under its column's name.
    """
    test: dict[str, Any] = {"vars": {}, "assert": [], "options": {}, "metadata": {}}
    places: list[str] = []
    settings: dict[int, float] = {}
    metric = row.get("__metric", "").strip()
    for column, cell in row.items():
        if column.startswith("__expected"):
            if cell.strip():
                test["assert"].append(assertion_from(cell))
                places.append(f"{place} {column.partition('#')[0]}")
        elif column in ("__prefix", "__suffix"):
            test["options"][column[2:]] = cell
        elif column.startswith("__metadata:"):
            _metadata(test["metadata"], column.removeprefix("__metadata:"), cell)
        elif column.startswith("__config:"):
            _setting(test, settings, column, cell)
        elif column in ("__threshold", "__metric"):
            test |= {"threshold": cell.strip()} if column == "__threshold" and cell.strip() else {}
        elif column.startswith("__"):
            test |= {f"column {column}": cell} if cell.strip() else {}
        else:
            test["vars"][column] = cell
    for index, assertion in enumerate(test["assert"]):
        assertion.update({"metric": metric} if metric else {})
        assertion.update({"threshold": settings.pop(index)} if index in settings else {})
    for index in settings:
        test[f"column __config of __expected{index + 1}"] = "no such assertion"
    return test, places


def _metadata(metadata: dict[str, Any], name: str, cell: str) -> None:
    if not cell.strip():
        return
    if name.endswith("[]"):
        parts = re.split(r"(?<!\\),", cell)
        metadata[name[:-2]] = [part.strip().replace("\\,", ",") for part in parts]
    else:
        metadata[name] = cell


def _setting(test: dict[str, Any], settings: dict[int, float], column: str, cell: str) -> None:
    """A column such as `__config:__expected2:threshold`."""
    match = re.fullmatch(r"__config:__expected(\d*):threshold", column)
    if not cell.strip():
        return
    try:
        if match is None:
            raise ValueError
        settings[int(match.group(1) or 1) - 1] = float(cell)
    except ValueError:
        test[f"column {column}"] = cell
