"""The audit of an answer key: its balance, whether it scores itself, and answers that the prompt gives away."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from audited import Plant, Rows, colors, found, questions, says, tickets
from conftest import COLORS, item

from workbench.audit import Finding, audit


def only(findings: list[Finding]) -> Finding:
    (finding,) = findings
    return finding


def labels(items: Rows, label: str, keep: int) -> None:
    """Leave so many items of a label."""
    own = [row for row in items if row["expectations"]["label"] == label]
    for row in own[keep:]:
        items.remove(row)


@pytest.mark.parametrize(
    ("plant", "changes", "what"),
    [
        (None, {"output": {"labels": [*COLORS, "pink", "Gold"]}}, "label: no item has pink, Gold"),
        (lambda items, train: labels(items, "blue", 4), {}, "label: fewer than 5 items have blue (4)"),
        (
            lambda items, train: labels(items, "blue", 1) or labels(items, "green", 4),
            {},
            "label: fewer than 5 items have green (4), blue (1)",
        ),
        (
            lambda items, train: items.extend(
                item(f"x{n}", f"{n} bottles of {n * n} wines", "red") for n in range(150)
            ),
            {},
            "label: 170 of 210 items are 'red': always answering that would be right on 81%",
        ),
        (lambda items, train: labels(train, "blue", 0), {}, "train.jsonl has no item for blue"),
    ],
)
def test_a_label_that_is_missing_rare_or_too_frequent_is_found(
    project: Path, plant: Plant, changes: dict[str, Any], what: str
) -> None:
    finding = only(audit(colors(project, plant, **changes)).findings)
    assert (finding.check, finding.level, finding.what) == ("labels", "warning", what)


@pytest.mark.parametrize(
    ("plant", "changes"),
    [
        (lambda items, train: labels(items, "blue", 5), {}),
        (lambda items, train: labels(items, "blue", 5) or labels(items, "green", 5), {}),  # two thirds are red
        (lambda items, train: [row["expectations"].update(label=["red", "blue"]) for row in items[:3]], {}),
        (  # nothing shows the training items
            lambda items, train: labels(train, "blue", 0),
            {"variants": {"default": {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}}},
        ),
        (
            lambda items, train: train.clear() or train.append(item("t", "a coal at night")),
            {},
        ),  # no room for each label
    ],
)
def test_a_balance_that_will_do_is_no_finding(project: Path, plant: Plant, changes: dict[str, Any]) -> None:
    if len(changes) == 0:
        ask = {"role": "user", "content": "Color of {{ inputs.thing }}?"}
        changes = {"variants": {"default": {"messages": [ask]}, "few_shot": {"messages": [ask], "examples": 1}}}
    assert found(audit(colors(project, plant, **changes))) == []


@pytest.mark.parametrize(("names", "checks"), [("A B C D", set()), ("a b c d", {"labels"}), ("B C D E", {"labels"})])
def test_letters_of_choices_may_be_rare(project: Path, names: str, checks: set[str]) -> None:
    """A choice's letter means something else in each item."""
    choices = names.split()

    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate([*items, *train]):
            row["expectations"]["label"] = choices[0] if number % 3 else choices[1] if number > 3 else choices[2]
        train[2:] = []

    ask = {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}], "examples": 1}
    evalset = colors(project, plant, output={"labels": choices}, variants={"default": ask})
    assert {finding.check for finding in audit(evalset).findings} == checks


