"""How long 100,000 answers take to be read and scored, for a triage-like and an extraction-like eval set.

In processor time of one process, so that other load on the machine does not count.

.venv/bin/python benchmarks/scoring.py
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from workbench.files import Document
from workbench.scorers import build_scorers, parse_answer, total

ANSWERS = 100_000
ITEMS = 300  # whose answers are asked for again and again, as candidates and repeats do
QUEUES = ["billing", "access", "bug", "how_to", "feature_request", "integrations", "privacy_security", "cancellation"]
LEVELS = ["low", "normal", "high", "urgent"]

Row = tuple[str, dict[str, Any]]
Json = dict[str, Any]


def an_object(properties: Json) -> Json:
    """A schema of an object with exactly these fields."""
    return {"type": "object", "additionalProperties": False, "required": list(properties), "properties": properties}


def triage(chance: random.Random) -> Json:
    """A ticket's queue, priority and churn risk."""
    return {"queue": chance.choice(QUEUES), "priority": chance.choice(LEVELS), "churn_risk": chance.random() < 0.3}


TRIAGE_SCHEMA = an_object({"queue": {"enum": QUEUES}, "priority": {"enum": LEVELS}, "churn_risk": {"type": "boolean"}})
TRIAGE = {
    "type": "json_fields",
    "average": "mean",
    "fields": {"queue": "label", "priority": "ordinal", "churn_risk": "boolean"},
}


def invoice(chance: random.Random) -> Json:
    """An invoice with up to five lines, values written as documents write them."""
    day = date(2024, 1, 1) + timedelta(days=chance.randrange(1000))
    lines = [
        {
            "sku": f"SKU-{chance.randrange(500)}",
            "units": chance.randrange(1, 20),
            "price": f"{chance.random() * 99:.2f}",
        }
        for _ in range(chance.randrange(1, 6))
    ]
    return {
        "number": f"INV-{chance.randrange(10_000)}",
        "issued": chance.choice([day.isoformat(), f"{day:%d.%m.%Y}", f"{day:%B} {day.day}, {day.year}"]),
        "total": f"{chance.choice(['EUR', 'USD'])} {chance.random() * 5000:,.2f}",
        "currency": chance.choice(["EUR", "USD", None]),
        "lines": lines,
    }


TEXT = {"type": ["string", "null"]}
LINE = {"sku": "text", "units": "number", "price": "money"}
INVOICE_SCHEMA = an_object(
    {
        **dict.fromkeys(["number", "issued", "total", "currency"], TEXT),
        "lines": {
            "type": "array",
            "items": an_object({"sku": TEXT, "units": {"type": "integer", "minimum": 0}, "price": TEXT}),
        },
    }
)
INVOICE = {
    "type": "json_fields",
    "fields": {
        **{"number": "text", "issued": "date", "total": "money", "currency": "label"},
        "lines": {"type": "list", "of": {"type": "object", "fields": LINE}},
    },
}


def answered(chance: random.Random, expected: Json, other: Json) -> str:
    """A model's text: the expected object with some fields of another one, often with words or a fence around."""
    mixed = {name: other[name] if chance.random() < 0.3 else value for name, value in expected.items()}
    text = json.dumps(mixed)
    return chance.choice([text, text, f"```json\n{text}\n```", f"Here it is: {text}", "I cannot do that."])


def measured(name: str, made: Callable[[random.Random], Json], schema: Json, spec: Json) -> None:
    """Print how long reading and scoring take."""
    chance = random.Random(0)
    scorers = build_scorers([spec], Document(Path("evalset.yaml"), {}, {}), schema=schema)
    items = [made(chance) for _ in range(ITEMS)]
    rows: list[Row] = [
        (answered(chance, expected, chance.choice(items)), expected)
        for expected in (chance.choice(items) for _ in range(ANSWERS))
    ]
    parse_answer(rows[0][0], schema)  # imports jsonschema
    started = time.process_time()
    answers = [parse_answer(text, schema) for text, _ in rows]
    read = time.process_time()
    mean = sum(total(scorers, answer, row[1]).value for answer, row in zip(answers, rows, strict=True)) / ANSWERS
    done = time.process_time()
    rate = ANSWERS / (done - started)
    print(
        f"{name:11} {done - started:6.1f} s   {rate:8,.0f} a second   "
        f"(reading {read - started:.1f} s, scoring {done - read:.1f} s; mean score {mean:.2f})"
    )


def main() -> None:
    print(f"{ANSWERS:,} answers read and scored, Python {sys.version.split()[0]}, processor time of one process")
    measured("triage", triage, TRIAGE_SCHEMA, TRIAGE)
    measured("extraction", invoice, INVOICE_SCHEMA, INVOICE)


if __name__ == "__main__":
    main()
