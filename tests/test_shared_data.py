"""Real files of other tools and public sets, in ../shared/data beside the repository; without them all are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import REPOSITORY

from workbench.audit import audit
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import Import, export_evalset, import_evalset

SHARED = REPOSITORY.parent / "shared" / "data"
needs_shared = pytest.mark.skipif(not SHARED.is_dir(), reason="the public data is not here (../shared/data)")


# Public sets as plain tables: no mapping, no hand work.


def _table(name: str) -> tuple[Import, EvalSet]:
    done = import_evalset(SHARED / "evalsets" / name / "data.jsonl", f"evalsets/{name}")
    return done, load_evalset(f"evalsets/{name}")


@needs_shared
def test_banking77_is_77_labels() -> None:
    done, evalset = _table("banking77")
    assert done.format == "table" and not done.losses and len(evalset.items) == 231
    assert evalset.spec.scorers == [{"type": "label"}] and len(evalset.spec.output.labels or []) == 77
    assert evalset.items[0].id == "banking77-test-2697" and list(evalset.items[0].inputs) == ["input"]


@needs_shared
def test_sroie_is_four_fields_as_json() -> None:
    done, evalset = _table("sroie")
    fields = {"company": "text", "date": "date", "address": "text", "total": "money"}
    assert evalset.spec.scorers == [{"type": "json_fields", "fields": fields}] and len(evalset.items) == 200
    assert set(evalset.items[0].expectations) == set(fields)
    assert [loss.what for loss in done.losses] == [
        "column 'in_text' (200 rows have a value) is not used: use it by --map PLACE=COLUMN"
    ]


@needs_shared
def test_qmsum_is_texts_with_meetings_as_clusters() -> None:
    done, evalset = _table("qmsum_specific")
    item = evalset.items[0]
    assert evalset.spec.scorers == [{"type": "rouge", "metric": "rougeL"}] and evalset.spec.accept.min_score == 0.5
    assert (
        list(item.inputs) == ["query", "input"] and item.cluster == "test-14" and item.slice == {"domain": "Committee"}
    )
    assert len(done.losses) == 2 and len({item.cluster for item in evalset.items}) == 26


@needs_shared
@pytest.mark.parametrize("name", ["legalbench_hearsay", "legalbench_proa"])
def test_legalbench_is_yes_or_no(name: str) -> None:
    done, evalset = _table(name)
    assert evalset.spec.output.labels == ["Yes", "No"] and len(evalset.items) == 95 and not done.losses
    assert evalset.items[0].slice["task"] == name.removeprefix("legalbench_")


@needs_shared
@pytest.mark.parametrize("name", ["banking77", "sroie", "qmsum_specific", "legalbench_hearsay", "legalbench_proa"])
def test_public_sets_give_nothing_away_and_hold_no_secret(name: str) -> None:
    _, evalset = _table(name)
    found = audit(evalset, detector="patterns").findings
    assert [str(each) for each in found if each.check in ("leaks", "personal data")] == []


@needs_shared
@pytest.mark.parametrize(
    ("name", "format", "file"),
    [
        ("banking77", "table", "o.jsonl"),
        ("sroie", "mlflow_records", "o.jsonl"),
        ("qmsum_specific", "huggingface", "o"),
        ("legalbench_hearsay", "huggingface", "o"),
        ("legalbench_proa", "mlflow_records", "o.jsonl"),
    ],
)
def test_public_sets_are_the_same_after_a_round(name: str, format: str, file: str, project: Path) -> None:
    _, first = _table(name)
    export_evalset(first, format, file)
    done = import_evalset(file, f"evalsets/{name}", replace=True)
    again = load_evalset(f"evalsets/{name}")
    assert done.format == format and not done.losses
    assert list(again.items) == list(first.items) and again.spec.variants == first.spec.variants
    assert again.scorers == first.scorers and again.spec.output == first.spec.output


@needs_shared
@pytest.mark.parametrize(("name", "count"), [("finance_calc", 96), ("french_exams", 40)])
def test_samples_of_openai_evals(name: str, count: int, project: Path) -> None:
    done = import_evalset(SHARED / "formats" / f"openai_evals_{name}.jsonl", "evalsets/mine")
    first = load_evalset("evalsets/mine")
    assert done.format == "openai_evals" and not done.losses and len(first.items) == count
    assert first.spec.scorers == [{"type": "exact", "match": "begins"}]
    export_evalset(first, "openai_evals", "o.jsonl")
    import_evalset("o.jsonl", "evalsets/mine", replace=True)
    again = load_evalset("evalsets/mine")
    assert list(again.items) == list(first.items) and again.scorers == first.scorers


@needs_shared
def test_folders_of_public_sets_are_read_as_datasets(project: Path) -> None:
    done = import_evalset(SHARED / "evalsets" / "banking77", "evalsets/mine")
    assert done.format == "huggingface" and done.items == 231 and len(load_evalset("evalsets/mine").train) > 0
    assert any("labels.json" in loss.place for loss in done.losses)


# promptfoo and inspect_ai, as their own repositories have them, and back.

WRITTEN = [
    ("promptfoo", ".yaml"),
    ("promptfoo_tests", ".csv"),
    ("promptfoo_tests", ".jsonl"),
    ("promptfoo_tests", ".yaml"),
]


def _tool(name: str, format: str, suffix: str, *, to: str = "") -> tuple[Import, EvalSet]:
    """Read and written, as another format `to` if there is one, and read again."""
    done = import_evalset(SHARED / "formats" / name, "evalsets/real")
    evalset = load_evalset("evalsets/real")
    assert done.format == format
    losses = [loss.what for loss in export_evalset(evalset, to or format, f"out{suffix}").losses]
    assert losses == (
        ["the prompts (default): there is no place for that"] if format == "promptfoo_tests" == (to or format) else []
    )
    import_evalset(f"out{suffix}", "evalsets/again")
    again = load_evalset("evalsets/again")
    assert again.items == evalset.items
    for part in ("variants", "output", "scorers", "accept"):
        assert getattr(again.spec, part) == getattr(evalset.spec, part)
    return done, evalset


@needs_shared
@pytest.mark.parametrize(("to", "suffix"), WRITTEN)
def test_promptfoos_own_csv(to: str, suffix: str) -> None:
    done, evalset = _tool("promptfoo_simple.csv", "promptfoo_tests", suffix, to=to)
    assert [item.expectations for item in evalset.items] == [
        {"icontains": word} for word in ("bonjour", "faim", "Ahoy", "grub")
    ]
    assert evalset.items[1].inputs["style_config"].startswith('{"tone":"casual"')  # a cell is text there
    assert done.losses == []


@needs_shared
@pytest.mark.parametrize(("to", "suffix"), WRITTEN)
def test_promptfoos_own_jsonl(to: str, suffix: str) -> None:
    done, evalset = _tool("promptfoo_cases.jsonl", "promptfoo_tests", suffix, to=to)
    assert [item.inputs["target_language"] for item in evalset.items] == ["French", "Spanish"]
    assert evalset.items[0].expectations["equals"].startswith("Translate the following text to French")
    assert done.losses == []


@needs_shared
def test_inspects_own_samples() -> None:
    done, evalset = _tool("inspect_samples.csv", "inspect_ai", ".jsonl")
    assert evalset.items[0].expectations == {"answer": "Hello, World"}
    assert [loss.what for loss in done.losses] == [
        "column 'label' is no field of a sample",
        "column 'extra' is no field of a sample",
        "'sandbox': nothing is run here",
    ]


@needs_shared
def test_inspects_own_multiple_choice() -> None:
    done, evalset = _tool("inspect_mcq.jsonl", "inspect_ai", ".jsonl")
    assert evalset.spec.output.labels == list("ABCDEFGHIJ") and evalset.items[0].expectations == {"label": "A"}
    assert evalset.items[0].inputs["choices"] == [str(number) for number in range(1, 11)] and done.losses == []
