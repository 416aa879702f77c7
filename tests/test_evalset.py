"""Eval sets: defaults that are never permissive, samples that stay, a digest over every file."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, check_variants, load_evalset, load_evalsets
from workbench.privacy import class_of


@pytest.fixture(scope="module")
def triage() -> EvalSet:
    return load_evalset(REPOSITORY / "evalsets" / "support_triage")


@pytest.mark.parametrize("name", ["contract_questions", "order_extraction", "support_triage"])
def test_the_curated_sets_load_with_both_classes(name: str) -> None:
    evalset = load_evalset(REPOSITORY / "evalsets" / name)
    assert evalset.name == name
    assert {class_of(entry.sensitivity) for entry in evalset.items} == {"open", "restricted"}
    assert evalset.total == len(evalset.items) >= 60
    assert not {entry.id for entry in evalset.items} & {entry.id for entry in evalset.train}


def test_load_evalsets_reads_all_or_the_named_ones(curated: Path) -> None:
    assert list(load_evalsets()) == ["contract_questions", "order_extraction", "support_triage"]
    assert list(load_evalsets("evalsets", ["support_triage"])) == ["support_triage"]


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


def strata(evalset: EvalSet) -> Counter[tuple[str, str]]:
    return Counter((class_of(entry.sensitivity), entry.expectations["label"]) for entry in evalset.items)


@pytest.mark.parametrize("n", [10, 24, 40, 79])
def test_a_sample_keeps_the_shares_of_classes_and_labels(triage: EvalSet, n: int) -> None:
    sample = triage.sample(n)
    whole, part = strata(triage), strata(sample)
    assert len(sample.items) == n
    assert sample.total == 80
    for stratum, count in whole.items():
        assert abs(part[stratum] - count * n / 80) <= 1


def test_a_sample_is_the_same_every_time_and_hangs_on_ids_alone(triage: EvalSet) -> None:
    from dataclasses import replace

    turned = replace(triage, items=tuple(reversed(triage.items)))
    ids = [entry.id for entry in triage.sample(24).items]
    assert ids == [entry.id for entry in triage.sample(24).items]
    assert sorted(ids) == sorted(entry.id for entry in turned.sample(24).items)
    assert ids == [entry.id for entry in triage.items if entry.id in ids]  # in the file's order


@pytest.mark.parametrize(("small", "large"), [(8, 16), (16, 40), (24, 48), (40, 60)])
def test_a_larger_sample_keeps_nearly_all_of_a_smaller_one(triage: EvalSet, small: int, large: int) -> None:
    few = {entry.id for entry in triage.sample(small).items}
    many = {entry.id for entry in triage.sample(large).items}
    assert len(few & many) >= small - 1


@pytest.mark.parametrize("n", [None, 80, 1000])
def test_a_sample_of_everything_is_the_eval_set(triage: EvalSet, n: int | None) -> None:
    assert triage.sample(n) is triage


def test_a_sample_of_nothing_is_refused(triage: EvalSet) -> None:
    with pytest.raises(InputError, match="at least 1 item, not 0"):
        triage.sample(0)


@pytest.mark.parametrize("name", ["evalset.yaml", "items.jsonl", "train.jsonl", "schema.json", "rules.yaml"])
def test_the_digest_changes_with_any_file(curated: Path, name: str) -> None:
    folder = curated / "evalsets" / "contract_questions"
    before = load_evalset(folder).digest
    assert load_evalset(folder).digest == before
    with (folder / name).open("a") as file:
        file.write("\n")
    assert load_evalset(folder).digest != before


def test_the_digest_ignores_what_is_no_part_of_the_set(curated: Path) -> None:
    folder = curated / "evalsets" / "contract_questions"
    before = load_evalset(folder).digest
    (folder / "README.md").write_text("other")
    assert load_evalset(folder).digest == before


def test_an_unknown_variant_is_named(triage: EvalSet) -> None:
    check_variants({"t": triage}, ["default", "few_shot"])
    with pytest.raises(InputError, match=r"no eval set has a variant 'nope'\. There are: default, few_shot"):
        check_variants({"t": triage}, ["default", "nope"])


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
