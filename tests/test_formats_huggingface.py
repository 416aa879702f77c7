"""Hugging Face datasets: folders of save_to_disk and of repositories; splits; class names; the hub only when asked."""

from __future__ import annotations

import json
import sys
import types
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import write_evalset
from format_files import lost

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, export_evalset, import_evalset

NAMES = ["negative", "positive"]
INFO = {"features": {"text": {"dtype": "string", "_type": "Value"}, "label": {"names": NAMES, "_type": "ClassLabel"}}}


def bring(source: Path | str, **more: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(source, "evalsets/mine", options=Options(**more), replace=True)
    return done, load_evalset("evalsets/mine")


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"text": f"review {n}", "label": n % 2} for n in range(start, start + count)]


def arrow(
    path: Path, data: list[dict[str, Any]], stream: bool = True, metadata: dict[bytes, bytes] | None = None
) -> None:
    table = pa.Table.from_pylist(data).replace_schema_metadata(metadata)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def saved(folder: Path, parts: list[list[dict[str, Any]]], split: str | None = None, **changes: Any) -> Path:
    """A folder as save_to_disk writes it."""
    folder.mkdir(parents=True)
    names = [f"data-{n:05d}-of-{len(parts):05d}.arrow" for n in range(len(parts))]
    for name, part in zip(names, parts, strict=True):
        arrow(folder / name, part, changes.pop("stream", True))
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "0", "_split": split, **changes}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps(INFO))
    return folder