def test_every_label_field_of_a_json_answer_is_counted(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["expectations"]["urgent"] = row["id"] == "k-01"

    report = audit(tickets(project, plant))
    assert report.labels == {"queue": {"billing": 7, "access": 7, "bug": 7}, "urgent": {"True": 1, "False": 20}}
    assert [finding.what for finding in report.findings] == [
        "urgent: fewer than 5 items have True (1)",
        "urgent: 20 of 21 items are 'False': always answering that would be right on 95%",
    ]


def test_labels_that_are_no_list_are_not_named(project: Path) -> None:
    """An answer in free text may be restricted; the audit repeats none."""

    def plant(items: Rows, train: Rows) -> None:
        items.append({"id": "x", "inputs": {"question": "Who?"}, "expectations": {"label": "CANARY"}})
        train.append({"id": "t", "inputs": {"question": "When?"}, "expectations": {"label": "now"}})
        for row in items[:-1]:
            row["expectations"]["label"] = "it"

    ask = {"messages": [{"role": "user", "content": "{{ inputs.question }}"}], "examples": 1}
    evalset = questions(project, plant, scorers=[{"type": "label"}], variants={"default": ask})
    assert "CANARY" not in str(audit(evalset))


# The key itself.


def with_amount(items: Rows, number: int, amount: Any) -> None:
    items[number]["expectations"]["amount"] = amount


STRICT = {
    "type": "object",
    "required": ["queue", "urgent", "amount"],
    "properties": {
        "queue": {"enum": ["billing", "access", "bug"]},
        "urgent": {"type": "boolean"},
        "amount": {"type": ["string", "null"], "maxLength": 6},
    },
}


def test_a_key_that_breaks_its_own_schema_is_found(project: Path) -> None:
    evalset = tickets(project, lambda items, train: with_amount(items, 4, "49.00 EUR"), schema=STRICT)
    finding = only(audit(evalset).findings)
    assert (finding.check, finding.level, finding.items) == ("key", "error", ("k-05",))
    assert finding.what == "1 item whose own expected answer breaks the output format"


def test_the_training_items_keys_are_looked_at_too(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        given = {"queue": "bug", "urgent": False, "amount": "1234567.89"}
        train.append({"id": "t-1", "inputs": {"body": "All is lost."}, "expectations": given})

    assert found(audit(tickets(project, plant, schema=STRICT))) == [("key", "error", ("t-1",))]


def test_a_key_that_no_answer_can_meet_is_found(project: Path) -> None:
    """A pattern picks the number out of an answer, and the key is written in words."""

    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            row["expectations"]["answer"] = "twelve" if number == 3 else str(number)

    scorers = [{"type": "exact", "extract": r"\d+"}]
    finding = only(audit(questions(project, plant, scorers=scorers)).findings)
    assert (finding.check, finding.level, finding.items) == ("key", "error", ("q-04",))
    assert finding.what == "1 item whose own expected answer does not get the full score"


@pytest.mark.parametrize(
    ("scorers", "expectations"),
    [
        ([{"type": "contains"}], {"answer": "Lima"}),
        ([{"type": "regex"}], {"pattern": "^[A-Z].*$"}),
        ([{"type": "rouge"}], {"answer": "Lima, by the sea"}),
        (
            [{"type": "exact"}, {"type": "contains", "key": "word", "optional": True}],
            {"answer": "Lima", "word": "Peru"},
        ),
    ],
)
def test_an_expectation_that_is_no_whole_answer_is_not_scored_as_one(
    project: Path, scorers: list[dict[str, Any]], expectations: dict[str, Any]
) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["expectations"] = expectations

    assert found(audit(questions(project, plant, scorers=scorers))) == []


# Leaks.


@pytest.mark.parametrize(
    "text",
    [
        "\nLabel: red",
        "\n**Correct answer:** Red.",
        "\nThe right category is 'red'",
        "\nexpected label = RED",
        "\nAnswer: red",
        "\ncategory: red\nthank you",
        "\nGround truth:\nred",
    ],
)
def test_an_announced_answer_is_found(project: Path, text: str) -> None:
    finding = only(audit(colors(project, lambda items, train: says(items[9], text))).findings)
    assert (finding.check, finding.level, finding.items) == ("leaks", "error", ("c-010",))
    assert finding.what == "1 item whose prompt announces the right answer"


@pytest.mark.parametrize(
    "text",
    [
        "\nLabel: blue",  # not the answer
        "\nCategory: fruit",
        "\nAnswer with one word: red, green or blue",
        "\nThe answer is not red",
        " of a red label",
        "\n" * 5000 + "Answer:",
    ],
)
def test_a_label_in_a_natural_place_is_no_leak(project: Path, text: str) -> None:
    assert found(audit(colors(project, lambda items, train: says(items[9], text)))) == []


def yes_no(items: Rows, train: Rows) -> None:
    for number, row in enumerate(items):
        row["expectations"]["answer"] = "yes" if number % 2 else "no"


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("\nQ: Did you see him?\nAnswer: Yes.\nQ: When?\nAnswer: At nine.", False),  # a witness's, not the task's
        ("\nAnswer: Yes.", True),
        ("\nCorrect answer: yes\nThink it over.", True),
    ],
)
def test_a_yes_in_a_dialogue_is_no_leak(project: Path, text: str, leaks: bool) -> None:
    def plant(items: Rows, train: Rows) -> None:
        yes_no(items, train)
        items[3]["inputs"]["question"] += text

    expected = [("leaks", "error", ("q-04",))] if leaks else []
    ask = {"messages": [{"role": "user", "content": "{{ inputs.question }}\nAnswer yes or no."}]}
    evalset = questions(project, plant, scorers=[{"type": "yes_no"}], variants={"default": ask})
    assert found(audit(evalset)) == expected


