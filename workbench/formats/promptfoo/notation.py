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
_PROGRAMS = {
    "javascript": re.compile(r"(?:javascript|fn|eval):|file://.*\.(?:js|ts|mjs|cjs)(?::|$)", re.DOTALL),
    "python": re.compile(r"python:|file://.*\.py(?::|$)", re.DOTALL),
    "llm-rubric": re.compile(r"grade:"),
}


def assertion_from(text: str) -> dict[str, Any]:
    """An assertion in short notation; a text without a known type is what the answer must equal."""
    text = text.strip()
    for kind, pattern in _PROGRAMS.items():
        if pattern.match(text):
            return {"type": kind, "value": text}
    match = _NOTATION.fullmatch(text)
    if match is None:
        return {"type": "equals", "value": text}
    negated, kind, threshold, value = match.groups()
    assertion: dict[str, Any] = {"type": f"{negated or ''}{kind}"}
    if value is not None and value.strip():
        assertion["value"] = separated(value) if kind in _LISTS else value.strip()
    return assertion | ({"threshold": float(threshold)} if threshold is not None else {})


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
    test: dict[str, Any] = {"vars": {}, "assert": [], "metadata": {}}
    places: list[str] = []
    for column, cell in row.items():
        if not column.startswith("__"):
            test["vars"][column] = cell
        elif not cell.strip():
            continue
        elif column.startswith("__expected"):
            test["assert"].append(assertion_from(cell))
            places.append(f"{place} {column.partition('#')[0]}")
        elif column.startswith("__metadata:"):
            name = column.removeprefix("__metadata:")
            test["metadata"][name.removesuffix("[]")] = [cell] if name.endswith("[]") else cell
        else:
            test["threshold" if column == "__threshold" else f"column {column}"] = cell.strip()
    return test, places
