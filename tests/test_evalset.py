"""Eval sets: defaults that are never permissive, samples that stay, a digest over every file, every defect named."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import COLORS, REPOSITORY, item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, check_variants, load_evalset, load_evalsets, save_evalset
from workbench.evalset.model import _MOST_STRATA
from workbench.privacy import class_of
from workbench.prompts import render
from workbench.scorers.base import SCORERS

CURATED = ["data_extraction", "legal_reasoning", "meeting_summaries", "support_triage"]


@pytest.fixture(scope="module")
def triage() -> EvalSet:
    return load_evalset(REPOSITORY / "evalsets" / "support_triage")


@pytest.mark.parametrize("name", CURATED)
def test_the_curated_sets_load_with_both_classes(name: str) -> None:
    evalset = load_evalset(REPOSITORY / "evalsets" / name)
    assert evalset.name == name
    assert {class_of(entry.sensitivity) for entry in evalset.items} == {"open", "restricted"}
    assert evalset.total == len(evalset.items) >= 20
    assert not {entry.id for entry in evalset.items} & {entry.id for entry in evalset.train}


@pytest.mark.parametrize("name", CURATED)
def test_a_curated_set_saves_to_the_same(project: Path, name: str) -> None:
    evalset = load_evalset(REPOSITORY / "evalsets" / name)
    again = load_evalset(save_evalset(evalset, project / "evalsets" / name))
    for part in ("spec", "items", "train", "output_schema", "scorers", "total"):
        assert getattr(again, part) == getattr(evalset, part)
    assert (again.rules and again.rules.spec) == (evalset.rules and evalset.rules.spec)
    for variant in evalset.spec.variants:
        assert render(again, variant, again.items[0]) == render(evalset, variant, evalset.items[0])


def test_load_evalsets_reads_all_or_the_named_ones(project: Path) -> None:
    for name in ("warm", "cold"):
        write_evalset(project, name, items=[item("a")])
    (project / "evalsets" / "no_set").mkdir()
    assert list(load_evalsets()) == ["cold", "warm"]
    assert list(load_evalsets("evalsets", ["warm"])) == ["warm"]


@pytest.mark.parametrize(
    ("of_set", "of_item", "expected"),
    [
        (None, None, "restricted"),
        ("public", None, "public"),
        ("public", "restricted", "restricted"),
        ("restricted", "internal", "internal"),
        (None, "public", "public"),
    ],
)
def test_an_unlabeled_item_takes_the_sets_and_an_unlabeled_set_is_restricted(
    project: Path, of_set: str | None, of_item: str | None, expected: str
) -> None:
    row = item("a") if of_item is None else item("a", sensitivity=of_item)
    folder = write_evalset(project, "mini", items=[row], train=[{**row, "id": "t"}])
    stated = "" if of_set is None else f"sensitivity: {of_set}\n"
    text = (folder / "evalset.yaml").read_text()
    assert "sensitivity: internal\n" in text
    (folder / "evalset.yaml").write_text(text.replace("sensitivity: internal\n", stated))
    evalset = load_evalset(folder)
    assert evalset.items[0].sensitivity == expected
    assert evalset.train[0].sensitivity == expected


def test_limits_default_to_the_margin_of_the_design(project: Path) -> None:
    assert load_evalset(write_evalset(project, "mini", items=[item("a")])).spec.limits.margin == 0.05


def stratum(evalset: EvalSet, entry: Any) -> tuple[str, str]:
    return class_of(entry.sensitivity), evalset.stratum(entry)


@pytest.mark.parametrize("n", [10, 24, 40, 79, 159])
def test_a_sample_keeps_the_shares_of_classes_and_labels(triage: EvalSet, n: int) -> None:
    sample = triage.sample(n)
    whole, part = (Counter(stratum(triage, entry) for entry in items) for items in (triage.items, sample.items))
    assert len(sample.items) == n
    assert len(whole) > 8  # queues, in both classes
    assert sample.total == whole.total() == triage.total
    for key, count in whole.items():
        assert abs(part[key] - count * n / whole.total()) <= 1


def test_a_sample_is_the_same_every_time_and_hangs_on_ids_alone(triage: EvalSet) -> None:
    turned = replace(triage, items=tuple(reversed(triage.items)))
    ids = [entry.id for entry in triage.sample(24).items]
    assert ids == [entry.id for entry in triage.sample(24).items]
    assert sorted(ids) == sorted(entry.id for entry in turned.sample(24).items)
    assert ids == [entry.id for entry in triage.items if entry.id in ids]  # in the file's order


def as_it_was_first_written(evalset: EvalSet, n: int) -> list[str]:
    """The sample by its definition, with all items sorted in memory: runs of earlier versions resume with it."""
    strata = defaultdict(list)
    for entry in sorted(evalset.items, key=lambda entry: hashlib.sha256(entry.id.encode()).hexdigest()):
        strata[stratum(evalset, entry)].append(entry.id)
    ranked = [
        ((rank + 0.5) / len(ids), key, identity) for key, ids in strata.items() for rank, identity in enumerate(ids)
    ]
    chosen = {identity for *_, identity in sorted(ranked)[:n]}
    return [entry.id for entry in evalset.items if entry.id in chosen]


@pytest.mark.parametrize("n", [1, 7, 12, 20, 24, 25, 40, 100, 159])
def test_a_sample_has_the_same_ids_as_in_earlier_versions(triage: EvalSet, n: int) -> None:
    assert [entry.id for entry in triage.sample(n).items] == as_it_was_first_written(triage, n)


def test_a_sample_keeps_no_more_strata_than_can_part_the_items(project: Path) -> None:
    rows = [
        item(str(n), label=f"label {n}", sensitivity="restricted" if n % 4 == 0 else "public")
        for n in range(_MOST_STRATA + 200)
    ]
    evalset = load_evalset(write_evalset(project, "mini", items=rows, output={"text": True}))
    assert len({stratum(evalset, entry) for entry in evalset.items}) > _MOST_STRATA
    sample = evalset.sample(40)
    assert Counter(class_of(entry.sensitivity) for entry in sample.items) == {"open": 30, "restricted": 10}
    one_label = load_evalset(
        write_evalset(
            project, "mini", items=[{**r, "expectations": {"label": "x"}} for r in rows], output={"text": True}
        )
    )
    assert [entry.id for entry in sample.items] == as_it_was_first_written(one_label, 40)


@pytest.mark.parametrize(("small", "large"), [(8, 16), (16, 40), (24, 48), (40, 60), (60, 120)])
def test_a_larger_sample_keeps_nearly_all_of_a_smaller_one(triage: EvalSet, small: int, large: int) -> None:
    few = {entry.id for entry in triage.sample(small).items}
    many = {entry.id for entry in triage.sample(large).items}
    assert len(few & many) >= small - 1


@pytest.mark.parametrize("more", [None, 0, 1000])
def test_a_sample_of_everything_is_the_eval_set(triage: EvalSet, more: int | None) -> None:
    assert triage.sample(None if more is None else len(triage.items) + more) is triage


def test_a_sample_of_nothing_is_refused(triage: EvalSet) -> None:
    with pytest.raises(InputError, match="at least 1 item, not 0"):
        triage.sample(0)


SCHEMA = {"type": "object", "properties": {"color": {"enum": COLORS}}, "required": ["color"]}


def whole_set(project: Path, **changes: Any) -> Path:
    """An eval set with every file that one may have; its answers are JSON."""
    rows = [{**item(name), "expectations": {"color": "red"}} for name in ("a", "b", "c")]
    train = [{**item(name), "expectations": {"color": "green"}} for name in ("t1", "t2")]
    fields: dict[str, Any] = {
        "output": {"json_schema": "schema.json"},
        "scorers": [{"type": "label", "field": "color"}],
        "rules": {"fields": {"color": {"rules": [{"pattern": "blood", "answer": "red"}]}}},
        **changes,
    }
    folder = write_evalset(project, "mini", items=rows, train=train, **fields)
    (folder / "schema.json").write_text(json.dumps(SCHEMA, indent=1))
    return folder


@pytest.fixture
def whole(project: Path) -> Path:
    (project / "evalsets" / "mini").mkdir(parents=True)
    (project / "evalsets" / "mini" / "schema.json").write_text("{}")
    return whole_set(project)


@pytest.mark.parametrize("name", ["evalset.yaml", "items.jsonl", "train.jsonl", "schema.json", "rules.yaml"])
def test_the_digest_changes_with_any_file(whole: Path, name: str) -> None:
    before = load_evalset(whole).digest
    assert load_evalset(whole).digest == before
    with (whole / name).open("a") as file:
        file.write("\n")
    assert load_evalset(whole).digest != before


def test_the_digest_ignores_what_is_no_part_of_the_set(whole: Path) -> None:
    before = load_evalset(whole).digest
    (whole / "README.md").write_text("other")
    (whole / "items.jsonl.orig").write_text("other")
    assert load_evalset(whole).digest == before


def test_eval_sets_are_equal_where_all_of_them_is(whole: Path) -> None:
    one, other = load_evalset(whole), load_evalset(whole)
    assert one == other
    render(one, "default", one.items[0])  # what it keeps for itself does not count
    assert one == other
    assert one.sample(2) == other.sample(2) != one
    with (whole / "items.jsonl").open("a") as file:
        file.write(json.dumps({**item("d"), "expectations": {"color": "red"}}) + "\n")
    assert load_evalset(whole) != one


def test_saving_leaves_nothing_of_what_was_there(project: Path, whole: Path) -> None:
    evalset = load_evalset(whole)
    save_evalset(replace(evalset, train=(), items=evalset.items[:1]), whole)
    again = load_evalset(whole)
    assert (again.train, again.items) == ((), evalset.items[:1])


@pytest.mark.parametrize("name", ["a b", ".hidden", "x" * 65, "é", "a.b"])
def test_a_set_is_not_saved_under_a_name_that_would_not_load(project: Path, whole: Path, name: str) -> None:
    with pytest.raises(InputError, match="an eval set's name has up to 64 letters, digits, '_', '-'"):
        save_evalset(load_evalset(whole), project / "evalsets" / name)
    assert not (project / "evalsets" / name).exists()


def test_an_unknown_variant_is_named(whole: Path) -> None:
    evalset = load_evalset(whole)
    check_variants({"t": evalset}, ["default"])
    with pytest.raises(InputError, match=r"no eval set has a variant 'nope'\. There are: default\."):
        check_variants({"t": evalset}, ["default", "nope"])


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/gone"}}},
        {"type": "object", "properties": {"a": {"$ref": "http://192.0.2.1/schema.json"}}},
        {"type": "object", "properties": {"a": {"$ref": "file:///etc/passwd"}}},
    ],
)
def test_a_reference_out_of_the_schema_is_refused(project: Path, schema: dict[str, Any]) -> None:
    folder = write_evalset(project, "mini", items=[item("a")], output={"json_schema": "schema.json"})
    (folder / "schema.json").write_text(json.dumps(schema))
    with pytest.raises(InputError, match=r"schema\.json: \$ref '.*' is not in this file"):
        load_evalset(folder)


def test_a_reference_within_the_schema_is_followed(project: Path) -> None:
    fields = {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "string"}}}
    folder = write_evalset(project, "mini", items=[item("a")], output={"json_schema": "schema.json"})
    (folder / "schema.json").write_text(json.dumps(fields))
    assert load_evalset(folder).output_schema == fields


def test_a_schema_behind_a_link_out_of_the_folder_is_refused(project: Path) -> None:
    folder = write_evalset(project, "mini", items=[item("a")], output={"json_schema": "schema.json"})
    (project / "outside.json").write_text('{"type": "object"}')
    (folder / "schema.json").symlink_to(project / "outside.json")
    with pytest.raises(InputError, match="must be a file inside the eval set's folder"):
        load_evalset(folder)


Break = Callable[[Path], object]
SPEC = "evalset.yaml"


def edit(change: Callable[[dict[str, Any]], object]) -> Break:
    """A change to evalset.yaml."""

    def broken(folder: Path) -> None:
        spec = yaml.safe_load((folder / SPEC).read_text())
        change(spec)
        (folder / SPEC).write_text(yaml.safe_dump(spec, sort_keys=False))

    return broken


def prompt(content: str, **more: Any) -> Break:
    return edit(
        lambda spec: spec.update(variants={"default": {"messages": [{"role": "user", "content": content}], **more}})
    )


def add(name: str, text: str | dict[str, Any]) -> Break:
    """A further line at the end of a file."""
    line = text if isinstance(text, str) else json.dumps(text)

    def broken(folder: Path) -> None:
        with (folder / name).open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    return broken


def put(name: str, content: str | bytes) -> Break:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def linked(name: str) -> Break:
    """A file as a link out of the folder."""

    def broken(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        (folder / name).symlink_to(folder.parent / name)

    return broken


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {**item(name), "expectations": {"color": "red"}, **changes}


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
KEYS = "schema, name, description, license, sensitivity, variants, generation, output, scorers, accept, limits, rules"
TEMPLATE = "field 'variants.default.messages.0.content': template: "
CAN_USE = "It can use: inputs.<name> (item a)."
# The kind of a defect: how to make it, and all that is said of it after the folder's name.
DEFECTS: dict[str, tuple[Break, str]] = {
    "no evalset.yaml": (lambda folder: (folder / SPEC).unlink(), "evalset.yaml: there is no such file."),
    "no items": (put("items.jsonl", "\n"), "items.jsonl: has no items. Add one JSON object a line."),
    "a folder for a file": (
        lambda folder: [(folder / "train.jsonl").unlink(), (folder / "train.jsonl").mkdir()],
        "train.jsonl: must be a file, and is a folder or a device.",
    ),
    "a pipe for a file": (
        lambda folder: [(folder / "items.jsonl").unlink(), os.mkfifo(folder / "items.jsonl")],
        "items.jsonl: must be a file, and is a folder or a device.",
    ),
    "items that are a link": (
        linked("items.jsonl"),
        "items.jsonl: is a link that leads out of the folder. Copy the file.",
    ),
    "a schema that is a link": (
        linked("schema.json"),
        "evalset.yaml:11: field 'output.json_schema': must be a file inside the eval set's folder.",
    ),
    "a schema that is not there": (
        edit(lambda spec: spec["output"].update(json_schema="gone.json")),
        "evalset.yaml:15: field 'output.json_schema': there is no file 'gone.json' in the eval set's folder.",
    ),
    "not UTF-8": (
        lambda folder: put(SPEC, (folder / SPEC).read_bytes().replace(b"The color", b"\xe9"))(folder),
        "evalset.yaml:3: not UTF-8 text. Save it as UTF-8.",
    ),
    "broken YAML": (
        add(SPEC, "limits: {margin: 0.1"),
        "evalset.yaml:30: not valid YAML: expected ',' or '}', but got '<stream end>'. Check indent and quotes.",
    ),
    "a key twice": (
        add(SPEC, "name: mini"),
        "evalset.yaml:29: key 'name' stands here a second time. Keep one of them.",
    ),
    "a key that is no text": (
        add(SPEC, "on: 1"),
        "evalset.yaml:29: 'on' as a key must be text, but YAML reads it as bool. Quote it.",
    ),
    "an alias bomb": (
        add(SPEC, BOMB),
        "evalset.yaml:29: over 50000 values, those behind an alias counted each time. Write fewer.",
    ),
    "code in a tag": (
        add(SPEC, "license: !!python/object/apply:os.system [ls]"),
        "evalset.yaml:29: not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system'. Check indent and quotes.",
    ),
    "a key that is missing": (
        edit(lambda spec: spec.pop("accept")),
        "evalset.yaml:1: field 'accept': is missing. Add it.",
    ),
    "an unknown key": (
        edit(lambda spec: spec.update(acept=1)),
        f"evalset.yaml:27: field 'acept': unknown key. Remove it, or see which keys there are: {KEYS}.",
    ),
    "a number as text": (
        edit(lambda spec: spec["generation"].update(max_tokens="4")),
        "evalset.yaml:12: field 'generation.max_tokens': input should be a valid integer (it says '4').",
    ),
    "a label that YAML reads as a boolean": (
        edit(lambda spec: spec.update(output={"labels": ["yes", False]})),
        "evalset.yaml:17: field 'output.labels.1': must be text, but YAML reads false (also yes, no, on, off) "
        "as a boolean. Quote it.",
    ),
    "a label twice": (
        edit(lambda spec: spec.update(output={"labels": ["red", "red"]})),
        "evalset.yaml:15: field 'output.labels': label 'red' stands here twice. Keep one of them.",
    ),
    "a variant's name": (
        edit(lambda spec: spec["variants"].update({"a#b": spec["variants"]["default"]})),
        "evalset.yaml:5: field 'variants': 'a#b' is no name for a variant. Use up to 100 letters, digits, '_', '-', '.'.",
    ),
    "another name than the folder's": (
        edit(lambda spec: spec.update(name="maxi")),
        "evalset.yaml:2: field 'name': must be the folder's name, 'mini' (letters, digits, '_', '-').",
    ),
    "an unknown scorer": (
        edit(lambda spec: spec.update(scorers=[{"type": "vibes"}])),
        f"evalset.yaml:17: field 'scorers.0.type': there is no scorer 'vibes'. There are: {', '.join(SCORERS.names())}.",
    ),
    "an unknown setting of a scorer": (
        edit(lambda spec: spec.update(scorers=[{"type": "json_schema", "strict": True}])),
        "evalset.yaml:18: field 'scorers.0.strict': extra inputs are not permitted. Scorer 'json_schema' has the keys: "
        "type, name, weight, optional.",
    ),
    "a schema that is no JSON": (
        put("schema.json", '{\n "type": "object",\n}'),
        "schema.json:3: not valid JSON: Expecting property name enclosed in double quotes at column 1.",
    ),
    "a schema that is none": (
        put("schema.json", '{"type": "object", "properties": {"color": {"enum": "red"}}}'),
        "schema.json: not a JSON schema: 'red' is not of type 'array' (at properties.color.enum).",
    ),
    "a reference that leads nowhere": (
        put("schema.json", '{"type": "object", "properties": {"color": {"$ref": "#/$defs/color"}}}'),
        "schema.json: $ref '#/$defs/color' is not in this file.",
    ),
    "a rule's pattern": (
        lambda folder: put("rules.yaml", (folder / "rules.yaml").read_text().replace("blood", "(blood"))(folder),
        "rules.yaml:5: field 'fields.color.rules.0.pattern': not a regular expression: missing ) at position 6.",
    ),
    "a rule's pattern that takes gigabytes": (
        lambda folder: put("rules.yaml", (folder / "rules.yaml").read_text().replace("blood", "(a{1000}){1000}"))(
            folder
        ),
        "rules.yaml:5: field 'fields.color.rules.0.pattern': a regular expression that is too large, or repeats too much.",
    ),
    "a rule's answer with a date": (
        put("rules.yaml", "schema: 1\ntext: [thing]\nrules:\n- {pattern: x, answer: {color: 2026-01-02}}\n"),
        "rules.yaml:4: field 'rules.0.answer': 2026-01-02 is a date to YAML. Quote it.",
    ),
    "more examples than train items": (
        prompt("x", examples=3),
        "evalset.yaml:11: field 'variants.default.examples': wants 3 items of train.jsonl, which has 2.",
    ),
    "a template that does not parse": (
        prompt("{{ inputs.thing"),
        f"evalset.yaml:9: {TEMPLATE}unexpected end of template, expected 'end of print statement'. {CAN_USE}",
    ),
    "an input that is not there": (
        prompt("{{ inputs.colour }}"),
        f"evalset.yaml:9: {TEMPLATE}'dict object' has no attribute 'colour'. {CAN_USE}",
    ),
    "a template that reaches for Python": (
        prompt("{{ inputs.__class__ }}"),
        f"evalset.yaml:9: {TEMPLATE}access to attribute '__class__' of 'dict' object is unsafe. {CAN_USE}",
    ),
    "a template that would not end": (
        prompt("{{ 'x' * 10 ** 10 }}"),
        f"evalset.yaml:9: {TEMPLATE}it loops, repeats or pads so much that it would not end soon. {CAN_USE}",
    ),
    "turns that are none": (
        edit(lambda spec: spec.update(variants={"default": {"messages": [{"turns": "chat"}]}})),
        "evalset.yaml:8: field 'variants.default.messages.0.content': inputs.chat must be a list such as "
        '[{"role": "user", "content": "…"}] (item a).',
    ),
    "a line that is no JSON": (
        add("items.jsonl", '{"id": "d",}'),
        "items.jsonl:4: not valid JSON: Expecting property name enclosed in double quotes at column 12. "
        "Each line holds one JSON object.",
    ),
    "a line that is no object": (
        add("items.jsonl", "[1]"),
        'items.jsonl:4: must be a JSON object such as {"id": …, "inputs": …}.',
    ),
    "a key of an item twice": (
        add("items.jsonl", '{"id": "d", "sensitivity": "restricted", "sensitivity": "public"}'),
        "items.jsonl:4: not valid JSON: key 'sensitivity' stands there twice. Each line holds one JSON object.",
    ),
    "a number that is none": (
        add("items.jsonl", '{"id": "d", "inputs": {"thing": NaN}}'),
        "items.jsonl:4: not valid JSON: NaN is no number in JSON. Each line holds one JSON object.",
    ),
    "half a character": (
        add("items.jsonl", row("d", inputs={"thing": ["\ud83d"]})),
        "items.jsonl:4: not valid JSON: half a character (a lone surrogate), which no file can hold. "
        "Each line holds one JSON object.",
    ),
    "an item without inputs": (
        add("items.jsonl", {"id": "d", "expectations": {"color": "red"}}),
        "items.jsonl:4: field 'inputs': is missing. Add it.",
    ),
    "a sensitivity that is none": (
        add("train.jsonl", row("d", sensitivity="secret")),
        "train.jsonl:3: field 'sensitivity': input should be 'public', 'internal' or 'restricted'.",
    ),
    "an expectation that is missing": (
        add("items.jsonl", row("d", expectations={"colour": "red"})),
        "items.jsonl:4: field 'expectations': scorer label needs expectations.color. Add it (item d).",
    ),
    "an expectation that is no label": (
        add("train.jsonl", row("d", expectations={"color": "CANARY"})),
        "train.jsonl:3: field 'expectations': expectations.color is not among the labels (red, green, blue). "
        "Mend one of them (item d).",
    ),
    "an id twice": (
        add("items.jsonl", row("b")),
        "items.jsonl:4: id 'b' is already at evalsets/mini/items.jsonl:2. Give each item its own id.",
    ),
    "an id in both files": (
        add("train.jsonl", row("b")),
        "train.jsonl:3: id 'b' is already at evalsets/mini/items.jsonl:2. Give each item its own id.",
    ),
}


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_is_named_with_file_line_field_and_mend(whole: Path, kind: str) -> None:
    load_evalset(whole)
    broken, message = DEFECTS[kind]
    broken(whole)
    with pytest.raises(InputError) as caught:
        load_evalset(whole)
    assert str(caught.value) == f"evalsets/mini/{message}"


def test_every_kind_of_defect_has_a_message_of_its_own() -> None:
    messages = [message.partition(": ")[2] for _, message in DEFECTS.values()]
    assert len(set(messages) - {"must be a file, and is a folder or a device."}) == len(messages) - 2 >= 15
