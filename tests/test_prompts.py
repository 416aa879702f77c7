"""Prompts: few-shot turns where they belong, the sensitivity of all that went in, templates in a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.prompts import reference_answer, render

TURNS = [{"role": "system", "content": "Name it."}, {"role": "user", "content": "Thing: {{ inputs.thing }}"}]


def few_shot(project: Path, **fields: Any) -> EvalSet:
    train = [
        item("t1", "grass", "green", sensitivity="public"),
        item("t2", "blood", "red", sensitivity="restricted"),
        item("t3", "never shown", sensitivity="internal"),
    ]
    variants = {"default": {"messages": TURNS}, "shots": {"messages": TURNS, "examples": 2}}
    items = [item("a", "x", sensitivity="public")]
    return load_evalset(write_evalset(project, "mini", items=items, train=train, variants=variants, **fields))


def test_examples_stand_as_turns_before_the_last_message(project: Path) -> None:
    evalset = few_shot(project)
    prompt = render(evalset, "shots", evalset.items[0])
    assert [(turn["role"], turn["content"]) for turn in prompt.messages] == [
        ("system", "Name it."),
        ("user", "Thing: grass"),
        ("assistant", "green"),
        ("user", "Thing: blood"),
        ("assistant", "red"),
        ("user", "Thing: x"),
    ]


def test_sources_carry_the_sensitivity_of_the_examples(project: Path) -> None:
    evalset = few_shot(project)
    assert render(evalset, "shots", evalset.items[0]).sources == ("public", "restricted", "public")
    assert render(evalset, "default", evalset.items[0]).sources == ("public",)


def test_text_is_every_turn(project: Path) -> None:
    evalset = few_shot(project)
    assert render(evalset, "default", evalset.items[0]).text == "system: Name it.\n\nuser: Thing: x"


SCHEMA = {
    "type": "object",
    "properties": {
        "color": {"enum": ["red", "green", "blue"]},
        "shade": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "names": {"type": ["array", "null"]},
        "size": {"type": "integer"},
        "left_out": {"type": "string"},
    },
}
FIELDS = {"color": "label", "shade": "text", "tags": {"type": "list", "of": "text"}, "size": "number"}


def test_a_json_example_has_the_schemas_fields_in_its_order_and_the_first_of_several_accepted_values(
    project: Path,
) -> None:
    expectations = {
        "size": 3,
        "color": ["red", "blue"],
        "shade": [None, "dark"],
        "tags": ["b", "a"],
        "names": ["n"],
        "further": "no field of the answer",
    }
    output = {"json_schema": "schema.json"}
    scorers = [{"type": "json_fields", "fields": FIELDS}]
    row = {**item("a"), "expectations": expectations}
    folder = project / "evalsets" / "mini"
    folder.mkdir(parents=True)
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    evalset = load_evalset(write_evalset(project, "mini", items=[row], output=output, scorers=scorers))
    assert reference_answer(evalset, evalset.items[0]) == json.dumps(
        {"color": "red", "shade": None, "tags": ["b", "a"], "names": ["n"], "size": 3}
    )
    answer = evalset.parse(reference_answer(evalset, evalset.items[0]))
    assert answer.format_ok
    assert evalset.scorers[0].score(answer, expectations).value == 1


@pytest.mark.parametrize(
    ("scorers", "expectations", "answer"),
    [
        ([{"type": "exact"}], {"answer": ["Paris", "paris"]}, "Paris"),
        ([{"type": "numeric"}], {"answer": 12.5}, "12.5"),
        ([{"type": "yes_no"}], {"answer": True}, "yes"),
        (
            [{"type": "contains", "key": "mentions", "weight": 0}, {"type": "exact"}],
            {"mentions": "x", "answer": "y"},
            "y",
        ),
        ([{"type": "exact", "optional": True}, {"type": "contains", "key": "b"}], {"a": 1, "b": ["z"]}, "z"),
        ([{"type": "facts", "recall": True}], {"facts": [{"terms": [["x"]]}], "b": "z"}, "{'terms': [['x']]}"),
    ],
)
def test_a_text_example_is_what_a_scorer_that_counts_expects(
    project: Path, scorers: list[dict[str, Any]], expectations: dict[str, Any], answer: str
) -> None:
    row = {**item("a"), "expectations": expectations}
    folder = write_evalset(project, "mini", items=[row], output={"text": True}, scorers=scorers)
    evalset = load_evalset(folder)
    assert reference_answer(evalset, evalset.items[0]) == answer


def test_the_first_of_several_labels_stands_in_the_example(project: Path) -> None:
    rows = [item("a", label="green"), {**item("b"), "expectations": {"label": ["blue", "red"]}}]
    evalset = load_evalset(write_evalset(project, "mini", items=rows))
    assert [reference_answer(evalset, row) for row in evalset.items] == ["green", "blue"]


CHAT = [
    {"role": "user", "content": "Is {{ inputs.thing }} red?"},
    {"role": "assistant", "content": "No."},
    {"role": "user", "content": "So which color?"},
]
VARIANT = {"default": {"messages": [{"role": "system", "content": "Name it."}, {"turns": "chat"}]}}


def with_chat(project: Path, chat: Any, variants: dict[str, Any] = VARIANT, train: Any = None) -> EvalSet:
    rows = [{**item("a", "grass"), "inputs": {"thing": "grass", "chat": chat}}]
    earlier = [] if train is None else [{**item("t", "blood"), "inputs": {"thing": "blood", "chat": train}}]
    return load_evalset(write_evalset(project, "mini", items=rows, train=earlier, variants=variants))


def test_turns_of_an_item_stand_where_the_prompt_names_them(project: Path) -> None:
    evalset = with_chat(project, CHAT)
    prompt = render(evalset, "default", evalset.items[0])
    assert prompt.messages == [{"role": "system", "content": "Name it."}, *CHAT]  # and they are no templates
    assert prompt.sources == ("internal",)


def test_turns_may_stand_before_the_last_message(project: Path) -> None:
    last = {"role": "user", "content": "The color of {{ inputs.thing }}?"}
    evalset = with_chat(project, CHAT[:2], {"default": {"messages": [{"turns": "chat"}, last]}})
    asked = render(evalset, "default", evalset.items[0]).messages
    assert asked == [*CHAT[:2], {"role": "user", "content": "The color of grass?"}]


def test_examples_bring_their_own_turns(project: Path) -> None:
    variants = {"default": {**VARIANT["default"], "examples": 1}}
    evalset = with_chat(project, CHAT, variants, train=[{"role": "user", "content": "Blood?"}])
    assert render(evalset, "default", evalset.items[0]).messages == [
        {"role": "system", "content": "Name it."},
        {"role": "user", "content": "Blood?"},
        {"role": "assistant", "content": "red"},
        *CHAT,
    ]


@pytest.mark.parametrize(
    ("chat", "message"),
    [
        (None, r"inputs\.chat must be a list such as"),
        ([], r"inputs\.chat must be a list such as"),
        ("hello", r"inputs\.chat must be a list such as"),
        ([{"role": "user"}], r"inputs\.chat must be a list such as"),
        ([{"role": "tool", "content": "CANARY"}], r"inputs\.chat must be a list such as"),
        ([{"role": "user", "content": ["CANARY"]}], r"inputs\.chat must be a list such as"),
        ([{"role": "user", "content": "x", "name": "CANARY"}], r"inputs\.chat must be a list such as"),
        (CHAT[:2], "the last turn must be the user's, it is what the model answers"),
    ],
)
def test_broken_turns_are_named_with_their_item(project: Path, chat: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        with_chat(project, chat)
    assert "field 'variants.default.messages.1.content'" in str(caught.value)
    assert "(item a)" in str(caught.value) and "CANARY" not in str(caught.value)


def load_with(project: Path, template: str, thing: str = "x") -> EvalSet:
    variants = {"default": {"messages": [{"role": "user", "content": template}]}}
    return load_evalset(write_evalset(project, "mini", items=[item("a", thing)], variants=variants))


def test_inputs_are_not_templates_themselves(project: Path) -> None:
    evalset = load_with(project, "{{ inputs.thing }}", thing="{{ 7 * 7 }} <b>")
    assert render(evalset, "default", evalset.items[0]).messages[0]["content"] == "{{ 7 * 7 }} <b>"


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs.__class__ }}",
        "{{ inputs['__class__'] }}",
        "{{ inputs|attr('__class__') }}",
        "{{ inputs.thing.__class__.__mro__[1].__subclasses__() }}",
        "{{ lipsum.__globals__['os'].popen('id').read() }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self._TemplateReference__context }}",
        "{{ '{0.__class__}'.format(inputs) }}",
        "{{ inputs.update({'thing': 'y'}) }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
        "{{ range(10 ** 9)|list }}",
        "{% macro a() %}{{ a() }}{% endmacro %}{{ a() }}",
    ],
)
def test_a_template_cannot_leave_the_sandbox(project: Path, template: str) -> None:
    with pytest.raises(InputError, match=r"field 'variants\.default\.messages\.0\.content': template: "):
        load_with(project, template)


@pytest.mark.parametrize(
    "template",
    [
        "{{ inputs[inputs.thing] }}",
        "{{ inputs.thing.encode(inputs.thing) }}",
        "{{ inputs.thing|attr(inputs.thing) }}",
        "{{ {inputs.thing: 1}|xmlattr }}",
    ],
)
def test_a_failing_template_does_not_repeat_the_inputs(project: Path, template: str) -> None:
    with pytest.raises(InputError) as caught:
        load_with(project, template, thing="CANARY 7")
    assert "CANARY" not in str(caught.value)
    assert "template: it cannot be rendered" in str(caught.value)


def test_the_item_that_a_template_fails_for_is_named(project: Path) -> None:
    variants = {"default": {"messages": TURNS, "examples": 1}}
    broken = {**item("t1"), "inputs": {"other": "x"}}
    folder = write_evalset(project, "mini", items=[item("a")], train=[broken], variants=variants)
    with pytest.raises(InputError, match=r"no attribute 'thing'\. It can use: inputs\.<name> \(item t1\)"):
        load_evalset(folder)
