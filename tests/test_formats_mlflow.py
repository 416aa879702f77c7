"""MLflow's evaluation records: read, written, and taken by MLflow itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import write_evalset
from format_files import jsonl, lost

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, export_evalset, import_evalset
from workbench.prompts import render

RECORDS: list[dict[str, Any]] = [
    {
        "dataset_record_id": f"dr-{n}",
        "inputs": {"question": f"What is {n}?", "context": {"user": n}},
        "expectations": {
            "expected_response": ["one", "two", "three"][n % 3],
            "expected_facts": ["It is a number."],
            "guidelines": ["Be brief."],
        },
        "tags": {"topic": "numbers", "turn": n, "mlflow.user": "dana"},
        "outputs": {"response": "an old answer"},
        "source": {"source_type": "HUMAN", "source_data": {"user": "dana"}},
        "created_time": 1,
    }
    for n in range(9)
]


def bring(source: Path | str, format: str | None = None, **more: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(source, "evalsets/mine", options=Options(**more), replace=True, format=format)
    return done, load_evalset("evalsets/mine")


def written(project: Path, kind: str) -> Path:
    path = project / f"records.{kind}"
    if kind == "json":
        path.write_text(json.dumps(RECORDS))
    elif kind == "parquet":
        pq.write_table(pa.Table.from_pylist(RECORDS), path)
    elif kind == "csv":
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(RECORDS[0]))
            writer.writeheader()
            writer.writerows(
                {name: value if isinstance(value, str) else json.dumps(value) for name, value in row.items()}
                for row in RECORDS
            )
    else:
        jsonl(path, RECORDS)
    return path


@pytest.mark.parametrize("kind", ["jsonl", "json", "parquet", "csv"])
def test_records_are_read_whatever_holds_them(project: Path, kind: str) -> None:
    done, evalset = bring(written(project, kind))
    item = evalset.items[4]
    assert done.format == "mlflow_records" and len(evalset.items) == 9
    assert item.id == "dr-4" and item.inputs == RECORDS[4]["inputs"]
    assert item.expectations == RECORDS[4]["expectations"]
    assert item.slice == {"topic": "numbers", "turn": "4"} and item.cluster is None
    assert evalset.spec.scorers == [{"type": "label", "key": "expected_response"}]
    assert evalset.spec.output.labels == ["one", "three", "two"]
    text = render(evalset, "default", item).text
    assert 'question: What is 4?\ncontext: {"user": 4}\n\nAnswer with one of these only: one, three, two' in text


@pytest.mark.parametrize("kind", ["jsonl", "csv"])
def test_what_nothing_reads_is_said_with_its_number(project: Path, kind: str) -> None:
    done, _ = bring(written(project, kind))
    place = rf"records.{kind}:{'2' if kind == 'csv' else '1'}"
    for column, why in (
        ("outputs", "the answer of an earlier run; models answer anew"),
        ("source", "where MLflow has the record from"),
        ("created_time", "MLflow's own record-keeping"),
        ("tags", "MLflow's own tags (mlflow.…), and those that are no single value"),
    ):
        assert f"{place}: column '{column}' (9 rows have a value) is not used: {why}" in lost(done)
    for name in ("expected_facts", "guidelines"):
        assert f"expectations.{name}: kept, but no scorer reads it (9 times)" in lost(done)
    assert len(done.losses) == 6 and "an old answer" not in lost(done)


@pytest.mark.parametrize(
    ("answers", "scorer"),
    [
        (["yes", "no"], "label"),
        (["The answer is long and has many words, as answers of assistants mostly are."] * 2, "rouge"),
        (["Paris", "Rome"], "exact"),
        ([3.5, 4], "numeric"),
    ],
)
def test_the_expected_response_is_the_answer_key(project: Path, answers: list[Any], scorer: str) -> None:
    rows = [{"inputs": {"q": n}, "expectations": {"expected_response": a, "unit": "kg"}} for n, a in enumerate(answers)]
    done, evalset = bring(jsonl(project / "r.jsonl", rows))
    assert evalset.spec.scorers[0]["type"] == scorer and evalset.spec.scorers[0]["key"] == "expected_response"
    assert "expectations.unit: kept, but no scorer reads it" in lost(done)


def test_expectations_of_ones_own_are_fields_of_a_json_answer(project: Path) -> None:
    rows = [{"inputs": {"q": n}, "expectations": {"city": f"City {n}", "size": n}} for n in range(3)]
    _, evalset = bring(jsonl(project / "r.jsonl", rows))
    assert evalset.spec.scorers == [{"type": "json_fields", "fields": {"city": "text", "size": "number"}}]


def test_records_with_facts_alone_cannot_be_scored(project: Path) -> None:
    rows = [{"inputs": {"q": n}, "expectations": {"expected_facts": ["a", "b"]}} for n in range(3)]
    with pytest.raises(InputError, match="nothing that a scorer reads is expected: expected_facts"):
        bring(jsonl(project / "r.jsonl", rows))
    rows.append({"inputs": {"q": 3}, "expectations": {"expected_response": "yes"}})
    done, evalset = bring(jsonl(project / "r.jsonl", rows))
    assert len(evalset.items) == 1
    assert "r.jsonl:1, 2, 3: no expected answer; the item is left out (3 times)" in lost(done)


def test_chat_inputs_are_turns(project: Path) -> None:
    turns = [{"role": "user", "content": "hi"}]
    rows = [{"inputs": {"messages": turns}, "expectations": {"expected_response": "hello"}}]
    _, evalset = bring(jsonl(project / "r.jsonl", rows))
    assert render(evalset, "default", evalset.items[0]).messages == turns


def test_tags_that_are_no_single_value_stay_behind(project: Path) -> None:
    rows = [{"inputs": {"q": 1}, "expectations": {"answer": "x"}, "tags": {"a": ["b"], "c": True}}]
    done, evalset = bring(jsonl(project / "r.jsonl", rows))
    assert evalset.items[0].slice == {"c": "true"} and "column 'tags' (1 row has a value)" in lost(done)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"inputs": "text", "expectations": {"answer": "x"}}, r"r.jsonl:2: field 'inputs': must be an object"),
        ({"inputs": {}, "expectations": {"answer": "x"}}, r"r.jsonl:2: field 'inputs' is missing or empty"),
        ({"inputs": {"q": 1}, "expectations": ["x"]}, r"r.jsonl:2: field 'expectations': must be an object"),
        (
            {"inputs": {"q": 1}, "expectations": {"answer": "x"}, "tags": "a"},
            r"r.jsonl:2: field 'tags': must be an object",
        ),
    ],
)
def test_a_broken_record_is_refused(project: Path, row: dict[str, Any], problem: str) -> None:
    source = jsonl(project / "r.jsonl", [{"inputs": {"q": 1}, "expectations": {"answer": "x"}}, row])
    with pytest.raises(InputError, match=problem):
        bring(source, format="mlflow_records")


@pytest.mark.parametrize(
    ("row", "sure"),
    [
        (RECORDS[0], True),
        ({"inputs": {"q": 1}, "expectations": {}}, True),
        ({"inputs": "q", "expectations": {}}, False),
        ({"id": "a", "inputs": {"q": 1}, "expectations": {}}, False),  # an item of ours
        ({"input": "a", "target": "b"}, False),
    ],
)
def test_what_is_recognized(project: Path, row: dict[str, Any], sure: bool) -> None:
    assert (FORMATS.find("mlflow_records").sniff(jsonl(project / "r.jsonl", [row])) > 0.5) is sure


def ours(project: Path) -> EvalSet:
    items: list[dict[str, Any]] = [
        {
            "id": f"it-{n}",
            "inputs": {"thing": f"thing {n // 2}", "n": [n // 2, None]},
            "expectations": {"label": ["red", "green", "blue"][n % 3]},
            "slice": {"topic": "t"},
            "cluster": f"c{n}",
            "sensitivity": ["public", "internal", "restricted"][n % 3],
        }
        for n in range(9)
    ]
    return load_evalset(write_evalset(project, "ours", items, train=[{**items[0], "id": "tr"}]))


@pytest.mark.parametrize("name", ["out.jsonl", "out.json"])
def test_an_eval_set_of_ours_survives_in_tags(project: Path, name: str) -> None:
    evalset = ours(project)
    losses = "\n".join(map(str, export_evalset(evalset, "mlflow_records", name).losses))
    text = (project / name).read_text()
    first = json.loads(text)[0] if name.endswith("json") else json.loads(text.splitlines()[0])
    assert set(first) == {"inputs", "expectations", "tags"}
    assert first["tags"]["workbench.sensitivity"] == "public" and first["tags"]["topic"] == "t"
    done, again = bring(project / name)
    assert done.format == "mlflow_records" and not done.losses
    assert list(again.items) == list(evalset.items) and list(again.train) == list(evalset.train)
    for what in ("the prompts (default)", "the scorers (label)", "generation"):
        assert what in losses
    assert "5 items repeat another's inputs" in losses


def test_a_slice_called_like_a_tag_of_its_own_meaning_is_a_loss(project: Path) -> None:
    items = [
        {
            "id": "a",
            "inputs": {"thing": "x"},
            "expectations": {"label": "red"},
            "slice": {"mlflow.user": "x", "t": "u"},
        },
        {"id": "b", "inputs": {"thing": "y"}, "expectations": {"label": "red"}, "slice": {"workbench.id": "x"}},
    ]
    losses = "\n".join(
        map(
            str, export_evalset(load_evalset(write_evalset(project, "ours", items)), "mlflow_records", "o.jsonl").losses
        )
    )
    assert "slice 'mlflow.user'" in losses and "slice 'workbench.id'" in losses and "slice 't'" not in losses


def test_a_record_that_ends_before_its_tags_is_restricted(project: Path) -> None:
    tags = '"{""workbench.sensitivity"": ""public""}"'
    record = '"{""q"": ""a""}","{""label"": ""yes""}"'
    (project / "r.csv").write_text(f"inputs,expectations,tags\n{record},{tags}\n{record}\n{record},\n")
    done = import_evalset("r.csv", "evalsets/mine", options=Options(sensitivity="public"))
    assert done.format == "mlflow_records"
    items = load_evalset("evalsets/mine").items
    assert [each.sensitivity for each in items] == ["public", "restricted", "public"]
    assert "r.csv:3: the row ends before its sensitivity: taken as restricted" in lost(done)


def test_what_was_read_is_written_and_read_again(project: Path) -> None:
    _, first = bring(written(project, "jsonl"))
    export_evalset(first, "mlflow_records", "out.jsonl")
    _, again = bring("out.jsonl")
    assert list(again.items) == list(first.items) and again.spec.variants == first.spec.variants
    assert again.scorers == first.scorers and again.spec.output == first.spec.output


def test_only_jsonl_and_json_are_written(project: Path) -> None:
    with pytest.raises(InputError, match=r"o.csv: records are written as .jsonl or .json"):
        export_evalset(ours(project), "mlflow_records", "o.csv")


@pytest.mark.slow
def test_mlflow_takes_the_records_and_gives_them_back(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a real store: what merge_records makes of an export is read again."""
    import mlflow
    from mlflow.genai.datasets import create_dataset

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{project}/mlflow.db")
    items = [
        {"id": f"i{n}", "inputs": {"thing": f"t {n}"}, "expectations": {"label": "red"}, "cluster": "c"}
        for n in range(3)
    ]
    evalset = load_evalset(write_evalset(project, "ours", items))
    export_evalset(evalset, "mlflow_records", "o.jsonl")
    dataset = create_dataset(name="ours", experiment_id=["0"])
    dataset.merge_records([json.loads(line) for line in (project / "o.jsonl").read_text().splitlines()])
    dataset.to_df().to_json(project / "back.jsonl", orient="records", lines=True)
    done, again = bring("back.jsonl")
    assert done.format == "mlflow_records"
    assert sorted(again.items, key=lambda item: item.id) == list(evalset.items)
