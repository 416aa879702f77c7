"""The audit's eye for one text in several spellings, items of one form, and test items that a prompt shows."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from audited import LAWN, Plant, Rows, colors, found, questions, tickets
from conftest import item

from workbench.audit import audit
from workbench.audit.inputs import exact_print, fingerprint, text_of
from workbench.audit.slips import but_for_numbers, slips, spelled_alike
from workbench.evalset import EvalSet

ASKED = "Why can't I top up my card with the money that you've kept?"


def asked(text: str, label: str = "red") -> dict[str, Any]:
    return item("x", text, label)


def with_question(*others: dict[str, Any], trained: dict[str, Any] | None = None) -> Plant:
    def plant(items: Rows, train: Rows) -> None:
        items.append(item("q", ASKED))
        items.extend(others)
        train.extend([trained] if trained else [])

    return plant


# Equal but for what cannot be seen, or hardly.

SEEN_AS_EQUAL: list[Callable[[str], str]] = [
    str.upper,
    lambda text: text.replace(" ", "  "),
    lambda text: text.replace(" ", "\u00a0"),
    lambda text: text.replace(" ", "&nbsp;", 1),
    lambda text: text.replace("'", "’"),
    lambda text: text.replace("'", "&#39;"),
    lambda text: text[:3] + "\u200b" + text[3:],
    lambda text: text.replace("card", "ca\u00adrd"),
]


@pytest.mark.parametrize("change", SEEN_AS_EQUAL)
def test_one_text_in_another_spelling_is_told_but_neither_an_error_nor_dropped(
    project: Path, change: Callable[[str], str]
) -> None:
    (finding,) = audit(colors(project, with_question(asked(change(ASKED))))).findings
    assert (finding.check, finding.level, finding.items) == ("duplicates", "warning", ("q", "x"))
    assert (
        finding.what == "2 items of items.jsonl with the same inputs but for case, white space or signs, same answers"
    )
    assert finding.fix is None
    (finding,) = audit(colors(project, with_question(asked(change(ASKED), "blue")))).findings
    assert (finding.check, finding.level) == ("duplicates", "warning") and finding.what.endswith("other answers")
    (finding,) = audit(colors(project, with_question(trained=asked(change(ASKED))))).findings
    assert (finding.check, finding.level, finding.items) == ("contamination", "error", ("x",)) and finding.fix is None


CODE = "for a in x:\n    b()\n    {}c()"


@pytest.mark.parametrize("label", ["red", "blue"])
def test_code_that_differs_in_indentation_is_no_error_and_not_dropped(project: Path, label: str) -> None:
    def plant(items: Rows, train: Rows) -> None:
        items.extend([item("p", CODE.format("    ")), item("q", CODE.format(""), label)])

    (finding,) = audit(colors(project, plant)).findings
    assert (finding.level, finding.items, finding.fix) == ("warning", ("p", "q"), None)


def test_the_same_item_in_other_composition_or_line_ends_is_dropped(project: Path) -> None:
    """What is drawn alike letter by letter is the same."""

    def plant(items: Rows, train: Rows) -> None:
        text = "Die Übersicht lädt nicht,\nkönnten Sie das prüfen?"
        items.append(item("p", text))
        items.append(item("d", unicodedata.normalize("NFD", text)))
        items.append(item("l", text.replace("\n", "\r\n")))
        items.append(item("c", text.upper()))

    exact, alike = audit(colors(project, plant)).findings
    assert exact.items == ("p", "d", "l") and exact.fix is not None and exact.fix.drop == ("d", "l")
    assert alike.items == ("p", "c") and alike.fix is None


@pytest.mark.parametrize(
    ("one", "other"),
    [("10²", "102"), ("5 - 3", "5 + 3"), ("a < b", "a &lt b"), ("½ cup", "1/2 cup"), ("x?a=1&copy=2", "x?a=1©=2")],
)
def test_signs_that_say_something_else_stay_apart(one: str, other: str) -> None:
    assert fingerprint(one) != fingerprint(other) and text_of({"t": one}) != text_of({"t": other})


def test_prints_know_the_order_of_lists_and_not_of_keys() -> None:
    assert exact_print({"a": [1, "é"], "b": None}) == exact_print({"b": None, "a": [1, "e\u0301"]})
    assert exact_print({"a": [1, 2]}) != exact_print({"a": [2, 1]})
    assert exact_print("a  b") != exact_print("a b") and exact_print("A") != exact_print("a")


# Slips of the pen.


@pytest.mark.parametrize(
    "text",
    [
        ASKED.replace("money", "moeny"),
        ASKED.replace("money", "mony").replace("kept", "kpet"),
        ASKED.replace("card", "crad"),
        ASKED.replace("the", "teh"),
        ASKED.replace("top up", "top-up"),
        ASKED.replace("top up", "topup"),
        f"[#12345] {ASKED}",
        f"17. {ASKED}",
        f"{ASKED} (4)",
    ],
)
def test_a_text_with_a_slip_is_nearly_the_same(project: Path, text: str) -> None:
    expected = ("near duplicates", "warning", ("q", "x"))
    assert found(audit(colors(project, with_question(asked(text))))) == [expected]
    report = audit(colors(project, with_question(trained=asked(text))))
    assert found(report) == [("contamination", "error", ("x",))] and report.findings[0].fix is None


@pytest.mark.parametrize(
    "text",
    [
        ASKED.replace("money", "monkey").replace("card", "cart").replace("kept", "keep"),  # three words
        ASKED.replace("can't", "can"),
        ASKED.replace("money", "stock"),
        ASKED.replace("my card", "any shop"),
    ],
)
def test_another_word_is_no_slip(project: Path, text: str) -> None:
    assert found(audit(colors(project, with_question(asked(text))))) == []


def test_a_letter_that_decides_the_answer_is_no_slip(project: Path) -> None:
    """As in a set of minimal pairs."""
    text = ASKED.replace("money", "honey")
    assert found(audit(colors(project, with_question(asked(text))))) == [("near duplicates", "warning", ("q", "x"))]
    assert found(audit(colors(project, with_question(asked(text, "blue"))))) == []


def test_short_words_that_are_known_from_elsewhere_are_two() -> None:
    texts = ["put the red parcel in the van", "put the red parcel on the van", "put teh red parcel on the van"]
    more = ["is it in", "is it on", "they went in early", "they went on early"]
    pairs = set(slips([*texts, *more], [0] * 7))
    assert pairs == {(1, 2)}


def test_an_instruction_before_every_text_counts_for_nothing() -> None:
    """Neither does what it says make two alike, nor does it hide a slip, or take time by the square."""
    words = [f"{a}{b}" for a in "bcdfghklmn" for b in "aeiou"]
    rng = random.Random(0)
    texts = [f"say in one word what this is about: {' '.join(rng.sample(words, 10))}" for _ in range(400)]
    texts.append(texts[7][:-1] + "x")
    assert list(slips(texts, [0] * len(texts))) == [(7, 400)]


def test_numbers_around_a_text_do_not_make_it_another() -> None:
    assert set(spelled_alike(["what is the top speed of a hare", "(12) what is the topspeed of a hare"])) == {(0, 1)}
    assert not set(spelled_alike(["12 what is the top speed of a hare", "13 what is the top speed of a hare"]))
    assert not set(spelled_alike(["is 3.5 more than a half of ten", "is 35 more than a half of ten"]))


# Items of one form.

SHEEP = "A farmer has {} sheep and buys {} more. How many sheep does the farmer have now?"


def farm(project: Path, count: int, plant: Plant | None = None, **changes: Any) -> EvalSet:
    def all_of_it(items: Rows, train: Rows) -> None:
        rng = random.Random(1)
        for number in range(count):
            text = SHEEP.format(rng.randrange(10, 999), rng.randrange(10, 999))
            items.append({"id": f"f{number}", "inputs": {"question": text}, "expectations": {"answer": str(number)}})
        if plant:
            plant(items, train)

    return questions(project, all_of_it, **changes)


@pytest.mark.parametrize("count", [2, 10, 300])
def test_items_that_differ_in_numbers_alone_are_found_however_many_they_are(project: Path, count: int) -> None:
    (finding,) = audit(farm(project, count)).findings
    assert (finding.check, finding.level) == ("near duplicates", "warning")
    assert finding.items == tuple(f"f{number}" for number in range(count))
    assert finding.what == f"{count} items of items.jsonl with the text of another but for numbers"


def test_items_of_one_form_and_one_cluster_are_meant_to_be_so(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            if row["id"].startswith("f"):
                row["cluster"] = "farm"

    assert found(audit(farm(project, 30, plant))) == []


def test_a_training_item_of_a_test_items_form_is_told_and_not_dropped(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        train.append({"id": "t", "inputs": {"question": SHEEP.format(4, 5)}, "expectations": {"answer": "9"}})

    (finding,) = audit(farm(project, 1, plant)).findings
    assert (finding.check, finding.level, finding.items) == ("contamination", "warning", ("t",))
    assert finding.groups == (("t", "f0"),) and finding.fix is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"t": "What is 7 + 12?"}, {"t": "What is 9 + 4?"}),  # all it says is the numbers
        ({"image": "images/0012.png", "t": "What can be seen in this?"}, {"image": "images/13.png"}),
        ({"image": "img_12", "t": "What can be seen in this?"}, {"image": "img_13"}),
        ({"page": 3, "t": "Who wrote to whom about what?"}, {"page": 4}),
    ],
)
def test_a_number_that_is_the_question_or_a_name_makes_no_form(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert but_for_numbers(one) is None and but_for_numbers(one | other) is None


def test_numbers_of_every_kind_are_masked() -> None:
    text = "On {} the firm paid {} EUR for {} of them, -{} % less"
    first = but_for_numbers({"t": text.format("2026-03-01", "1,200.50", 12, 4)})
    assert first is not None and first == but_for_numbers({"t": text.format("12/4/1999", "3.5", 7, 55)})


# What a prompt shows with every item.


def ask(*messages: tuple[str, str], examples: int = 0) -> dict[str, Any]:
    return {"default": {"messages": [{"role": role, "content": text} for role, text in messages], "examples": examples}}


LAST = ("user", "Color of {{ inputs.thing }}?")


@pytest.mark.parametrize(
    "variants",
    [
        ask(("user", f"Color of {LAWN.format('May')}?"), ("assistant", "green"), LAST),
        ask(("user", f"Thing: {LAWN.format('May').upper()}\nColor: green\n\nThing: {{{{ inputs.thing }}}}\nColor:")),
        ask(("system", f"{{% if true %}}Like this: {LAWN.format('May')}, green{{% endif %}}"), LAST),
    ],
)
def test_a_test_item_in_a_template_is_found(project: Path, variants: dict[str, Any]) -> None:
    expected = [("contamination", "error", ("c-021",))]
    assert found(audit(colors(project, variants=variants, train=[]))) == expected


def test_a_short_test_item_as_a_turn_of_a_template_is_found(project: Path) -> None:
    variants = ask(("user", "Color of rubies?"), ("assistant", "red"), LAST)
    assert found(audit(colors(project, variants=variants))) == [("contamination", "error", ("c-005",))]


@pytest.mark.parametrize(
    "variants",
    [
        ask(("user", "Color of an old brick?"), ("assistant", "red"), LAST),
        ask(("system", "Of rubies, a lime and Smurfs say red, green and blue."), LAST),  # words may stand anywhere
        ask(("system", f"Say the color, such as of {LAWN.format('the park')}."), LAST),
    ],
)
def test_an_example_that_is_no_test_item_is_none(project: Path, variants: dict[str, Any]) -> None:
    assert found(audit(colors(project, variants=variants))) == []


def test_training_items_of_a_test_items_cluster_are_told(project: Path) -> None:
    def plant(items: Rows, train: Rows) -> None:
        train[1]["cluster"], train[2]["cluster"] = "lawn", "own"

    (finding,) = audit(colors(project, plant)).findings
    assert (finding.check, finding.level, finding.items) == ("contamination", "warning", ("t-002",))
    assert finding.what == "1 item of train.jsonl in a cluster of test items" and finding.fix is None


# What is shown of nested inputs.


@pytest.mark.parametrize(
    ("content", "same"),
    [
        ("{{ inputs.body }} {{ inputs.meta.plan }}", True),
        ("{{ inputs['body'] }} {{ inputs['meta']['plan'].upper() }}", True),
        ("{{ inputs.body }} {{ inputs.meta }}", False),
        ("{{ inputs.body }} {{ inputs.meta.plan }} {{ inputs.meta | tojson }}", False),
        ("{{ inputs.body }} {% for name in inputs.meta.values() %}{{ name }}{% endfor %}", False),
        ("{{ inputs.body }} {{ inputs.meta.seen.at }}", False),
        ("{{ inputs.body }} {{ inputs[inputs.meta.plan] | default('') }} {{ inputs.meta.seen }}", False),
    ],
)
def test_a_part_of_an_input_that_no_prompt_shows_does_not_tell_items_apart(
    project: Path, content: str, same: bool
) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items:
            row["inputs"]["meta"] = {"plan": "free", "seen": {"at": f"the {row['id']} of a long row", "by": "us"}}
        seen = {"at": "quite another time and no other", "by": "us"}
        items.append({**items[3], "id": "x", "inputs": {**items[3]["inputs"], "meta": {"plan": "free", "seen": seen}}})

    shown = {"default": {"messages": [{"role": "user", "content": content}]}}
    expected = [("duplicates", "warning", ("k-04", "x"))] if same else []
    assert found(audit(tickets(project, plant, variants=shown))) == expected
