"""OpenAI evals: samples, with the registry that says how they are scored, or without."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import write_evalset
from format_files import jsonl, lost, score

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, export_evalset, import_evalset
from workbench.prompts import render

BASIC = "evals.elsuite.basic"


def bring(source: Path | str, **more: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(source, "evalsets/mine", replace=True, **more)
    return done, load_evalset("evalsets/mine")


def samples(*ideals: Any) -> list[dict[str, Any]]:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Capital of {{ France }}?"}]
    return [{"input": turns, "ideal": ideal} for ideal in ideals]


def registry(
    project: Path, cls: str, args: dict[str, Any] | None = None, rows: list[dict[str, Any]] | None = None
) -> Path:
    """A registry: evals/geo.yaml and data/geo/samples.jsonl."""
    jsonl(project / "registry/data/geo/samples.jsonl", rows or samples("Paris", ["Rome", "Roma"]))
    path = project / "registry/evals/geo.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    entries = {
        "geo": {"id": "geo.dev.v0", "description": "Capitals.", "metrics": ["accuracy"]},
        "geo.dev.v0": {"class": cls, "args": {"samples_jsonl": "geo/samples.jsonl", **(args or {})}},
    }
    path.write_text(yaml.safe_dump(entries, sort_keys=False))
    return path


def test_samples_alone_are_taken_as_match(project: Path) -> None:
    done, evalset = bring(jsonl(project / "s.jsonl", samples("Paris", ["Rome", "Roma"])))
    assert done.format == "openai_evals" and not done.losses
    assert evalset.spec.scorers == [{"type": "exact", "match": "begins"}] and evalset.spec.accept.min_score == 1
    assert [item.expectations for item in evalset.items] == [{"answer": "Paris"}, {"answer": ["Rome", "Roma"]}]
    assert (score(evalset, "Paris, of course"), score(evalset, "It is Paris"), score(evalset, "paris")) == (1, 0, 0)
    assert score(evalset, "Roma", 1) == 1
    assert any("taken as Match" in note for note in done.notes)
    assert render(evalset, "default", evalset.items[0]).messages == samples("x")[0]["input"]


@pytest.mark.parametrize("user", ["Why?", [{"role": "user", "content": "Why?"}]])
def test_one_turn_of_the_user_is_a_prompt(project: Path, user: Any) -> None:
    _, evalset = bring(jsonl(project / "s.jsonl", [{"input": user, "ideal": "x"}, {"input": "How?", "ideal": "y"}]))
    assert [item.inputs for item in evalset.items] == [{"prompt": "Why?"}, {"prompt": "How?"}]
    assert render(evalset, "default", evalset.items[0]).messages == [{"role": "user", "content": "Why?"}]


def test_where_one_has_more_turns_all_are_turns(project: Path) -> None:
    _, evalset = bring(jsonl(project / "s.jsonl", [{"input": "How?", "ideal": "y"}, *samples("x")]))
    assert evalset.items[0].inputs == {"messages": [{"role": "user", "content": "How?"}]}
    assert len(render(evalset, "default", evalset.items[1]).messages) == 2


@pytest.mark.parametrize(
    ("cls", "args", "spec", "right", "wrong"),
    [
        (f"{BASIC}.match:Match", {}, {"type": "exact", "match": "begins"}, "Paris it is", "in Paris"),
        (f"{BASIC}.includes:Includes", {}, {"type": "contains", "want": "any", "ignore": []}, "in Paris!", "in paris"),
        (
            f"{BASIC}.includes:Includes",
            {"ignore_case": True},
            {"type": "contains", "want": "any", "ignore": ["case"]},
            "in paris",
            "in Rome",
        ),
        (
            f"{BASIC}.fuzzy_match:FuzzyMatch",
            {},
            {"type": "exact", "ignore": ["case", "punctuation", "articles"]},
            "The paris.",
            "Rome",
        ),
    ],
)
def test_the_registry_says_how_samples_are_scored(
    project: Path, cls: str, args: dict[str, Any], spec: dict[str, Any], right: str, wrong: str
) -> None:
    done, evalset = bring(registry(project, cls, args))
    assert done.format == "openai_evals" and not done.losses
    assert evalset.spec.scorers == [spec] and evalset.spec.description == "Capitals."
    assert (score(evalset, right), score(evalset, wrong)) == (1, 0)
    name = cls.partition(":")[2]
    assert any(note.startswith(f"{name}: ") for note in done.notes)


def test_the_registry_is_found_from_the_samples(project: Path) -> None:
    registry(project, f"{BASIC}.includes:Includes")
    (project / "registry/evals/other.yaml").write_text("samples.jsonl: [broken")
    done, evalset = bring(project / "registry/data/geo/samples.jsonl")
    assert evalset.spec.scorers[0]["type"] == "contains"
    assert any("eval 'geo.dev.v0' of registry/evals/geo.yaml" in note for note in done.notes)


def test_a_registry_file_beside_the_samples_is_found(project: Path) -> None:
    source = jsonl(project / "s.jsonl", samples("x"))
    entry = {"e.v0": {"class": f"{BASIC}.fuzzy_match:FuzzyMatch", "args": {"samples_jsonl": "s.jsonl"}}}
    (project / "s.yaml").write_text(yaml.safe_dump(entry))
    assert bring(source)[1].spec.scorers[0]["ignore"] == ["case", "punctuation", "articles"]


@pytest.mark.parametrize(
    ("cls", "grader"),
    [
        ("evals.elsuite.modelgraded.classify:ModelBasedClassify", "a model grades it"),
        ("my_company.evals:Special", "its own code grades it"),
    ],
)
def test_what_a_model_or_other_code_grades_is_a_loss(project: Path, cls: str, grader: str) -> None:
    done, evalset = bring(
        registry(project, cls, {"eval_type": "cot_classify", "modelgraded_spec": "fact"}), format="openai_evals"
    )
    assert evalset.spec.scorers == [{"type": "exact", "match": "begins"}]
    assert [str(loss) for loss in done.losses] == [
        f"registry/evals/geo.yaml:6: class '{cls}': {grader}, which no scorer here does; Match stands in",
        "registry/evals/geo.yaml:6: args.eval_type is not used",
        "registry/evals/geo.yaml:6: args.modelgraded_spec is not used",
    ]


def test_arguments_and_keys_that_are_not_used(project: Path) -> None:
    path = registry(
        project, f"{BASIC}.match:Match", {"max_tokens": 9, "num_few_shot": 2, "few_shot_jsonl": "geo/f.jsonl"}
    )
    data = yaml.safe_load(path.read_text())
    data["geo"] |= {"metrics": ["accuracy", "f1_score"], "disclaimer": "x"}
    data["geo.test.v0"] = {"class": f"{BASIC}.match:Match", "args": {"samples_jsonl": "geo/test.jsonl"}}
    data["note"] = {"text": "nothing"}
    path.write_text(yaml.safe_dump(data, sort_keys=False))
    done, evalset = bring(path)
    assert evalset.spec.generation.max_tokens == 9
    for what in (
        "args.num_few_shot is not used",
        "args.few_shot_jsonl is not used",
        "key 'metrics' is not used",
        "key 'disclaimer' is not used",
        "eval 'geo.test.v0' is another one; import it by its samples",
        "'note' is no eval: it has no class",
    ):
        assert what in lost(done)
    assert len(done.losses) == 6


def test_json_match_is_a_loss(project: Path) -> None:
    rows = [*samples('{"city": "Paris"}'), {"input": "x", "ideal": {"city": "Rome"}}]
    done, evalset = bring(registry(project, f"{BASIC}.json_match:JsonMatch", rows=rows))
    assert evalset.spec.scorers == [{"type": "exact", "match": "begins"}]
    assert [item.expectations for item in evalset.items] == [
        {"answer": '{"city": "Paris"}'},
        {"answer": '{"city": "Rome"}'},
    ]
    assert f"class '{BASIC}.json_match:JsonMatch': its own code grades it" in lost(done)


def test_samples_that_cannot_be_carried_are_counted(project: Path) -> None:
    good = {"role": "user", "content": "Why?"}
    rows: list[dict[str, Any]] = [
        {"input": [good], "ideal": "x", "topic": "a", "sample_id": 7},
        {"input": [good], "ideal": []},
        {"input": [good]},
        {"input": [good, {"role": "assistant", "content": "Well"}], "ideal": "x"},
        {"input": [{"role": "tool", "content": "4"}, good], "ideal": "x"},
        {"input": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "ideal": "x"},
        {"input": [], "ideal": "x"},
        {"input": [{"role": "system", "name": "example_user", "content": "2+2"}, good], "ideal": 4},
        {"input": [{"role": "system", "content": "Answer: 3+3"}], "ideal": ["6", ""]},
        {
            "input": [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            "ideal": "c",
        },
        {"input": [{"role": "developer", "content": "d"}, good], "ideal": "c", "topic": "b"},
    ]
    done, evalset = bring(jsonl(project / "s.jsonl", rows))
    assert len(evalset.items) == 5
    assert evalset.items[1].expectations == {"answer": "4"}
    assert evalset.items[2].inputs == {"messages": [{"role": "user", "content": "Answer: 3+3"}]}
    assert evalset.items[2].expectations == {"answer": "6"}
    assert evalset.items[3].inputs["messages"][0]["content"] == "a\nb"
    assert evalset.items[4].inputs["messages"][0]["role"] == "system"
    assert set(lost(done).splitlines()) == {
        "s.jsonl:1: key 'sample_id' is not used",
        "s.jsonl:1, 11: key 'topic' is not used (2 times)",
        "s.jsonl:2, 3: no ideal answer; the sample is left out (2 times)",
        "s.jsonl:4: chat turns that do not end with the user's; the sample is left out",
        "s.jsonl:5: a chat turn with another role than system, user, assistant; the sample is left out",
        "s.jsonl:6: a chat turn whose content is no text; the sample is left out",
        "s.jsonl:7: no list of chat turns; the sample is left out",
        "s.jsonl:8: key 'name' of a chat turn is left out",
        "s.jsonl:9: the last turn is the system's; it is sent as the user's, which a model answers",
        "s.jsonl:11: role developer is sent as system",
    }


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("geo.v0: {class: x}\n", r"geo.yaml: no eval names a file of samples"),
        ("geo.v0: {class: x, args: [1]}\n", r"geo.yaml:1: field 'geo.v0.args': must be a mapping"),
        ("geo: 5\n", r"geo.yaml:1: 'geo' must be a mapping"),
        ("a: [\n", r"geo.yaml:\d: not valid YAML"),
        ("geo.v0:\n  class: x\n  args: {samples_jsonl: gone.jsonl}\n", r"geo.yaml:1: there is no file 'gone.jsonl'"),
        (
            "geo.v0:\n  class: x\n  args: {samples_jsonl: ../../secret.jsonl}\n",
            r"there is no file '../../secret.jsonl'",
        ),
        ("geo.v0:\n  class: x\n  args: {samples_jsonl: /etc/passwd}\n", r"there is no file '/etc/passwd'"),
        ("!!python/object/apply:os.system [true]\n", r"geo.yaml:1: not valid YAML"),
    ],
)
def test_a_registry_that_cannot_be_followed(project: Path, content: str, problem: str) -> None:
    jsonl(project / "secret.jsonl", samples("x"))
    path = registry(project, "x")
    path.write_text(content)
    with pytest.raises(InputError, match=problem):
        bring(path, format="openai_evals")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", r"s.jsonl: holds no samples"),
        ('{"input": "a", "ideal": "b"}\n{"input"', r"s.jsonl:2: not valid JSON"),
        (
            '\ufeff\n{"input": "a", "ideal": ""}\n',
            r"holds no items that can be carried over. First: s.jsonl:2: no ideal",
        ),
        ("version https://git-lfs.github.com/spec/v1\n", r"s.jsonl: a git-LFS pointer"),
    ],
)
def test_broken_samples(project: Path, content: str, problem: str) -> None:
    (project / "s.jsonl").write_text(content, "utf-8")
    with pytest.raises(InputError, match=problem):
        bring(project / "s.jsonl", format="openai_evals")


def test_a_mapping_is_for_tables(project: Path) -> None:
    with pytest.raises(InputError, match="--map"):
        bring(jsonl(project / "s.jsonl", samples("x")), options=Options(mapping={"inputs.text": "input"}))


def test_what_is_recognized(project: Path) -> None:
    sniff = FORMATS.find("openai_evals").sniff
    assert sniff(jsonl(project / "s.jsonl", samples("x"))) > 0.5
    assert sniff(registry(project, f"{BASIC}.match:Match")) > 0.5
    assert sniff(jsonl(project / "t.jsonl", [{"input": "a", "target": "b"}])) == 0
    (project / "prompts.yaml").write_text("prompts: [a]\ntests: []\n")
    assert sniff(project / "prompts.yaml") == 0 and sniff(project) == 0


# Written and read again.


@pytest.mark.parametrize("cls", ["match:Match", "includes:Includes", "fuzzy_match:FuzzyMatch"])
def test_what_was_read_is_written_and_read_again(project: Path, cls: str) -> None:
    _, first = bring(registry(project, f"{BASIC}.{cls}", {"max_tokens": 7}))
    losses = export_evalset(first, "openai_evals", "out/again.jsonl").losses
    assert {str(loss).split(": ", 1)[1] for loss in losses} <= {
        "the score from which an answer is accepted (1): there is no place for that"
    }
    entry = yaml.safe_load((project / "out/again.yaml").read_text())["mine.test.v0"]
    assert entry["class"] == f"{BASIC}.{cls}" and entry["args"]["samples_jsonl"] == "again.jsonl"
    for source in ("out/again.jsonl", "out/again.yaml"):
        done, again = bring(source)
        assert not done.losses
        assert list(again.items) == list(first.items) and again.spec.variants == first.spec.variants
        assert again.scorers == first.scorers and again.spec.output == first.spec.output
        assert again.spec.generation == first.spec.generation and again.output_schema == first.output_schema


def ours(project: Path, **changes: Any) -> EvalSet:
    items = [
        {
            "id": f"it-{n}",
            "inputs": {"thing": f"thing {n}"},
            "expectations": changes.pop(f"expect{n}", {"label": ["red", "green"][n]}),
            "slice": {"topic": "t"},
            "cluster": "c",
            "sensitivity": ["public", "restricted"][n],
        }
        for n in range(2)
    ]
    train = [{**items[0], "id": "tr"}]
    (project / "evalsets/ours").mkdir(parents=True, exist_ok=True)
    (project / "evalsets/ours/schema.json").write_text('{"type": "object", "properties": {"a": {"type": "string"}}}')
    return load_evalset(write_evalset(project, "ours", items, train=train, **changes))


def test_labels_of_ours_keep_what_a_sample_can_hold(project: Path) -> None:
    shown = {"messages": [{"role": "user", "content": "Of {{ inputs.thing }}?"}], "examples": 1}
    plain = {"messages": [{"role": "user", "content": "Color of {{ inputs.thing }}?"}]}
    evalset = ours(project, variants={"default": plain, "few": shown})
    losses = "\n".join(map(str, export_evalset(evalset, "openai_evals", "o.yaml").losses))
    done, again = bring("o.jsonl")
    assert not done.losses
    for before, after in zip(evalset.items, again.items, strict=True):
        assert (after.id, after.slice, after.cluster, after.sensitivity) == (
            before.id,
            {"topic": "t"},
            "c",
            before.sensitivity,
        )
        assert after.expectations == {**before.expectations, "answer": before.expectations["label"]}
        assert after.inputs == {"prompt": f"Color of {before.inputs['thing']}?"}
    for what in (
        "scorer 'label' becomes Match",
        "output.labels",
        "variant 'few' is not written: there is one prompt, that of 'default'",
        "variant 'default': its template is not written",
        "1 item for few-shot examples",
    ):
        assert what in losses


@pytest.mark.parametrize(
    ("scorers", "expected", "cls", "loss"),
    [
        ([{"type": "rouge"}], {"answer": "x"}, "Match", "scorer 'rouge' becomes Match"),
        (
            [{"type": "contains", "key": "words"}],
            {"words": ["x", "y"]},
            "Includes",
            "scorer 'contains' becomes Includes: one phrase is enough",
        ),
        (
            [{"type": "exact", "ignore": ["case"]}],
            {"answer": "x"},
            "FuzzyMatch",
            "becomes FuzzyMatch: it ignores more",
        ),
        ([{"type": "exact"}], {"answer": "x"}, "Match", "scorer 'exact' becomes Match"),
        ([{"type": "numeric"}], {"answer": 3.5}, "Match", "scorer 'numeric' becomes Match"),
        (
            [{"type": "exact"}, {"type": "rouge", "key": "long"}],
            {"answer": "x", "long": "y"},
            "Match",
            "scorer 'rouge' is not written: an eval has one",
        ),
    ],
)
def test_the_nearest_class_is_taken_and_said(
    project: Path, scorers: list[dict[str, Any]], expected: dict[str, Any], cls: str, loss: str
) -> None:
    evalset = ours(project, scorers=scorers, output={"text": True}, expect0=expected, expect1=expected)
    losses = "\n".join(map(str, export_evalset(evalset, "openai_evals", "o.jsonl").losses))
    assert loss in losses and f":{cls}" in (project / "o.yaml").read_text()
    sample = json.loads((project / "o.jsonl").read_text().splitlines()[0])
    ideal, own = sample["ideal"], sample["workbench"]
    assert own.get("expectations") == ({name: value for name, value in expected.items() if name != "answer"} or None)
    wanted = next(iter(expected.values()))
    assert ideal == (wanted if not isinstance(wanted, float) else "3.5")


def test_json_answers_of_ours_are_written_as_text(project: Path) -> None:
    fields = [{"type": "json_fields", "fields": {"a": "date"}}]
    expected = {"expect0": {"a": ["2026-01-02", "2026-01-03"]}, "expect1": {"a": None}}
    evalset = ours(project, scorers=fields, output={"json_schema": "schema.json"}, **expected)
    losses = "\n".join(map(str, export_evalset(evalset, "openai_evals", "o.jsonl").losses))
    assert "scorer 'json_fields' becomes Match: an answer must begin with what is expected" in losses
    assert "output.json_schema: an ideal is the expected JSON as text" in losses
    _, again = bring("o.jsonl")
    assert [item.expectations["a"] for item in again.items] == [["2026-01-02", "2026-01-03"], None]
    assert [json.loads(item.expectations["answer"]) for item in again.items] == [{"a": "2026-01-02"}, {"a": None}]
    assert [item.id for item in again.items] == ["it-0", "it-1"]


def test_only_jsonl_or_yaml_is_written(project: Path) -> None:
    with pytest.raises(InputError, match=r"o.csv: samples are written as .jsonl"):
        export_evalset(ours(project), "openai_evals", "o.csv")
