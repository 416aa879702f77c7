"""Eval sets that an audit finds nothing in, for tests to plant something into.

evalset = colors(project, plant=lambda items, train: items.append(item("x", "a thing", "red")))
found(audit(evalset))           # [("duplicates", "warning", ("c-001", "x"))]
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from conftest import item, write_evalset

from workbench.audit import Audit
from workbench.evalset import EvalSet, load_evalset

Rows = list[dict[str, Any]]
Plant = Callable[[Rows, Rows], object]

THINGS = {
    "red": (
        "a ripe tomato; the planet Mars; fire engines in Boston; a stop sign; rubies; a cooked lobster; the "
        "Ferrari F40; blood on a bandage; the Golden Gate Bridge from afar; a ladybird's back; strawberries "
        "in June; a postbox in London; the flag of China; chili powder; a robin's breast; brick walls of "
        "Siena; raspberry jam; a Santa costume; poppies on a field; the ace of hearts"
    ),
    "green": (
        "spring grass; the Statue of Liberty; a lime; an emerald necklace; moss on a stone; traffic lights "
        "that say go; a cucumber's skin; Kermit; pine needles; a snooker table; mint leaves; the felt of a "
        "billiard hall; pistachio ice; jade figurines; an unripe banana; lettuce; a four-leaf clover; the "
        "Grinch; avocado flesh; young peas"
    ),
    "blue": (
        "a clear sky at noon; sapphires; the sea off Naxos; Smurfs; a police light in Berlin; cornflowers; "
        "denim trousers; the flag of the United Nations; a kingfisher's wing; Neptune seen by Voyager; "
        "ballpoint ink; Delft tiles; a swimming pool; glacier ice; the veins of a wrist; Cookie Monster; "
        "lapis lazuli; a whale in deep water; the third ring of the Olympics; forget-me-nots"
    ),
}
LAWN = "the thick spring grass that the gardener of the old town hall sows again every year on the lawn in {}"
EXAMPLES = {
    "red": "cherry lips; a pillar of embers",
    "green": "a parrot's tail; kale soup",
    "blue": "an iris; Avatar's people",
}


def _rows(prefix: str, things: dict[str, str]) -> Rows:
    named = [(thing.strip(), label) for label, text in things.items() for thing in text.split(";")]
    return [item(f"{prefix}-{number:03}", thing, label) for number, (thing, label) in enumerate(named, 1)]


def colors(root: Path, plant: Plant | None = None, **changes: Any) -> EvalSet:
    """60 items with one of three labels: some restricted, some in a cluster, six for training, a few-shot prompt."""
    items, train = _rows("c", THINGS), _rows("t", EXAMPLES)
    items[0]["inputs"]["thing"] = "the tomato of Jane Roe, jane.roe@example.com, tel. 555-0142"
    items[0]["sensitivity"] = "restricted"
    for number, month in ((20, "May"), (21, "June")):
        items[number]["inputs"]["thing"], items[number]["cluster"] = LAWN.format(month), "lawn"
    if plant:
        plant(items, train)
    ask = {"role": "user", "content": "Color of {{ inputs.thing }}?"}
    variants = {"default": {"messages": [ask]}, "few_shot": {"messages": [ask], "examples": 3}}
    folder = write_evalset(root, "colors", items, **{"variants": variants, "train": train, **changes})
    return load_evalset(folder)


TICKETS = (
    ("billing", False, "12.50", "You took 12.50 from my account twice in May, please give one back."),
    ("billing", False, None, "Can the invoice carry our new address from next year on?"),
    ("billing", True, "980", "The tax office comes today and the receipt over 980 is missing!"),
    ("billing", False, None, "Do students get a rebate?"),
    ("billing", False, "49", "My plan went up to 49 without a word of warning."),
    ("billing", True, "1200", "We are being cut off although the 1200 were paid on Monday. Help now!"),
    ("access", False, None, "I forgot which address I signed up with."),
    ("access", True, None, "Nobody in the whole firm gets past the login page since nine o'clock."),
    ("access", False, None, "How many people may share one seat?"),
    ("access", False, None, "The text message with the code never arrives in Norway."),
    ("access", True, None, "Our administrator left yesterday and took every permission along; payroll is due tonight."),
    ("access", False, None, "Please make Ngozi an editor of the marketing folder."),
    ("bug", False, None, "The chart shows February twice and no March."),
    (
        "bug",
        True,
        "3.75",
        "Checkout multiplies each price by ten, a coffee of 3.75 included, and customers are leaving.",
    ),
    ("bug", False, None, "Dark mode hides the save button on small screens."),
    ("bug", False, None, "Exporting to PDF drops umlauts: Müller becomes M ller."),
    ("bug", True, None, "Every upload since the release is empty, we are losing scans of patients by the minute."),
    ("bug", False, "0.01", "The sum is off by 0.01 when I sort the column."),
    ("bug", False, None, "Undo works once, then the key does nothing."),
    ("access", False, None, "Is there a way to sign in with a passkey?"),
    ("billing", False, "15", "What does the 15 for storage stand for?"),
)


def tickets(root: Path, plant: Plant | None = None, schema: dict[str, Any] | None = None, **changes: Any) -> EvalSet:
    """21 items with JSON answers: a label, a flag and an amount of money."""
    items: Rows = [
        {
            "id": f"k-{number:02}",
            "inputs": {"body": body, "seen_at": number},
            "expectations": {"queue": queue, "urgent": urgent, "amount": amount},
        }
        for number, (queue, urgent, amount, body) in enumerate(TICKETS, 1)
    ]
    train: Rows = []
    if plant:
        plant(items, train)
    fields = {"queue": {"enum": ["billing", "access", "bug"]}, "urgent": {"type": "boolean"}}
    shape = schema or {
        "type": "object",
        "required": ["queue", "urgent", "amount"],
        "properties": {**fields, "amount": {"type": ["string", "null"]}},
    }
    (root / "evalsets" / "tickets").mkdir(parents=True, exist_ok=True)
    (root / "evalsets" / "tickets" / "schema.json").write_text(json.dumps(shape))
    made: dict[str, Any] = {
        "variants": {"default": {"messages": [{"role": "user", "content": "Sort this: {{ inputs.body }}"}]}},
        "output": {"json_schema": "schema.json"},
        "generation": {"temperature": 0, "max_tokens": 60, "seed": 0},
        "scorers": [{"type": "json_fields", "fields": {"queue": "label", "urgent": "boolean", "amount": "money"}}],
    }
    return load_evalset(write_evalset(root, "tickets", items, train=train, **{**made, **changes}))


def questions(root: Path, plant: Plant | None = None, **changes: Any) -> EvalSet:
    """12 items with answers in free text."""
    known = (
        "Which river runs through Lyon?=The Rhône, which the Saône joins in the south of the city; Who wrote "
        "Emma?=Jane Austen; Largest moon of Saturn?=Titan; What does a luthier make?=Violins, guitars and "
        "other instruments with strings; How many legs has a crab?=Ten; When did the Berlin Wall come "
        "down?=In November 1989; Capital of Peru?=Lima; Whose law relates current and voltage?=Ohm's; What is "
        "frozen carbon dioxide called?=Dry ice; Who painted Guernica?=Picasso; Which metal is liquid at room "
        "temperature?=Mercury; What do koalas eat?=Leaves of the eucalyptus, and little else"
    )
    pairs = [entry.strip().split("=") for entry in known.split("; ")]
    items: Rows = [
        {"id": f"q-{number:02}", "inputs": {"question": question}, "expectations": {"answer": answer}}
        for number, (question, answer) in enumerate(pairs, 1)
    ]
    train: Rows = []
    if plant:
        plant(items, train)
    made: dict[str, Any] = {
        "variants": {"default": {"messages": [{"role": "user", "content": "{{ inputs.question }}"}]}},
        "output": {"text": True},
        "scorers": [{"type": "exact", "ignore": ["case"]}],
    }
    return load_evalset(write_evalset(root, "questions", items, train=train, **{**made, **changes}))


def says(row: dict[str, Any], text: str, **more: Any) -> None:
    """Add to what an item of `colors` says."""
    row["inputs"]["thing"] += f" {text}"
    row.update(more)


def found(report: Audit) -> list[tuple[str, str, tuple[str, ...]]]:
    """Check, level and ids of every finding."""
    return [(finding.check, finding.level, finding.items) for finding in report.findings]
