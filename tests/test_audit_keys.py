"""The audit of an answer key: its balance, whether it scores itself, and answers that the prompt gives away."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from audited import Plant, Rows, colors, found, questions, says, tickets
from conftest import COLORS, REPOSITORY, item

from workbench.audit import Finding, audit
from workbench.evalset import load_evalset


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


SPACED = {"indent": 2}
COMPACT = {"separators": (",", ":")}


def key(row: dict[str, Any], **options: Any) -> str:
    return json.dumps(row["expectations"], ensure_ascii=False, **options)


@pytest.mark.parametrize("name", sorted(path.parent.name for path in REPOSITORY.glob("evalsets/*/evalset.yaml")))
@pytest.mark.parametrize("options", [{}, COMPACT, SPACED])
def test_an_announced_json_answer_is_found_in_every_curated_set(
    curated: Path, name: str, options: dict[str, Any]
) -> None:
    """In all items, and in one alone."""
    file = curated / "evalsets" / name / "items.jsonl"
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    for count in (len(rows), 1):
        told = copy.deepcopy(rows)
        for row in told[:count]:
            field = next(each for each in ("body", "facts", "transcript", "document") if each in row["inputs"])
            row["inputs"][field] += f"\nExpected answer: {key(row, **options)}"
        file.write_text("".join(json.dumps(row) + "\n" for row in told))
        errors = [each for each in found(audit(load_evalset(file.parent))) if each[1] == "error"]
        assert errors == [("leaks", "error", tuple(row["id"] for row in told[:count]))]


@pytest.mark.parametrize(
    "text",
    [
        'Answer: {"queue": "billing", "urgent": false, "amount": "49.00"}',  # the same amount
        'Correct answer is\n```json\n{"amount": 49, "urgent": false, "queue": "Billing"}\n```',
        '**Solution:** {"queue":"billing","urgent":false,"amount":"49","why":"a plan"} and so on',
    ],
)
def test_an_announced_object_with_the_full_score_is_found(project: Path, text: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[4]["inputs"]["body"] += f" {text}"

    assert found(audit(tickets(project, plant))) == [("leaks", "error", ("k-05",))]


@pytest.mark.parametrize(
    "text",
    [
        'Expected answer: {"queue": "bug", "urgent": false, "amount": "49"}',  # a wrong one
        'Expected answer: {"queue": "billing", "urgent": false, "amount": "4',
        "Expected answer: {}",
        'We sent {"queue": "billing", "status": 402} and got nothing back',
        "Expected answer: {" * 5000,
    ],
)
def test_an_object_that_is_not_the_answer_is_no_leak(project: Path, text: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items[4]["inputs"]["body"] += f" {text}"

    assert found(audit(tickets(project, plant))) == []


def test_an_example_in_the_template_is_no_leak_though_it_is_the_key_of_some(project: Path) -> None:
    example = 'Answer: {"queue": "access", "urgent": false, "amount": null}'
    ask = {"messages": [{"role": "user", "content": f"A ticket: lost my key.\n{example}\nNow: {{{{ inputs.body }}}}"}]}
    assert found(audit(tickets(project, variants={"default": ask}))) == []


@pytest.mark.parametrize(("share", "level"), [(1, "note"), (11, "warning")])
def test_a_json_answer_in_the_inputs_is_found_without_an_announcement(project: Path, share: int, level: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items[:share]:
            row["inputs"]["body"] += f" (seen: {key(row, **COMPACT)})"

    (finding,) = audit(tickets(project, plant)).findings
    assert (finding.check, finding.level, len(finding.items)) == ("leaks", level, share)
    assert finding.what.endswith("whose expected JSON stands in the inputs")


@pytest.mark.parametrize(
    ("lines", "leaks"),
    [
        ({2: "billing"}, ("k-03",)),
        ({2: "Billing.", 12: "bug"}, ("k-03", "k-13")),
        ({2: "billing", 12: "access"}, ()),  # what the customer took it for: as often wrong
        ({2: "the longest one"}, ()),
    ],
)
def test_a_label_under_its_own_name_is_found(project: Path, lines: dict[int, str], leaks: tuple[str, ...]) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, label in lines.items():
            items[number]["inputs"]["body"] += f"\n**Queue**: {label}"

    assert found(audit(tickets(project, plant))) == ([("leaks", "warning", leaks)] if leaks else [])


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
