"""The tables and figures in the curated sets' READMEs are those of their files, and of the rules that they ship."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import pandas as pd
import pytest
from conftest import REPOSITORY

import workbench as wb
from workbench.evalset import EvalSet
from workbench.scorers import total

Row = dict[str, Any]
Table = list[list[str]]
Condition = Callable[[Row], bool]
Column = tuple[list[Row], Condition]


def readme(name: str) -> str:
    return (REPOSITORY / "evalsets" / name / "README.md").read_text()


def rows(name: str, part: str = "items") -> list[Row]:
    text = (REPOSITORY / "evalsets" / name / f"{part}.jsonl").read_text()
    return [{"cluster": None, **json.loads(line)} for line in text.splitlines()]


def expected(row: Row, name: str) -> Any:
    """The first of several accepted values."""
    value = row["expectations"][name]
    return value[0] if isinstance(value, list) else value


def words(row: Row, name: str) -> int:
    return len(row["inputs"][name].split())


# Conditions of an item


def every(row: Row) -> bool:
    return True


def is_in(name: str, value: str) -> Condition:
    return lambda row: row["slice"].get(name) == value


def has(name: str, value: Any) -> Condition:
    return lambda row: expected(row, name) == value


def marked(value: str) -> Condition:
    return lambda row: row["sensitivity"] == value


LEVELS = [(name, is_in("difficulty", name)) for name in ("easy", "medium", "hard")]
LENGTHS = [(name, is_in("length", name)) for name in ("short", "medium", "long")]
MARKS = [(name, marked(name)) for name in ("internal", "restricted")]


# Tables


def tables(text: str) -> list[Table]:
    """The Markdown tables that count something, without their rulers."""
    found = re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE)
    read = [[cells(line) for line in table.splitlines()] for table in found]
    return [[head, *body] for head, _, *body in read if any(cell.isdigit() for row in body for cell in row)]


def cells(line: str) -> list[str]:
    return [cell.strip(" `") for cell in line.strip("|").split("|")]


def counted(head: Sequence[str], lines: Sequence[tuple[str, Condition]], columns: Sequence[Column]) -> Table:
    """A line a condition, and in each how many items of a column's part of the set meet both conditions."""
    counts = [[sum(line(row) and column(row) for row in part) for part, column in columns] for _, line in lines]
    return [list(head), *([name, *map(str, found)] for (name, _), found in zip(lines, counts, strict=True))]


def data_extraction() -> list[Table]:
    items, train = rows("data_extraction"), rows("data_extraction", "train")
    columns = [("test items", every), *LEVELS, *LENGTHS, *MARKS]
    head = ["", *(name for name, _ in columns), "train items"]
    lines = [*((kind, has("kind", kind)) for kind in ("invoice", "order", "receipt")), ("all", every)]
    return [counted(head, lines, [*((items, column) for _, column in columns), (train, every)])]


TOPICS = ("notice", "assignment", "liability_cap", "evidence", "termination", "warranty", "lease", "employment")
TOPICS += ("consumer_refund", "data_protection")


def legal_reasoning() -> list[Table]:
    items, train = rows("legal_reasoning"), rows("legal_reasoning", "train")
    lines = [("all", every), *MARKS]
    lines += [(f"difficulty: {name}", is_level) for name, is_level in LEVELS]
    lines += [(f"length: {name}", is_length) for name, is_length in LENGTHS]
    lines += [(f"topic: {name}", is_in("topic", name)) for name in TOPICS]
    lines += [("in a cluster", lambda row: row["cluster"] is not None)]
    columns = [(items, has("answer", "yes")), (items, has("answer", "no")), (items, every), (train, every)]
    return [counted(["items", "test yes", "test no", "test", "train"], lines, columns)]


def meeting_summaries() -> list[Table]:
    items = rows("meeting_summaries")
    facts = [fact for row in items for fact in row["expectations"]["facts"]]
    key = [["field", "scored facts", "optional facts", "reference entries"]]
    for field in ("decisions", "action_items", "open_questions"):
        optional = [bool(fact.get("optional")) for fact in facts if fact["field"] == field]
        entries = sum(len(row["expectations"][field]) for row in items)
        key.append([field, *map(str, (optional.count(False), optional.count(True), entries))])
    columns = [("items", every), *LENGTHS, *LEVELS, *MARKS]
    lines = [*((kind, is_in("kind", kind)) for kind in ("planning", "status", "review", "council")), ("all", every)]
    return [key, counted(["kind", *(name for name, _ in columns)], lines, [(items, column) for _, column in columns])]


