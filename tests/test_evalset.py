"""Eval sets: defaults that are never permissive, samples that stay, a digest over every file, every defect named."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, check_variants, load_evalset, load_evalsets, save_evalset
from workbench.evalset.model import _MOST_STRATA
from workbench.privacy import class_of
from workbench.prompts import render
from workbench.scorers.base import SCORERS
from workbench.scorers.label import LabelScorer

CURATED = ["data_extraction", "legal_reasoning", "meeting_summaries", "support_triage"]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> EvalSet:
    """160 items in six strata of 8 to 56."""
    labels = ["red"] * 4 + ["green"] * 3 + ["blue"]
    rows = [
        item(f"i{n}", label=labels[n % 8], sensitivity="restricted" if n % 10 < 3 else "internal") for n in range(160)
    ]
    return load_evalset(write_evalset(tmp_path_factory.mktemp("uneven"), "uneven", items=rows))


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
def test_a_sample_keeps_the_shares_of_classes_and_labels(uneven: EvalSet, n: int) -> None:
    sample = uneven.sample(n)
    whole, part = (Counter(stratum(uneven, entry) for entry in items) for items in (uneven.items, sample.items))
    assert len(sample.items) == n
    assert len(whole) == 6
    assert sample.total == whole.total() == uneven.total
    for key, count in whole.items():
        assert abs(part[key] - count * n / whole.total()) <= 1


def test_a_sample_is_the_same_every_time_and_hangs_on_ids_alone(uneven: EvalSet) -> None:
    turned = replace(uneven, items=tuple(reversed(uneven.items)))
    ids = [entry.id for entry in uneven.sample(24).items]
    assert ids == [entry.id for entry in uneven.sample(24).items]
    assert sorted(ids) == sorted(entry.id for entry in turned.sample(24).items)
    assert ids == [entry.id for entry in uneven.items if entry.id in ids]  # in the file's order


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
def test_a_sample_has_the_same_ids_as_in_earlier_versions(uneven: EvalSet, n: int) -> None:
    assert [entry.id for entry in uneven.sample(n).items] == as_it_was_first_written(uneven, n)


def test_a_sample_keeps_no_more_strata_than_can_part_the_items(project: Path) -> None:
    rows = [
        item(str(n), label=f"label {n}", sensitivity="restricted" if n % 4 == 0 else "public")
        for n in range(_MOST_STRATA + 200)
    ]
    evalset = load_evalset(write_evalset(project, "mini", items=rows, output={"text": True}))
    assert len({stratum(evalset, entry) for entry in evalset.items}) > _MOST_STRATA
    sample = evalset.sample(40)
    assert Counter(class_of(entry.sensitivity) for entry in sample.items) == {"open": 30, "restricted": 10}
    alike = [{**row, "expectations": {"label": "x"}} for row in rows]
    one_label = load_evalset(write_evalset(project, "mini", items=alike, output={"text": True}))
    assert [entry.id for entry in sample.items] == as_it_was_first_written(one_label, 40)


@pytest.mark.parametrize(("small", "large"), [(8, 16), (16, 40), (24, 48), (40, 60), (60, 120)])
def test_a_larger_sample_keeps_nearly_all_of_a_smaller_one(uneven: EvalSet, small: int, large: int) -> None:
    few = {entry.id for entry in uneven.sample(small).items}
    many = {entry.id for entry in uneven.sample(large).items}
    assert len(few & many) >= small - 1


@pytest.mark.parametrize("more", [None, 0, 1000])
def test_a_sample_of_everything_is_the_eval_set(uneven: EvalSet, more: int | None) -> None:
    assert uneven.sample(None if more is None else len(uneven.items) + more) is uneven


def test_a_sample_of_nothing_is_refused(uneven: EvalSet) -> None:
    with pytest.raises(InputError, match="at least 1 item, not 0"):
        uneven.sample(0)


WHOLE = {
    "evalset.yaml": """\
schema: 1
name: mini
description: The color of a thing.
sensitivity: internal
variants:
  default:
    messages:
      - {role: system, content: One of three.}
      - {role: user, content: "Color of {{ inputs.thing }}?"}
  few_shot:
    messages:
      - {role: user, content: "{{ inputs.thing }}"}
    examples: 2
