"""Questions: made one by one, each with the key and the bytes that its body has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset, write_models

import workbench as wb
from workbench.errors import InputError
from workbench.evalset.items import FileItems
from workbench.journal import request_key
from workbench.runner import make_plan
from workbench.servers import engine_of

SCHEMA = {"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}}
ENTRY = {"engine": "openai", "model": "m\u00e9", "zone": "local", "base_url": "http://127.0.0.1:9/v1"}


@pytest.mark.parametrize("capabilities", [None, [], ["max_completion_tokens"], ["json_schema", "seed", "stop"]])
def test_the_key_and_the_bytes_are_those_of_the_body(project: Path, capabilities: list[str] | None) -> None:
    things = ["brick", 'a "quoted" \\ {{ word }}', "\u00e4\U0001f600\u2028\x07", ""]
    folder = write_evalset(
        project,
        "colors",
        [item(f"i{n}", thing) for n, thing in enumerate(things)],
        train=[item("t", "sky")],
        output={"json_schema": "schema.json"},
        scorers=[{"type": "label", "field": "label"}],
        generation={"temperature": 0.5, "max_tokens": 4, "seed": 7, "stop": ["\n"], "top_p": 0.9},
        variants={"few": {"messages": [{"role": "user", "content": "{{ inputs.thing }}?"}], "examples": 1}},
    )
    (folder / "schema.json").write_text(json.dumps(SCHEMA))
    write_models(project, m=ENTRY if capabilities is None else {**ENTRY, "capabilities": capabilities})
    models = wb.load_models()
    identity = engine_of(models["m"]).identity(models["m"])
    questions = list(make_plan(wb.load_evalsets(), models, repeats=2).questions["m"])
    assert len(questions) == 8
    for question in questions:
        assert question.key == request_key(identity, question.body, question.repeat)
        sent: dict[str, Any] = json.loads(question.payload.encoded or b"")
        assert sent == question.body and question.payload.body == question.body
        if "response_format" in sent:  # a model that is held to a schema answers in the order of its fields
            schema = sent["response_format"]["json_schema"]["schema"]
            assert list(schema["properties"]) == ["z", "a"]
    assert len({question.key for question in questions}) == 8


def test_their_number_is_known_without_making_them(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = ["public", "internal", "restricted", None] * 5
    items = [item(f"i{n}", sensitivity=label) if label else item(f"i{n}") for n, label in enumerate(labels)]
    monkeypatch.setattr("workbench.evalset.items.IN_MEMORY", 100)
    two = {name: {"messages": [{"role": "user", "content": f"{name} {{{{ inputs.thing }}}}"}]} for name in ("a", "b")}
    write_evalset(project, "colors", items, variants=two, sensitivity="restricted")
    write_models(project, near=ENTRY, far={**ENTRY, "zone": "hosted"})
    tasks = wb.load_evalsets()
    assert isinstance(tasks["colors"].items, FileItems)
    plan = make_plan(tasks, wb.load_models(), repeats=3)
    for name, number in {"near": 20 * 2 * 3, "far": 10 * 2 * 3}.items():
        assert len(plan.questions[name]) == len(list(plan.questions[name])) == number
    assert plan.withheld == {("colors", "far"): 10}
    assert {question.item.sensitivity for question in plan.questions["far"]} == {"public", "internal"}


def test_a_restricted_example_withholds_its_variant_from_a_hosted_model(project: Path) -> None:
    shown = {"examples": 1, "messages": [{"role": "user", "content": "{{ inputs.thing }}"}]}
    variants = {"default": {"messages": shown["messages"]}, "few": shown}
    write_evalset(
        project, "colors", [item("1"), item("2")], train=[item("t", sensitivity="restricted")], variants=variants
    )
    write_models(project, far={**ENTRY, "zone": "hosted"})
    plan = make_plan(wb.load_evalsets(), wb.load_models())
    questions = list(plan.questions["far"])
    assert len(plan.questions["far"]) == len(questions) == 2 and {q.variant for q in questions} == {"default"}
    assert plan.withheld == {} and plan.closed == {("colors", "far#few")}  # no item is restricted
    told = plan.describe()
    assert "JSON constrained in no task (far)\n" in told and "restricted items" not in told
    assert "withheld: colors is not asked of far#few (hosted), since the variant shows restricted examples" in told
    with pytest.raises(InputError, match=r"nothing to ask\.\nwithheld: colors is not asked of far#few"):
        make_plan(wb.load_evalsets(), wb.load_models(), variants=["few"])


def test_rules_without_a_table_say_why_there_is_nothing_to_ask(project: Path) -> None:
    write_evalset(project, "colors", [item("1")])
    write_models(project, rules={"engine": "rules"})
    with pytest.raises(InputError, match=r"nothing to ask\.\nrules has nothing to answer by: no rules table in colors"):
        make_plan(wb.load_evalsets(), wb.load_models())
