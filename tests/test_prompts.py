"""Prompts: few-shot turns where they belong, the sensitivity of all that went in, templates in a sandbox."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, item, write_evalset

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


def test_a_json_example_has_the_schemas_fields_in_its_order() -> None:
    evalset = load_evalset(REPOSITORY / "evalsets" / "order_extraction")
    answer = json.loads(reference_answer(evalset, evalset.train[0]))
    assert list(answer) == list((evalset.output_schema or {})["properties"])
    assert answer == {name: evalset.train[0].expectations[name] for name in answer}


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