generation: {temperature: 0, max_tokens: 4}
output:
  json_schema: schema.json
scorers:
  - type: label
    field: color
accept: {min_score: 1}
rules: rules.yaml
""",
    "schema.json": """\
{
  "type": "object",
  "properties": {
    "color": {"enum": ["red", "green", "blue"]}
  }
}
""",
    "rules.yaml": """\
schema: 1
text: [thing]
rules:
  - {pattern: blood, answer: {color: red}}
""",
    "items.jsonl": "".join(json.dumps({**item(name), "expectations": {"color": "red"}}) + "\n" for name in "abc"),
    "train.jsonl": "".join(json.dumps({**item(name), "expectations": {"color": "blue"}}) + "\n" for name in "xyz"),
}


@pytest.fixture
def whole(project: Path) -> Path:
    """An eval set with every file that one may have."""
    folder = project / "evalsets" / "mini"
    folder.mkdir(parents=True)
    for name, text in WHOLE.items():
        (folder / name).write_text(text)
    return folder


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
    spec = evalset.spec.model_copy(update={"variants": {"default": evalset.spec.variants["default"]}})
    save_evalset(replace(evalset, spec=spec, train=(), items=evalset.items[:1]), whole)
    again = load_evalset(whole)
    assert (again.train, again.items) == ((), evalset.items[:1])


@pytest.mark.parametrize("name", ["a b", ".hidden", "x" * 65, "é", "a.b"])
def test_a_set_is_not_saved_under_a_name_that_would_not_load(project: Path, whole: Path, name: str) -> None:
    with pytest.raises(InputError, match="an eval set's name has up to 64 letters, digits, '_', '-'"):
        save_evalset(load_evalset(whole), project / "evalsets" / name)
    assert not (project / "evalsets" / name).exists()


def test_an_unknown_variant_is_named(whole: Path) -> None:
    evalset = load_evalset(whole)
    check_variants({"t": evalset}, ["default", "few_shot"])
    with pytest.raises(InputError, match=r"no eval set has a variant 'nope'\. There are: default, few_shot\."):
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


def swap(name: str, old: str, new: str | bytes) -> Break:
    """Another text in place of one that stands once in a file."""
    assert WHOLE[name].count(old) == 1
    written = new if isinstance(new, bytes) else new.encode()
    return lambda folder: (folder / name).write_bytes(WHOLE[name].encode().replace(old.encode(), written))


def add(name: str, line: str | dict[str, Any]) -> Break:
    """A further line at the end of a file."""
    text = line if isinstance(line, str) else json.dumps(line)
    return lambda folder: (folder / name).write_text(f"{WHOLE[name]}{text}\n")


def instead(name: str, make: Break) -> Break:
    """Something else in place of a file."""

    def broken(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        make(folder / name)

    return broken


def linked(path: Path) -> None:
    path.symlink_to(path.parent.parent / path.name)


def row(name: str, **changes: Any) -> dict[str, Any]:
    return {**item(name), "expectations": {"color": "red"}, **changes}


def content(template: str) -> Break:
    return swap("evalset.yaml", "Color of {{ inputs.thing }}?", template)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
KEYS = "schema, name, description, license, sensitivity, variants, generation, output, scorers, accept, limits, rules"
TEMPLATE = "evalset.yaml:9: field 'variants.default.messages.1.content': template: "
CAN_USE = "It can use: inputs.<name> (item a)."
PATTERN = "rules.yaml:4: field 'rules.0.pattern': "
NOT_JSON = "items.jsonl:4: not valid JSON: "
ONE_A_LINE = "Each line holds one JSON object."
# The kind of a defect: how to make it, and all that is said of it.
DEFECTS: dict[str, tuple[Break, str]] = {
    "no evalset.yaml": (instead("evalset.yaml", lambda path: None), "evalset.yaml: there is no such file."),
    "no items": (
        swap("items.jsonl", WHOLE["items.jsonl"], "\n"),
        "items.jsonl: has no items. Add one JSON object a line.",
    ),
    "a folder for a file": (
        instead("train.jsonl", Path.mkdir),
        "train.jsonl: must be a file, and is a folder or a device.",
    ),
    "a pipe for a file": (
        instead("items.jsonl", os.mkfifo),
        "items.jsonl: must be a file, and is a folder or a device.",
    ),
    "items that are a link": (
        instead("items.jsonl", linked),
        "items.jsonl: is a link that leads out of the folder. Copy the file.",
    ),
    "a schema that is a link": (
        instead("schema.json", linked),
        "evalset.yaml:16: field 'output.json_schema': must be a file inside the eval set's folder.",
    ),
    "rules that are not there": (
        swap("evalset.yaml", "rules.yaml", "gone.yaml"),
        "evalset.yaml:21: field 'rules': there is no file 'gone.yaml' in the eval set's folder.",
    ),
    "not UTF-8": (swap("evalset.yaml", "color of", b"\xe9"), "evalset.yaml:3: not UTF-8 text. Save it as UTF-8."),
    "broken YAML": (
        swap("evalset.yaml", "min_score: 1}", "min_score: 1"),
        "evalset.yaml:21: not valid YAML: expected ',' or '}', but got ':'. Check indent and quotes.",
    ),
    "a key twice": (
        add("evalset.yaml", "name: mini"),
        "evalset.yaml:22: key 'name' stands here a second time. Keep one of them.",
    ),
    "a key that is no text": (
        add("evalset.yaml", "on: 1"),
        "evalset.yaml:22: 'on' as a key must be text, but YAML reads it as bool. Quote it.",
    ),
    "an alias bomb": (
        add("evalset.yaml", BOMB),
        "evalset.yaml:22: over 50000 values, those behind an alias counted each time. Write fewer.",
    ),
    "code in a tag": (
        add("evalset.yaml", "license: !!python/object/apply:os.system [ls]"),
        "evalset.yaml:22: not valid YAML: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object/apply:os.system'. Check indent and quotes.",
    ),
    "a key that is missing": (
        swap("evalset.yaml", "accept: {min_score: 1}\n", ""),
        "evalset.yaml:1: field 'accept': is missing. Add it.",
    ),
    "an unknown key": (
        swap("evalset.yaml", "accept:", "acept:"),
        f"evalset.yaml:20: field 'acept': unknown key. Remove it, or see which keys there are: {KEYS}.",
    ),
    "text for a number": (
        swap("evalset.yaml", "max_tokens: 4", 'max_tokens: "4"'),
        "evalset.yaml:14: field 'generation.max_tokens': input should be a valid integer (it says '4').",
    ),
    "a list for a mapping": (
        swap("evalset.yaml", "accept: {min_score: 1}", "accept: [1]"),
        "evalset.yaml:20: field 'accept': must be a mapping of keys to values.",
    ),
    "a score that is out of range": (
        swap("evalset.yaml", "min_score: 1", "min_score: 85"),
        "evalset.yaml:20: field 'accept.min_score': input should be less than or equal to 1 (it says 85).",
    ),
    "a label that YAML reads as a boolean": (
        swap("evalset.yaml", "json_schema: schema.json", "labels: [red, no]"),
        "evalset.yaml:16: field 'output.labels.1': must be text, but YAML reads false (also yes, no, on, off) "
        "as a boolean. Quote it.",
    ),
    "a label twice": (
        swap("evalset.yaml", "json_schema: schema.json", "labels: [red, red]"),
        "evalset.yaml:16: field 'output.labels': label 'red' stands here twice. Keep one of them.",
    ),
    "labels that are scored as one": (
        swap("evalset.yaml", "json_schema: schema.json", "labels: [US, green, us]"),
        "evalset.yaml:16: field 'output.labels': labels 'US' and 'us' differ in case, spaces, full stop or minus "
        "sign only, and would be scored as one. Keep one of them.",
    ),
    "labels with other spaces": (
        swap("evalset.yaml", "json_schema: schema.json", "labels: [red, ' red']"),
        "evalset.yaml:16: field 'output.labels': labels 'red' and ' red' differ in case, spaces, full stop or minus "
        "sign only, and would be scored as one. Keep one of them.",
    ),
    "labels with another minus": (
        swap("evalset.yaml", "json_schema: schema.json", 'labels: ["−1", "-1"]'),
        "evalset.yaml:16: field 'output.labels': labels '−1' and '-1' differ in case, spaces, full stop or minus "
        "sign only, and would be scored as one. Keep one of them.",
    ),
    "no kind of output": (
        swap("evalset.yaml", "json_schema: schema.json", "format_retries: 1"),
        "evalset.yaml:15: field 'output': name exactly one of json_schema, labels, text.",
    ),
    "a variant's name": (
        swap("evalset.yaml", "few_shot", "few#shot"),
        "evalset.yaml:5: field 'variants': 'few#shot' is no name for a variant. "
        "Use up to 100 letters, digits, '_', '-', '.'.",
    ),
    "a last message that is not the user's": (
        swap("evalset.yaml", '{role: user, content: "Color', '{role: system, content: "Color'),
        "evalset.yaml:6: field 'variants.default': the last message must have role: user, "
        "it is what the model answers.",
    ),
    "another name than the folder's": (
        swap("evalset.yaml", "name: mini", "name: maxi"),
        "evalset.yaml:2: field 'name': must be the folder's name, 'mini' (letters, digits, '_', '-').",
    ),
    "an unknown scorer": (
        swap("evalset.yaml", "type: label", "type: vibes"),
        "evalset.yaml:18: field 'scorers.0.type': there is no scorer 'vibes'. There are: {scorers}.",
    ),
    "an unknown setting of a scorer": (
        swap("evalset.yaml", "type: label\n    field: color", "type: json_schema\n    strict: true"),
        "evalset.yaml:19: field 'scorers.0.strict': extra inputs are not permitted. Scorer 'json_schema' has the keys: "
        "type, name, weight, optional.",
    ),
    "a date as a setting of a scorer": (
        swap("evalset.yaml", "field: color", "field: 2026-01-02"),
        "evalset.yaml:18: field 'scorers.0': 2026-01-02 is a date to YAML. Quote it.",
    ),
    "a schema that is no JSON": (
        swap("schema.json", '"blue"]}', '"blue"]},'),
        "schema.json:5: not valid JSON: Expecting property name enclosed in double quotes at column 3.",
    ),
    "a schema that is none": (
        swap("schema.json", '["red", "green", "blue"]', '"red"'),
        "schema.json: not a JSON schema: 'red' is not of type 'array' (at properties.color.enum).",
    ),
    "a schema of another thing": (
        swap("schema.json", '"type": "object"', '"type": "array"'),
        'schema.json: the top must be an object: {"type": "object", …}.',
    ),
    "a reference that leads nowhere": (
        swap("schema.json", '"enum": ["red", "green", "blue"]', '"$ref": "#/$defs/color"'),
        "schema.json: $ref '#/$defs/color' is not in this file.",
    ),
    "a rule's pattern": (
        swap("rules.yaml", "blood", "(blood"),
        f"{PATTERN}not a regular expression: missing ) at position 6.",
    ),
    "a rule's pattern that takes gigabytes": (
        swap("rules.yaml", "{pattern: blood", '{pattern: "(a{1000}){1000}"'),
        f"{PATTERN}a regular expression that is too large, or repeats too much.",
    ),
    "a rule's answer with a date": (
        swap("rules.yaml", "color: red", "color: 2026-01-02"),
        "rules.yaml:4: field 'rules.0.answer': 2026-01-02 is a date to YAML. Quote it.",
    ),
    "more examples than train items": (
        swap("evalset.yaml", "examples: 2", "examples: 4"),
        "evalset.yaml:13: field 'variants.few_shot.examples': wants 4 items of train.jsonl, which has 3.",
    ),
    "a template that does not parse": (
        content("{{ inputs.thing"),
        f"{TEMPLATE}unexpected end of template, expected 'end of print statement'. {CAN_USE}",
    ),
    "an input that is not there": (
        content("{{ inputs.colour }}"),
        f"{TEMPLATE}'dict object' has no attribute 'colour'. {CAN_USE}",
    ),
    "a template that reaches for Python": (
        content("{{ inputs.__class__ }}"),
        f"{TEMPLATE}access to attribute '__class__' of 'dict' object is unsafe. {CAN_USE}",
    ),
    "a template that would not end": (
        content("{{ 'x' * 10 ** 10 }}"),
        f"{TEMPLATE}it loops, repeats or pads so much that it would not end soon. {CAN_USE}",
    ),
    "turns that are none": (
        swap("evalset.yaml", '{role: user, content: "Color of {{ inputs.thing }}?"}', "{turns: chat}"),
        "evalset.yaml:9: field 'variants.default.messages.1.content': inputs.chat must be a list such as "
        '[{"role": "user", "content": "…"}] (item a).',
    ),
    "a line that is no JSON": (
        add("items.jsonl", '{"id": "d",}'),
        f"{NOT_JSON}Expecting property name enclosed in double quotes at column 12. {ONE_A_LINE}",
    ),
    "a line that is no object": (
        add("items.jsonl", "[1]"),
        'items.jsonl:4: must be a JSON object such as {"id": …, "inputs": …}.',
    ),
    "a key of an item twice": (
        add("items.jsonl", '{"id": "d", "sensitivity": "restricted", "sensitivity": "public"}'),
        f"{NOT_JSON}key 'sensitivity' stands there twice. {ONE_A_LINE}",
    ),
    "a number that is none": (
        add("items.jsonl", '{"id": "d", "inputs": {"thing": NaN}}'),
        f"{NOT_JSON}NaN is no number in JSON. {ONE_A_LINE}",
    ),
    "half a character": (
        add("items.jsonl", row("d", inputs={"thing": ["\ud83d"]})),
        f"{NOT_JSON}half a character (a lone surrogate), which no file can hold. {ONE_A_LINE}",
    ),
    "an item without inputs": (
        add("items.jsonl", {"id": "d", "expectations": {"color": "red"}}),
        "items.jsonl:4: field 'inputs': is missing. Add it.",
    ),
    "a sensitivity that is none": (
        add("train.jsonl", row("d", sensitivity="secret")),
        "train.jsonl:4: field 'sensitivity': input should be 'public', 'internal' or 'restricted'.",
    ),
    "an expectation that is missing": (
        add("items.jsonl", row("d", expectations={"colour": "red"})),
        "items.jsonl:4: field 'expectations': scorer label needs expectations.color. Add it (item d).",
    ),
    "an expectation that is no label": (
        add("train.jsonl", row("d", expectations={"color": "CANARY"})),
        "train.jsonl:4: field 'expectations': expectations.color is not among the labels (red, green, blue). "
        "Mend one of them (item d).",
    ),
    "an id twice": (
        add("items.jsonl", row("b")),
        "items.jsonl:4: id 'b' is already at evalsets/mini/items.jsonl:2. Give each item its own id.",
    ),
    "an id in both files": (
        add("train.jsonl", row("b")),
        "train.jsonl:4: id 'b' is already at evalsets/mini/items.jsonl:2. Give each item its own id.",
    ),
}


@pytest.mark.parametrize("kind", DEFECTS)
def test_a_defect_is_named_with_file_line_field_and_mend(whole: Path, kind: str) -> None:
    load_evalset(whole)
    broken, message = DEFECTS[kind]
    broken(whole)
    with pytest.raises(InputError) as caught:
        load_evalset(whole)
    known = ", ".join(SCORERS.names())  # other tests may have registered some
    assert str(caught.value) == f"evalsets/mini/{message.replace('{scorers}', known)}"


def test_every_kind_of_defect_has_a_message_of_its_own() -> None:
    said = {re.sub(r":\d+", "", message) for _, message in DEFECTS.values()}
    assert len(said) == len(DEFECTS) >= 15


def test_a_teams_own_scorer_that_fails_is_no_traceback(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise OverflowError("CANARY")

    monkeypatch.setattr(LabelScorer, "check", fails)
    with pytest.raises(InputError) as caught:
        load_evalset(whole)
    assert str(caught.value) == (
        "evalsets/mini/train.jsonl:1: field 'expectations': a scorer cannot read them (OverflowError). "
        "Mend them (item x)."
    )