QUEUES = ("billing", "access", "bug", "how_to", "feature_request", "integrations", "privacy_security", "cancellation")


def support_triage() -> list[Table]:
    columns = [("items", every), *LEVELS, *((name, has("priority", name)) for name in ("low", "normal", "high"))]
    columns += [("urgent", has("priority", "urgent")), ("churn", has("churn_risk", True)), *MARKS]
    head = ["queue", *(name for name, _ in columns)]
    lines = [*((queue, has("queue", queue)) for queue in QUEUES), ("all", every)]
    items, train = ([(rows("support_triage", part), column) for _, column in columns] for part in ("items", "train"))
    return [[*counted(head, lines, items), *counted(head, [("train", every)], train)[1:]]]


COUNTED = {made.__name__: made for made in (data_extraction, legal_reasoning, meeting_summaries, support_triage)}


@pytest.mark.parametrize("name", sorted(path.parent.name for path in REPOSITORY.glob("evalsets/*/README.md")))
def test_every_table_of_counts_is_that_of_the_files(name: str) -> None:
    assert tables(readme(name)) == COUNTED[name]()


# Figures in the text


def span(values: Sequence[int]) -> str:
    return f"{min(values):,} to {max(values):,}"


def ids(found: Sequence[Row], what: str = "") -> str:
    return f"{len(found)}{what} ({', '.join(row['id'] for row in found)})"


def each(of: str, values: Sequence[str], found: Sequence[Row]) -> str:
    return ", ".join(f"{sum(row['slice'][of] == value for row in found)} {value}" for value in values)


def told_of_data_extraction() -> list[str]:
    items, train = rows("data_extraction"), rows("data_extraction", "train")
    sizes = [words(row, "document") for row in items]
    nulls = {name: sum(row["expectations"][name] is None for row in items) for name in items[0]["expectations"]}
    languages = ("en", "de", "fr", "es")
    several = sum(any(isinstance(value, list) for value in row["expectations"].values()) for row in items)
    known = pd.Series([expected(row, "currency") for row in items]).value_counts()
    often = ", ".join(f"{code} {count}" for code, count in known.items() if count > 2)
    seldom = ", ".join(sorted(str(code) for code, count in known.items() if count < 3))
    return [
        f"{len(items)} test items (`items.jsonl`) and {len(train)} training items",
        f"the printed one after it ({several} test items)",
        f"Languages of the test items: {each('language', languages, items)}; of the",
        f"training items: {each('language', languages, train)}.",
        f"Training items: {each('difficulty', ('easy', 'medium', 'hard'), train)};",
        f"key of the test items: {', '.join(f'`{name}` {count}' for name, count in nulls.items() if count)};",
        f"Currencies of the test items: {often}; one or two each of {seldom}; none {nulls['currency']}.",
        f"Documents have {span(sizes)} words (median {median(sizes):.0f})",
    ]


def told_of_legal_reasoning() -> list[str]:
    items, train = rows("legal_reasoning"), rows("legal_reasoning", "train")
    lists = sum(isinstance(row["expectations"]["clause"], list) for row in items)
    sizes = pd.Series([row["cluster"] for row in items]).value_counts().value_counts()
    facts = {word: mean(words(row, "facts") for row in items if has("answer", word)(row)) for word in ("yes", "no")}
    return [
        f"{len(items)} test items on {len({row['inputs']['rule'] for row in items})} rules",
        f"`train.jsonl`: {len(train)} items",
        f"{lists} of the {len(items)} test items have a list",
        f"{sizes[2]} clusters of two and {sizes[3]} of three",
        f"{facts['yes']:.0f} words on average where the answer is yes and {facts['no']:.0f} where it is no",
    ]


def told_of_meeting_summaries() -> list[str]:
    items, train = rows("meeting_summaries"), rows("meeting_summaries", "train")
    scored = [[fact for fact in row["expectations"]["facts"] if not fact.get("optional")] for row in items]
    tasks = [fact for facts in scored for fact in facts if fact["field"] == "action_items"]
    long = [words(row, "transcript") for row in items if is_in("length", "long")(row)]
    named = [{line.split(":")[0] for line in row["inputs"]["transcript"].splitlines() if ":" in line} for row in items]
    return [
        f"{len(items)} test items (`items.jsonl`) and {len(train)} training items",
        f"{span([words(row, 'transcript') for row in items])} words; the {len(long)} long ones {span(long)}.",
        f"much shorter: {span([words(row, 'transcript') for row in train])}.",
        f"each item: {span([len(facts) for facts in scored])} (mean {mean(map(len, scored)):.1f}).",
        f"Of the {len(tasks)} scored action items, {sum(fact['owner'] is None for fact in tasks)} have no owner,",
        f"{sum(fact['due'] is None for fact in tasks)} have no due date",
        f"{span([len(names) for names in named])} speakers",
    ]