def test_a_label_field_of_a_json_answer_is_announced_too(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[2]["inputs"]["body"] += "\nCategory: billing"
        items[4]["inputs"]["body"] += "\nTotal: 49"  # to be extracted

    assert found(audit(tickets(project, plant))) == [("leaks", "error", ("k-03",))]


def test_an_answer_that_only_the_template_announces_is_found(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[5]["inputs"]["hint"] = items[5]["expectations"]["label"]
        for row in items[:5] + items[6:]:
            row["inputs"]["hint"] = "none"

    hinted = {"default": {"messages": [{"role": "user", "content": "{{ inputs.thing }}\nLabel: {{ inputs.hint }}"}]}}
    assert found(audit(colors(project, plant, variants=hinted, train=[]))) == [("leaks", "error", ("c-006",))]


def tell(items: Rows, share: float, value: Any = None) -> None:
    for number, row in enumerate(items):
        right = row["expectations"].get("label", row["expectations"].get("urgent"))
        row["inputs"]["note"] = (right if value is None else value) if number < share * len(items) else "?"


SHOWN = {"default": {"messages": [{"role": "user", "content": "{{ inputs.thing }} ({{ inputs.note }})"}]}}


def test_an_input_that_is_the_answer_is_found(project: Path) -> None:
    evalset = colors(project, lambda items, train: tell(items, 0.9), variants=SHOWN)
    told = [finding.what for finding in audit(evalset).findings]
    assert told == [
        "inputs.note is the expected label in 54 of 60 items",
        "54 of 60 items name their label in the inputs, and no other",
    ]
    assert [finding.level for finding in audit(evalset).findings] == ["error", "warning"]


@pytest.mark.parametrize(
    ("plant", "changes"),
    [
        (lambda items, train: tell(items, 0.7), {"variants": SHOWN}),  # right too often, but no giving away
        (lambda items, train: tell(items, 1.0, "red"), {"variants": SHOWN}),  # the same for all
        (lambda items, train: tell(items, 1.0), {}),  # no prompt shows it
    ],
)
def test_an_input_that_tells_little_or_is_not_shown_is_no_leak(
    project: Path, plant: Plant, changes: dict[str, Any]
) -> None:
    assert found(audit(colors(project, plant, **changes))) == []


def test_an_input_that_is_the_same_for_all_gives_nothing_away(project: Path) -> None:
    """It is right as often as the most frequent label is."""

    def plant(items: Rows, train: Rows) -> None:
        labels(items, "blue", 0)
        labels(items, "green", 4)
        tell(items, 1.0, "red")

    evalset = colors(project, plant, variants=SHOWN, output={"labels": ["red", "green"]}, train=[])
    assert {finding.check for finding in audit(evalset).findings} == {"labels"}


def test_a_flag_that_is_the_answer_is_found(project: Path) -> None:
    shown = {"default": {"messages": [{"role": "user", "content": "{{ inputs.body }} ({{ inputs.note }})"}]}}
    evalset = tickets(project, lambda items, train: tell(items, 1.0), variants=shown)
    assert [finding.what for finding in audit(evalset).findings] == [
        "inputs.note is the expected urgent in 21 of 21 items"
    ]


def test_labels_that_the_inputs_name_are_found(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items[:49]:
            row["inputs"]["thing"] += f" which is {row['expectations']['label'].title()}"

    report = audit(colors(project, plant))
    assert [(finding.check, finding.level, finding.what) for finding in report.findings] == [
        ("leaks", "warning", "49 of 60 items name their label in the inputs, and no other")
    ]


def test_inputs_that_name_several_labels_are_no_finding(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["inputs"]["thing"] += (
                f", {row['expectations']['label']} rather than {COLORS[len(row['id']) % 3]}ish gold"
            )
        for number, row in enumerate(items[:20]):
            row["inputs"]["thing"] += f" no {COLORS[(number + 1) % 3]}"

    assert "name their label" not in str(audit(colors(project, plant)))


LONG = "Leaves of the eucalyptus, and little else than that all their life long"


@pytest.mark.parametrize(("share", "level"), [(1, "note"), (5, "note"), (6, "warning"), (12, "warning")])
def test_an_expected_text_in_the_inputs_is_found(project: Path, share: int, level: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items[:share]):
            row["expectations"]["answer"] = f"{LONG} ({number})."
            row["inputs"]["question"] += f" They eat {LONG.upper()}\n({number}). So much for that."

    evalset = questions(project, plant, scorers=[{"type": "rouge"}])
    finding = next(finding for finding in audit(evalset).findings if finding.check == "leaks")
    assert (finding.level, len(finding.items)) == (level, share)
    assert finding.what.endswith("whose expected text stands word for word in the inputs")


def test_a_short_answer_in_the_inputs_is_what_reading_is_about(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["inputs"]["question"] += f" It is {row['expectations']['answer'][:30]}, they say."

    assert found(audit(questions(project, plant))) == []