def repository(folder: Path, files: dict[str, list[dict[str, Any]]], front: dict[str, Any] | None = None) -> Path:
    """A folder like a repository of the hub."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            pq.write_table(pa.Table.from_pylist(data), path)
        elif path.suffix == ".csv":
            path.write_text("text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in data))
        else:
            path.write_text("".join(json.dumps(row) + "\n" for row in data))
    if front is not None:
        (folder / "README.md").write_text(f"---\n{yaml.safe_dump(front)}---\n# A data set\n")
    return folder


# save_to_disk.


@pytest.mark.parametrize("stream", [True, False])
def test_a_saved_dataset_with_the_names_of_its_classes(project: Path, stream: bool) -> None:
    done, evalset = bring(saved(project / "ds", [rows(3), rows(2, 3)], "test", stream=stream))
    assert done.format == "huggingface" and not done.losses
    assert [item.inputs["text"] for item in evalset.items] == [f"review {n}" for n in range(5)]
    assert [item.expectations["label"] for item in evalset.items[:2]] == NAMES
    assert evalset.spec.output.labels == NAMES
    assert "the items are those of split 'test'" in "\n".join(done.notes)


def test_a_saved_dict_of_splits(project: Path) -> None:
    for split, count in (("train", 4), ("validation", 3), ("test", 2)):
        saved(project / "ds" / split, [rows(count)], split)
    (project / "ds" / "dataset_dict.json").write_text('{"splits": ["train", "validation", "test"]}')
    done, evalset = bring(project / "ds")
    assert (len(evalset.items), len(evalset.train), done.items) == (2, 4, 2)
    assert evalset.train[1].expectations == {"label": "positive"}
    assert [str(loss) for loss in done.losses] == [
        "ds/validation/data-00000-of-00001.arrow: split 'validation' is not used (3 rows)"
    ]


@pytest.mark.parametrize(
    ("splits", "items", "examples"),
    [(["train"], "train", None), (["train", "validation"], "validation", "train"), (["de", "train"], "de", "train")],
)
def test_which_split_is_asked(project: Path, splits: list[str], items: str, examples: str | None) -> None:
    for place, split in enumerate(splits):
        saved(project / "ds" / split, [rows(place + 2)], split)
    (project / "ds" / "dataset_dict.json").write_text(json.dumps({"splits": splits}))
    _, evalset = bring(project / "ds")
    assert len(evalset.items) == splits.index(items) + 2
    assert len(evalset.train) == (splits.index(examples) + 2 if examples else 0)


@pytest.mark.parametrize("names", [NAMES, dict(enumerate(NAMES)), {"0": "negative", "1": "positive"}])
def test_digits_in_cells_are_the_names_of_classes(project: Path, names: Any) -> None:
    about = [{"name": "text", "dtype": "string"}, {"name": "label", "dtype": {"class_label": {"names": names}}}]
    data = [*rows(4), {"text": "not labeled", "label": -1}, {"text": "named", "label": "positive"}]
    done, evalset = bring(repository(project / "ds", {"test.csv": data}, {"dataset_info": {"features": about}}))
    assert [each.expectations["label"] for each in evalset.items] == [*NAMES, *NAMES, "positive"]
    assert evalset.spec.output.labels == NAMES
    assert lost(done) == "ds/test.csv:6: no expected answer; the item is left out"
    assert not any("digits are positions" in note for note in done.notes)


def test_lists_of_classes_in_cells_and_names_that_are_digits_themselves(project: Path) -> None:
    about = [
        {"name": "labels", "list": {"class_label": {"names": ["a", "b", "c"]}}},
        {"name": "stars", "dtype": {"class_label": {"names": ["1", "2"]}}},
    ]
    (project / "ds").mkdir()
    (project / "ds" / "test.csv").write_text('text,labels,stars\nx,"[0, 2]",0\ny,[1],1\n')
    repository(project / "ds", {}, {"dataset_info": {"features": about}})
    mapping = {"inputs.text": "text", "expectations.labels": "labels", "inputs.stars": "stars"}
    done, evalset = bring(project / "ds", mapping=mapping)
    assert [each.expectations["labels"] for each in evalset.items] == [["a", "c"], ["b"]]
    assert [each.inputs["stars"] for each in evalset.items] == ["1", "2"]
    assert "column 'stars': digits are positions of its labels (from 0), not their names" in done.notes


def test_a_label_that_is_hidden_is_no_answer(project: Path) -> None:
    done, evalset = bring(saved(project / "ds", [[*rows(3), {"text": "t", "label": -1}, {"text": "u", "label": 7}]]))
    assert len(evalset.items) == 3
    assert "row 4, " in lost(done) and "no expected answer; the item is left out (2 times)" in lost(done)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (
            {"_data_files": [{"filename": "../secret.arrow"}]},
            r"state.json: there is no file '../secret.arrow' in this folder",
        ),
        ({"_data_files": [{"filename": "gone.arrow"}]}, r"state.json: there is no file 'gone.arrow'"),
        ({"_data_files": []}, r"ds: holds no data"),
        ({"_indices_data_files": [{"filename": "i.arrow"}]}, r"state.json: a selection of rows .* flatten_indices"),
    ],
)
def test_a_saved_dataset_that_cannot_be_read(project: Path, change: dict[str, Any], problem: str) -> None:
    arrow(project / "secret.arrow", rows(2))
    with pytest.raises(InputError, match=problem):
        bring(saved(project / "ds", [rows(2)], **change))


def test_a_link_out_of_the_folder_is_not_followed(project: Path) -> None:
    arrow(project / "secret.arrow", rows(2))
    folder = saved(project / "ds", [rows(2)])
    (folder / "data-00000-of-00001.arrow").unlink()
    (folder / "data-00000-of-00001.arrow").symlink_to(project / "secret.arrow")
    with pytest.raises(InputError, match="there is no file"):
        bring(folder)
    (project / "repo").mkdir()
    (project / "repo" / "test.arrow").symlink_to(project / "secret.arrow")
    with pytest.raises(InputError):
        bring(project / "repo")


def test_a_folder_of_the_hubs_cache_has_its_files_beside_it(project: Path) -> None:
    blobs, snapshot = project / "cache" / "blobs", project / "cache" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([{"text": "t", "label": "yes"}]), blobs / "0123")
    (snapshot / "test.parquet").symlink_to(blobs / "0123")
    assert len(bring(snapshot)[1].items) == 1


def test_a_broken_index_and_broken_data(project: Path) -> None:
    folder = saved(project / "ds", [rows(2)])
    (folder / "data-00000-of-00001.arrow").write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="arrow: not a readable Arrow file"):
        bring(folder)
    (folder / "data-00000-of-00001.arrow").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(InputError, match="a git-LFS pointer"):
        bring(folder)
    (folder / "state.json").write_text("{")
    with pytest.raises(InputError, match=r"state.json:1: not valid JSON"):
        bring(folder)
    (project / "ds" / "dataset_dict.json").write_text('{"splits": ["test"]}')
    with pytest.raises(InputError, match=r"split 'test' has no folder with state\.json"):
        bring(folder)


def test_a_single_arrow_file(project: Path) -> None:
    meta = {b"huggingface": json.dumps({"info": INFO}).encode()}
    arrow(project / "cache-test.arrow", rows(4), metadata=meta)
    done, evalset = bring(project / "cache-test.arrow")
    assert done.format == "huggingface" and evalset.items[1].expectations == {"label": "positive"}


# Repositories.


def test_a_repository_with_configs_splits_and_a_license(project: Path) -> None:
    front = {
        "license": "cc-by-4.0",
        "configs": [
            {"config_name": "other", "data_files": "other.jsonl"},
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "data/train-*.parquet"},
                    {"split": "test", "path": ["data/test-a.parquet", "data/test-b.parquet"]},
                ],
            },
        ],
        "dataset_info": [
            {
                "config_name": "other",
                "features": [{"name": "label", "dtype": {"class_label": {"names": {"0": "x", "1": "y"}}}}],
            },
            {
                "config_name": "default",
                "features": [
                    {"name": "text", "dtype": "string"},
                    {"name": "label", "dtype": {"class_label": {"names": {"0": "negative", "1": "positive"}}}},
                ],
            },
        ],
    }
    files = {
        "data/train-00000.parquet": rows(4),
        "data/train-00001.parquet": rows(2, 4),
        "data/test-a.parquet": rows(2),
        "data/test-b.parquet": rows(3, 2),
        "other.jsonl": rows(1),
    }
    folder = repository(project / "repo", files, front)
    (folder / "repo.py").write_text("raise SystemExit('this must never run')")
    (folder / "pictures.zip").write_bytes(b"PK")
    (folder / ".gitattributes").write_text("*")
    done, evalset = bring(folder)
    assert (len(evalset.items), len(evalset.train)) == (5, 6) and evalset.spec.license == "cc-by-4.0"
    assert evalset.items[1].expectations == {"label": "positive"} and evalset.spec.output.labels == NAMES
    assert "of 2 configurations 'default' is read" in "\n".join(done.notes)
    assert [str(loss) for loss in done.losses] == [
        "repo/README.md: configuration 'other' is not read",
        "repo/other.jsonl: not read: not among the data that were chosen",
        "repo/repo.py: a loading script; it is never run",
        "repo: 1 further files are not read (pictures.zip)",
    ]


@pytest.mark.parametrize(
    "data_files",
    ["data.jsonl", ["data.jsonl"], {"test": "data.jsonl"}, [{"split": "test", "path": "*.jsonl"}]],
)
def test_data_files_in_every_spelling(project: Path, data_files: Any) -> None:
    front = {"configs": [{"config_name": "default", "data_files": data_files}]}
    _, evalset = bring(repository(project / "repo", {"data.jsonl": rows(3)}, front))
    assert len(evalset.items) == 3


@pytest.mark.parametrize(
    ("names", "items", "examples"),
    [
        (["train.csv", "test.csv"], 1, 1),
        (["data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"], 1, 1),
        (["train/part-0.jsonl", "train/part-1.jsonl", "test/part-0.jsonl"], 1, 2),
        (["my_eval.jsonl", "training.jsonl"], 1, 1),
        (["contest.jsonl"], 1, 0),  # no split in its name
        (["a.jsonl", "b.jsonl"], 2, 0),
        (["data.jsonl", "fewshot_pool.jsonl"], 1, 1),
    ],
)
def test_splits_by_the_names_of_files(project: Path, names: list[str], items: int, examples: int) -> None:
    files = {name: [{"text": f"t {name}", "label": "yes"}] for name in names}
    _, evalset = bring(repository(project / "repo", files))
    assert (len(evalset.items), len(evalset.train)) == (items, examples)


def test_names_of_classes_inside_the_files(project: Path) -> None:
    info = {
        "features": {
            "label": {"names": NAMES, "_type": "ClassLabel"},
            "labels": {"feature": {"names": ["a", "b", "c"], "_type": "ClassLabel"}, "_type": "List"},
            "meta": {"kind": {"names": ["x", "y"], "_type": "ClassLabel"}},
        }
    }
    data = [{"text": f"t {n}", "label": n % 2, "labels": [n % 3], "meta": {"kind": 1}} for n in range(9)]
    table = pa.Table.from_pylist(data).replace_schema_metadata({b"huggingface": json.dumps({"info": info}).encode()})
    (project / "repo").mkdir()
    pq.write_table(table, project / "repo" / "test.parquet")
    done, evalset = bring(project / "repo")
    assert evalset.items[1].expectations == {"label": "positive"} and evalset.items[0].slice == {"kind": "1"}
    assert "column 'meta': the names of labels further inside are not read" in "\n".join(map(str, done.losses))
    _, evalset = bring(project / "repo", mapping={"inputs.text": "text", "expectations.labels": "labels"})
    assert evalset.items[1].expectations == {"labels": ["b"]} and evalset.spec.scorers[0]["type"] == "multi_label"


def test_declared_names_are_labels_even_where_few_occur(project: Path) -> None:
    front = {
        "dataset_info": {
            "features": [{"name": "label", "dtype": {"class_label": {"names": {"0": "a", "1": "b", "2": "c"}}}}]
        }
    }
    _, evalset = bring(repository(project / "repo", {"test.jsonl": [{"text": "t", "label": 2}]}, front))
    assert evalset.spec.output.labels == ["a", "b", "c"] and evalset.items[0].expectations == {"label": "c"}


def test_of_several_kinds_of_file_the_most_frequent_is_the_data(project: Path) -> None:
    folder = repository(project / "repo", {"test.jsonl": rows(2), "train.jsonl": rows(3), "old.csv": rows(1)})
    (folder / "labels.json").write_text('["negative", "positive"]')
    done, evalset = bring(folder)
    assert (len(evalset.items), len(evalset.train)) == (2, 3)
    assert "repo/old.csv: not read" in lost(done) and "repo/labels.json: not read" in lost(done)


@pytest.mark.parametrize(
    ("front", "problem"),
    [
        ("a: [", r"README.md: what stands between '---' is not valid YAML"),
        (
            "configs: [{config_name: default, data_files: [{split: test, path: ../out.jsonl}]}]",
            r"README.md: no data file inside the folder matches '../out.jsonl'",
        ),
        (
            "configs: [{config_name: default, data_files: none-*.jsonl}]",
            r"no data file inside the folder matches 'none-\*.jsonl'",
        ),
    ],
)
def test_a_card_that_cannot_be_followed(project: Path, front: str, problem: str) -> None:
    (project / "out.jsonl").write_text('{"text": "secret", "label": "yes"}\n')
    folder = repository(project / "repo", {"data.jsonl": rows(2)})
    (folder / "README.md").write_text(f"---\n{front}\n---\n")
    FORMATS.find("huggingface").sniff(folder)
    with pytest.raises(InputError, match=problem):
        import_evalset(folder, "evalsets/mine", format="huggingface")


def test_a_folder_without_data_and_a_script_alone(project: Path) -> None:
    (project / "repo").mkdir()
    (project / "repo" / "repo.py").write_text("raise SystemExit(1)")
    with pytest.raises(InputError, match=r"repo: holds no data .*repo.py: a loading script; it is never run"):
        import_evalset("repo", "evalsets/mine", format="huggingface")


def test_an_eval_set_of_ours_is_no_dataset(project: Path) -> None:
    folder = write_evalset(project, "ours", [{"id": "a", "inputs": {"thing": "x"}, "expectations": {"label": "red"}}])
    assert FORMATS.find("huggingface").sniff(folder) == 0


# The hub.


def test_a_name_that_is_no_path_needs_online(project: Path) -> None:
    with pytest.raises(InputError, match=r"owner/name: there is no such file or folder. .*--online"):
        bring("owner/name")
    with pytest.raises(InputError, match=r"nothing.csv: there is no such file"):
        bring("nothing.csv", online=True)


def test_online_without_the_library_says_how_to_get_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r"owner/name: .*huggingface_hub: pip install huggingface_hub"):
        bring("owner/name", online=True)


def test_online_fetches_data_and_card_but_no_script(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def snapshot_download(local_dir: str, **settings: Any) -> None:
        asked.update(settings)
        repository(Path(local_dir), {"test.jsonl": rows(3)}, {"license": "mit"})

    hub = types.ModuleType("huggingface_hub")
    hub.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    done, evalset = bring("owner/name", online=True)
    assert len(evalset.items) == 3 and evalset.spec.license == "mit" and done.format == "huggingface"
    assert asked["repo_id"] == "owner/name" and asked["repo_type"] == "dataset"
    assert "*.py" not in asked["allow_patterns"] and "*.parquet" in asked["allow_patterns"]

    def refused(**_: Any) -> None:
        raise OSError("401 Client Error: no such repository")

    hub.snapshot_download = refused  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="owner/name: cannot be read from the hub: 401"):
        bring("owner/name", online=True)


# Written and read again.


def test_what_was_read_is_written_and_read_again(project: Path) -> None:
    files = {"train.jsonl": rows(4), "test.jsonl": rows(6)}
    _, first = bring(repository(project / "repo", files, {"license": "mit", "configs": []}))
    losses = "\n".join(map(str, export_evalset(first, "huggingface", "out/ds").losses))
    assert "the prompts (default)" in losses and "license" not in losses
    assert sorted(path.name for path in (project / "out/ds").iterdir()) == ["README.md", "test.jsonl", "train.jsonl"]
    done, again = bring("out/ds")
    assert done.format == "huggingface" and not done.losses and again.spec.license == "mit"
    assert list(again.items) == list(first.items) and list(again.train) == list(first.train)
    assert again.scorers == first.scorers and again.spec.output == first.spec.output
    assert again.spec.variants == first.spec.variants
    with pytest.raises(InputError, match="out/ds: is there already"):
        export_evalset(first, "huggingface", "out/ds")


def test_an_eval_set_of_ours_keeps_its_items(project: Path) -> None:
    items: list[dict[str, Any]] = [
        {
            "id": f"it-{n}",
            "inputs": {"thing": "t", "n": n, "more": {"a": [None, 1]}},
            "expectations": {"label": ["red", "green", "blue"][n % 3]},
            "slice": {"topic": "t"},
            "cluster": "c",
            "sensitivity": "public" if n else "restricted",
        }
        for n in range(9)
    ]
    evalset = load_evalset(write_evalset(project, "ours", items))
    export_evalset(evalset, "huggingface", "out")
    assert list(bring("out")[1].items) == list(evalset.items)