def told_of_support_triage() -> list[str]:
    items, train = rows("support_triage"), rows("support_triage", "train")
    priority, queue = (
        [row for row in items if isinstance(row["expectations"][name], list)] for name in ("priority", "queue")
    )
    tested, trained = ([words(row, "body") for row in part] for part in (items, train))
    leaving = [row for row in items if has("churn_risk", True)(row)]
    apart = [row for row in leaving if not has("queue", "cancellation")(row)]
    clusters = pd.Series([row["cluster"] for row in items]).value_counts()
    return [
        f"{len(items)} test items (`items.jsonl`) and {len(train)} training items",
        f"priority of {ids(priority, ' items')}, queue of {ids(queue)}.",
        f"`churn` is true in {len(leaving)} test items, {len(apart)} of them outside `cancellation`.",
        f"Bodies are {span(tested)} words long (median {median(tested):.0f});",
        f"in the training items {span(trained)} (median {median(trained):.0f}).",
        f"`channel`: {each('channel', ('email', 'form', 'chat'), items)}.",
        f"`length` of the body: {each('length', ('short', 'medium', 'long'), items)} (",
        f"`language`: {each('language', ('en', 'de', 'es', 'fr'), items)};",
        f"Clusters: {len(clusters)} of 2 or 3 items ({clusters.sum()} in all)",
    ]


@pytest.mark.parametrize("name", COUNTED)
def test_the_figures_in_the_text_are_those_of_the_files(name: str) -> None:
    text = " ".join(readme(name).split())
    assert [said for said in globals()[f"told_of_{name}"]() if said not in text] == []


# What the rules that two of the sets ship score


def test_what_the_rules_score_is_what_the_readme_says(curated: Path) -> None:
    sets = wb.load_evalsets("evalsets")
    table = wb.run(sets, wb.load_models("models.yaml").select("rules"), track=False, progress=False).outcomes
    assert set(table["task"]) == {"support_triage", "legal_reasoning"}  # the others have no table
    told = [*told_of_rules_for_tickets(table, sets["support_triage"]), *told_of_rules_for_law(table)]
    text = " ".join(readme("support_triage").split())
    assert [said for said in told if said not in text] == []


def told_of_rules_for_tickets(table: pd.DataFrame, evalset: EvalSet) -> list[str]:
    own = table[table["task"] == "support_triage"].set_index("item_id")
    items = {row["id"]: row for row in rows("support_triage")}
    level = pd.Series({name: row["slice"]["difficulty"] for name, row in items.items()})
    score, right = (own[name].groupby(level).mean() for name in ("score", "metric.field.queue"))
    queue = pd.Series({name: expected(row, "queue") for name, row in items.items()})
    by_queue = own["metric.field.queue"].groupby(queue).mean()
    same = evalset.parse('{"queue": "bug", "priority": "normal", "churn_risk": false}')
    constant = mean(total(evalset.scorers, same, item.expectations).value for item in evalset.items)
    return [
        f"the table scores {own['score'].mean():.2f}, and {own['accepted'].mean():.2f} of its answers are accepted:",
        f"score {by_level(score)}; the queue right in {by_level(right)}.",
        f"By queue that is {', '.join(f'`{name}` {by_queue[name]:.2f}' for name in QUEUES)}.",
        f"always (`bug`, `normal`, false) scores {constant:.2f}.",
    ]


def told_of_rules_for_law(table: pd.DataFrame) -> list[str]:
    own = table[table["task"] == "legal_reasoning"].set_index("item_id")
    level = pd.Series({row["id"]: row["slice"]["difficulty"] for row in rows("legal_reasoning")})
    scores = own["score"].groupby(level).mean()
    return [f"`legal_reasoning` with its own table scores {own['score'].mean():.2f}: {by_level(scores)} items."]


def by_level(shares: pd.Series) -> str:
    return ", ".join(f"{shares[name]:.2f} {name}" for name, _ in LEVELS)
