"""The audit's eye for answers among the inputs: as an object, deep inside, in another spelling, in other languages."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Any

import pytest
from audited import Plant, Rows, colors, found, questions, says, tickets

from workbench.audit import Finding, audit


def showing(content: str) -> dict[str, Any]:
    return {"default": {"messages": [{"role": "user", "content": content}]}}


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.what) for finding in findings if finding.check == "leaks"]


# Objects, and what is deep inside.


def gold(items: Rows, count: int = 100) -> None:
    for row in items[:count]:
        row["inputs"]["ref"] = {"gold": dict(row["expectations"])}
    for row in items[count:]:
        row["inputs"]["ref"] = {"gold": {"queue": "?"}}


@pytest.mark.parametrize(
    "content", ["{{ inputs.body }} {{ inputs.ref }}", "{{ inputs.body }} {{ inputs.ref.gold | tojson }}"]
)
def test_the_whole_key_as_an_object_is_found(project: Path, content: str) -> None:
    evalset = tickets(project, lambda items, train: gold(items), variants=showing(content))
    (finding,) = (each for each in audit(evalset).findings if each.level == "error")
    assert (finding.check, len(finding.items)) == ("leaks", 21)
    assert finding.what == "inputs.ref.gold is the expected answer in 21 of 21 items"


def test_the_key_as_an_object_of_some_is_a_note(project: Path) -> None:
    shown = showing("{{ inputs.body }} {{ inputs.ref }}")
    (finding,) = audit(tickets(project, lambda items, train: gold(items, 3), variants=shown)).findings
    assert (finding.level, finding.items) == ("note", ("k-01", "k-02", "k-03"))


def test_a_key_that_no_prompt_shows_is_no_leak(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        gold(items)
        for row in items:
            row["inputs"]["ref"]["number"] = row["id"]

    shown = showing("{{ inputs.body }} {{ inputs.ref.number }}")
    assert found(audit(tickets(project, plant, variants=shown))) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("queue", lambda key: f" {key['queue'].title()}."),
        ("urgent", lambda key: key["urgent"]),
        ("urgent", lambda key: "yes" if key["urgent"] else "no"),
        ("amount", lambda key: key["amount"]),
        ("amount", lambda key: f"EUR {float(key['amount'] or 0):.2f}"),
        ("queue", lambda key: [key["queue"]]),
    ],
)
def test_a_field_of_the_key_deep_in_the_inputs_is_found(project: Path, field: str, value: Any) -> None:
    """Over the items that have one: half of the amounts are null."""

    def plant(items: Rows, train: Rows) -> None:
        for number, thing in enumerate("fee tax seat message fax year".split()):
            expected = {"queue": ("bug", "access")[number % 2], "urgent": False, "amount": f"{number * 7 + 30}"}
            items.append({"id": f"a{number}", "inputs": {"body": f"{thing.title()}?"}, "expectations": expected})
        for row in items:
            row["inputs"]["meta"] = {"plan": {"x": value(row["expectations"])}}

    evalset = tickets(project, plant, variants=showing("{{ inputs.body }} {{ inputs.meta }}"))
    n = sum(each.expectations[field] is not None for each in evalset.items)
    assert n == (13 if field == "amount" else 27)
    assert ("error", f"inputs.meta.plan.x is the expected {field} in {n} of {n} items") in told(audit(evalset).findings)


def test_a_flag_that_is_rarely_true_does_not_tell_another_one(project: Path) -> None:
    """Two that are nearly always false agree by chance."""

    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            row["expectations"]["urgent"] = number % 4 == 0  # six of 21
            row["inputs"]["vip"] = number in (0, 4)

    evalset = tickets(project, plant, variants=showing("{{ inputs.body }} {{ inputs.vip }}"))
    assert told(audit(evalset).findings) == []


def test_choices_that_hold_the_answer_are_no_leak(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["inputs"]["choices"] = [row["expectations"]["answer"], "something else", "I cannot say"]

    shown = showing("{{ inputs.question }} {{ inputs.choices | join(' / ') }}")
    assert "error" not in {level for level, _ in told(audit(questions(project, plant, variants=shown)).findings)}


def labeled(items: Rows, separator: str | None = None, shown: bool = False) -> None:
    for number, row in enumerate(items):
        row["expectations"] = {"labels": [["a", "b"], ["b"], ["c", "a"], []][number % 4]}
        if shown:
            tags = row["expectations"]["labels"][::-1]
            row["inputs"]["tags"] = tags if separator is None else separator.join(tags)


MULTI = {"scorers": [{"type": "multi_label"}], "variants": showing("{{ inputs.thing }} {{ inputs.tags }}")}


@pytest.mark.parametrize("separator", [None, ", "])
def test_labels_among_the_inputs_are_found_in_any_order(project: Path, separator: str | None) -> None:
    evalset = colors(
        project, lambda items, train: labeled(items, separator, shown=True), output={"text": True}, train=[], **MULTI
    )
    assert told(audit(evalset).findings) == [("error", "inputs.tags is the expected labels in 45 of 45 items")]


# Announcements in other languages, and in brackets.


@pytest.mark.parametrize(
    "text",
    [
        "\nLösung: red",
        unicodedata.normalize("NFD", "\nLösung: red"),
        "\nRichtige Antwort: red",
        "\n**Die richtige Antwort lautet** red",
        "\nAntwort: red",
        "\nLa bonne réponse est red",
        "\nRéponse attendue : red",
        "\nÉtiquette : « red »",
        "\nRespuesta correcta: red",
        "\nSolución: red",
        " [label=red] so they say",
        " (correct answer: Red), I hear",
        " <label>red</label> and so on",
        ' {"id": 7, "label": "red"} as sent',
    ],
)
def test_an_answer_is_announced_in_other_languages_and_in_brackets(project: Path, text: str) -> None:
    evalset = colors(project, lambda items, train: says(items[9], text))
    assert found(audit(evalset)) == [("leaks", "error", ("c-010",))]


@pytest.mark.parametrize(
    "text",
    [
        "\nLösung: blue",
        "\nAntwort mit einem Wort: red, green oder blue",
        "\nDie Antwort ist nicht red",
        "\nRéponse en un mot",
        " [label=blue] so they say",
        " [red label] it says",
        ' {"id": 7, "name": "red"} as sent',
    ],
)
def test_other_words_announce_nothing(project: Path, text: str) -> None:
    assert found(audit(colors(project, lambda items, train: says(items[9], text)))) == []


@pytest.mark.parametrize(
    ("text", "leaks"),
    [
        ("\nFrage: Haben Sie ihn gesehen?\nAntwort: Ja.\nFrage: Wann?\nAntwort: Um neun.", False),  # a witness's
        ("\nAntwort: ja", True),
        ("\nLösung: ja\nBitte genau lesen.", True),
    ],
)
def test_a_yes_in_a_german_dialogue_is_no_leak(project: Path, text: str, leaks: bool) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            row["expectations"] = {"label": "ja" if number % 2 else "nein"}
        items[3]["inputs"]["thing"] += text

    evalset = colors(
        project, plant, output={"labels": ["ja", "nein"]}, train=[], variants=showing("{{ inputs.thing }}")
    )
    assert found(audit(evalset)) == ([("leaks", "error", ("c-004",))] if leaks else [])


def test_a_field_in_brackets_is_found_where_it_is_nearly_always_right(project: Path) -> None:
    def plant(right: bool) -> Plant:
        def planted(items: Rows, train: Rows) -> None:
            for number in (2, 12):
                queue = items[number]["expectations"]["queue"] if right else ("billing", "access")[number == 2]
                items[number]["inputs"]["body"] += f" [queue={queue}] from the phone"

        return planted

    assert found(audit(tickets(project, plant(True)))) == [("leaks", "warning", ("k-03", "k-13"))]
    assert found(audit(tickets(project, plant(False)))) == []


# Labels that are named, where there are two.


def two_labels(one: str, other: str, names: Any) -> Plant:
    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            label = (one, other)[number % 2]
            row["expectations"] = {"label": label}
            row["inputs"]["thing"] += names(number, label)

    return plant


@pytest.mark.parametrize(
    ("labels", "names", "leaks"),
    [
        (("spam", "ham"), lambda number, label: f", which is {label} to them", True),
        (("spam", "ham"), lambda number, label: ", which is no ham to them", False),  # the same word for all
        (("spam", "ham"), lambda number, label: f", which is {label if number % 5 > 2 else 'fine'}", False),
        (("yes", "no"), lambda number, label: f", {label}, they say", False),  # such words stand in most texts
    ],
)
def test_one_of_two_labels_in_the_inputs_is_found(
    project: Path, labels: tuple[str, str], names: Any, leaks: bool
) -> None:
    evalset = colors(
        project,
        two_labels(*labels, names),
        output={"labels": list(labels)},
        train=[],
        variants=showing("{{ inputs.thing }}"),
    )
    expected = [("warning", "60 of 60 items name their label in the inputs, and no other")] if leaks else []
    assert told(audit(evalset).findings) == expected


# Values, and texts with one.


def read_out(scorer: str, written: str, day: str = "20{year}-05-14") -> Plant:
    """Texts that hold the answer once, in a spelling of their own."""

    def plant(items: Rows, train: Rows) -> None:
        for number, row in enumerate(items):
            year, value = 10 + number % 40, number * 3 + 7
            row["inputs"] = {"thing": written.format(value=value, year=year, word=row["id"])}
            row["expectations"] = {"answer": day.format(year=year) if scorer == "date" else value}
        train.clear()

    return plant


@pytest.mark.parametrize(
    ("scorer", "written", "is_value"),
    [
        ("money", "Order {word}: kettle x2, total EUR {value}, ship to Porto.", False),
        ("money", "Taxi in Graz: {value} EUR", False),
        ("money", "{value} EUR for a kettle", False),
        ("money", "{value}.00 EUR", True),
        ("money", "RM {value}.00", True),
        ("money", "{value} US dollars", True),
        ("numeric", "The room is {value} m wide", False),
        ("numeric", "{value} is how old she was", False),
        ("numeric", "{value} pieces", True),
        ("numeric", "{value}.0 km/h.", True),
        ("date", "Due: 20{year}-05-14", False),
        ("date", "Due: 14 May 20{year}", False),
        ("date", "Taxi 20{year}-05-14", False),
        ("date", "14.05.20{year}", True),
        ("date", "14 May 20{year}", True),
        ("date", "20{year}-05-14T10:30:00Z", True),
        ("date", "Freitag, den 14. Mai 20{year}", True),
        ("date", "Fri 20{year}-05-14", True),
    ],
)
def test_a_value_is_the_answer_and_a_text_that_it_is_read_out_of_is_not(
    project: Path, scorer: str, written: str, is_value: bool
) -> None:
    variants = showing("{{ inputs.thing }}")
    evalset = colors(
        project, read_out(scorer, written), output={"text": True}, scorers=[{"type": scorer}], variants=variants
    )
    errors = [what for level, what in told(audit(evalset).findings) if level == "error"]
    assert errors == (["inputs.thing is the expected answer in 60 of 60 items"] if is_value else [])


# Records to correct.


@pytest.mark.parametrize(("others", "level"), [({"urgent": None, "amount": "?"}, "warning"), ({"seen": 1}, "error")])
def test_a_field_of_a_record_to_complete_may_be_there_to_copy(
    project: Path, others: dict[str, Any], level: str
) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["inputs"]["record"] = {"queue": row["expectations"]["queue"], **others}

    evalset = tickets(project, plant, variants=showing("{{ inputs.body }} {{ inputs.record | tojson }}"))
    (finding,) = (each for each in audit(evalset).findings if "inputs.record.queue" in each.what)
    assert (finding.level, "task is to copy it" in finding.mend) == (level, level == "warning")
