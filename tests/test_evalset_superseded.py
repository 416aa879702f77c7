"""What a meeting decided and then changed states no fact of its key: `superseded.csv` has such sentences.

Each was a decision, a leaning, an offer, a task or a question of the transcript that no longer held at its end.
"""

from __future__ import annotations

import csv
import json

from conftest import REPOSITORY

from workbench.scorers.facts import states


def test_what_no_longer_held_at_the_end_states_no_fact() -> None:
    folder = REPOSITORY / "evalsets" / "meeting_summaries"
    lines = [line for part in ("items", "train") for line in (folder / f"{part}.jsonl").read_text().splitlines()]
    facts = {item["id"]: item["expectations"]["facts"] for item in map(json.loads, lines)}
    with (REPOSITORY / "tests" / "superseded.csv").open() as file:
        said = list(csv.DictReader(file))
    found = [
        (row["item"], row["said"], fact["terms"])
        for row in said
        for fact in facts[row["item"]]
        if fact["field"] == row["field"] and states(row["said"], fact["terms"])
    ]
    assert len(said) >= 100
    assert found == []
