"""lm-evaluation-harness: a task's templates over its data, what its metrics and filters become, and what is lost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import COLORS, item, write_evalset
from format_files import lost, score, told

from workbench.errors import InputError
from workbench.evalset import EvalSet, load_evalset
from workbench.formats import FORMATS, Import, Options, detect, export_evalset, import_evalset
from workbench.prompts import render
from workbench.scorers import total

ROWS = [{"question": "1+1?", "answer": "2"}, {"question": "2+2?", "answer": "4"}]


def write(project: Path, name: str, content: Any) -> Path:
    path = project / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def task(project: Path, rows: list[Any] | None = None, name: str = "task.yaml", **changes: Any) -> Path:
    write(project, "test.jsonl", ROWS if rows is None else rows)
    settings: dict[str, Any] = {
        "task": "sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "test.jsonl"}},
        "test_split": "test",
        "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_target": "{{answer}}",
        "generation_kwargs": {"until": ["\n"]},
        "metric_list": [{"metric": "exact_match"}],
        **changes,
    }
    return write(project, name, yaml.safe_dump({k: v for k, v in settings.items() if v is not None}, sort_keys=False))


def imported(path: Path, name: str = "mine", **options: Any) -> tuple[Import, EvalSet]:
    done = import_evalset(path, Path("evalsets") / name, options=Options(**options), replace=True)
    assert done.format == "lm_eval"
    return done, load_evalset(Path("evalsets") / name)


def asked(evalset: EvalSet, index: int = 0) -> list[str]:
    return [turn["content"] for turn in render(evalset, "default", evalset.items[index]).messages]


def round_trip(evalset: EvalSet) -> Import:
    left = export_evalset(evalset, "lm_eval", "out/task.yaml").losses
    done, again = imported(Path("out/task.yaml"), "again")
    assert [i.model_dump() for i in again.items] == [i.model_dump() for i in evalset.items]
    assert [i.model_dump() for i in again.train] == [i.model_dump() for i in evalset.train]
    for part in ("variants", "scorers", "output", "accept", "generation"):
        assert getattr(again.spec, part) == getattr(evalset.spec, part), part
    assert left == []
    return done


def test_a_task_with_generated_answers(project: Path) -> None:
    path = task(project, description="Sums about {{ question[:1] }}.\n")
    assert detect(path).name == "lm_eval"
    done, evalset = imported(path)
    assert [i.inputs for i in evalset.items] == ROWS
    assert [i.expectations for i in evalset.items] == [{"answer": "2"}, {"answer": "4"}]
    assert asked(evalset) == ["Sums about 1.\n", "Q: 1+1?\nA:"]
    assert render(evalset, "default", evalset.items[0]).messages[0]["role"] == "system"
    assert score(evalset, "2") == 1 and score(evalset, "4") == 0
    assert evalset.spec.generation.stop == ["\n"] and evalset.spec.accept.min_score == 1
    assert done.losses == []
    assert "task 'sums'" in told(done) and "all columns are inputs" in told(done)
    assert "the description is the system message" in told(done)
    round_trip(evalset)


@pytest.mark.parametrize(
    ("text", "target", "prompt", "answer"),
    [
        ("question", "answer", "1+1?", "2"),
        ("{{question|upper}}", 7, "1+1?", "7"),
        ("{% if question %}{{question}}{% endif %}!", "{{answer}}.", "1+1?!", "2."),
        ("{{question}}", "{{ [answer, answer * 2] }}", "1+1?", ["2", "22"]),
        ("[{{answer}}]", '["a", {{answer}}]', "[2]", ["a", "2"]),
        ("{% set x = 3 %}{{x}}{{question}}", ["a", "b"], "31+1?", ["a", "b"]),
    ],
)
def test_text_and_target_are_columns_templates_or_values(
    project: Path, text: str, target: Any, prompt: str, answer: Any
) -> None:
    _, evalset = imported(task(project, doc_to_text=text, doc_to_target=target))
    assert asked(evalset) == [prompt] and evalset.items[0].expectations == {"answer": answer}
    round_trip(evalset)


def test_odd_column_names(project: Path) -> None:
    rows = [{"items": "i", "my column": "m", "answer": "a", "self": "s", "inputs": "n"}]
    _, evalset = imported(task(project, rows, doc_to_text="{{items}}{{self}}{{inputs}}"))
    assert asked(evalset) == ["isn"]
    round_trip(evalset)
    _, evalset = imported(task(project, rows, doc_to_text="my column"))
    assert asked(evalset) == ["m"]


# Choices


def choices(project: Path, rows: list[Any], **changes: Any) -> Path:
    return task(project, rows, output_type="multiple_choice", metric_list=[{"metric": "acc"}], **changes)


def test_multiple_choice_becomes_letters(project: Path) -> None:
    rows = [
        {"q": "Q1", "a": "x", "b": "y", "gold": 1},
        {"q": "Q2", "a": "v", "b": "w", "gold": 0},
    ]
    path = choices(project, rows, doc_to_text="{{q}}", doc_to_choice="{{[a, b]}}", doc_to_target="gold")
    done, evalset = imported(path)
    assert evalset.spec.output.labels == ["A", "B"]
    assert asked(evalset) == ["Q1\n\nA) x\nB) y\n\nAnswer with the letter only."]
    assert [i.expectations for i in evalset.items] == [{"label": "B"}, {"label": "A"}]
    assert evalset.items[0].inputs == {**rows[0], "choices": ["x", "y"]}
    assert score(evalset, "B") == 1 and score(evalset, "A) x") == 0
    assert "compares the choices' likelihoods; here the model is asked" in told(done)
    assert "listed with letters" in told(done) and done.losses == []
    round_trip(evalset)


@pytest.mark.parametrize(
    ("target", "expected"),
    [(1, "B"), ("1", "B"), ("y", "B"), ([0, 1], ["A", "B"]), (" y", "B"), (1.0, "B")],
)
def test_targets_of_choices(project: Path, target: Any, expected: Any) -> None:
    rows = [{"q": "Q", "options": ["x", "y"], "gold": target}, {"q": "Q", "options": ["v", "y", "z"], "gold": 2}]
    path = choices(project, rows, doc_to_text="q", doc_to_choice="options", doc_to_target="gold")
    _, evalset = imported(path)
    assert evalset.items[0].expectations["label"] == expected
    assert evalset.items[0].inputs == rows[0]  # the column with the choices is the one that is listed
    assert evalset.spec.output.labels == ["A", "B", "C"]
    round_trip(evalset)


@pytest.mark.parametrize(
    "given", [["negative", " positive"], {"0": "negative", "1": "positive"}, "{{['negative', 'positive']}}"]
)
def test_choices_that_the_task_itself_says_get_letters_too(project: Path, given: Any) -> None:
    rows = [{"text": "bad", "gold": 0}, {"text": "good", "gold": "positive"}]
    path = choices(project, rows, doc_to_text="{{text}}", doc_to_choice=given, doc_to_target="{{gold}}")
    _, evalset = imported(path)
    assert evalset.spec.output.labels == ["A", "B"]
    assert [i.expectations["label"] for i in evalset.items] == ["A", "B"]
    assert asked(evalset)[0].split() == "bad A) negative B) positive Answer with the letter only.".split()
    round_trip(evalset)


@pytest.mark.parametrize(
    ("target", "kind", "expected"),
    [("{{gold}}", "jsonl", "C"), ("gold", "jsonl", "B"), ("gold", "csv", "C")],
)
def test_digits_mean_what_they_mean_to_the_harness(project: Path, target: str, kind: str, expected: str) -> None:
    rows = [
        {"q": "Q", "a": "1", "b": "2", "c": "3", "gold": "2"},
        {"q": "R", "a": "1", "b": "2", "c": "4", "gold": "1"},
    ]
    path = choices(project, rows, doc_to_text="{{q}}", doc_to_choice="{{[a, b, c]}}", doc_to_target=target)
    if kind == "csv":
        lines = ["q,a,b,c,gold", *(",".join(row.values()) for row in rows)]
        write(project, "t.csv", "\n".join(lines) + "\n")
        path.write_text(
            path.read_text().replace("test.jsonl", "t.csv").replace("dataset_path: json", "dataset_path: csv")
        )
    _, evalset = imported(path)
    assert evalset.items[0].expectations == {"label": expected}
    round_trip(evalset)


@pytest.mark.parametrize("target", [["y"], {"a": 1}])
def test_a_target_that_the_task_itself_says(project: Path, target: Any) -> None:
    rows = [{"q": "Q", "options": ["x", "y"]}]
    path = choices(project, rows, doc_to_text="{{q}}", doc_to_choice="options", doc_to_target=target)
    if isinstance(target, dict):
        with pytest.raises(InputError, match="names none of its choices"):
            imported(path)
    else:
        assert imported(path)[1].items[0].expectations == {"label": "B"}


def test_rows_whose_choices_do_not_fit(project: Path) -> None:
    rows = [
        {"q": "Q", "options": ["x", "y"], "gold": 1},
        {"q": "Q", "options": ["x", "y"], "gold": 2},
        {"q": "Q", "options": ["x"], "gold": 0},
        {"q": "Q", "options": "x", "gold": 0},
        {"q": "Q", "options": [["x"], "y"], "gold": 0},
        {"q": "Q", "gold": 0},
        {"options": ["x", "y"], "gold": 0},
    ]
    path = choices(project, rows, doc_to_text="{{q}}", doc_to_choice="options", doc_to_target="gold")
    done, evalset = imported(path)
    assert len(evalset.items) == 1
    assert lost(done).splitlines() == [
        "test.jsonl:2: a row is left out: doc_to_target names none of its choices",
        "test.jsonl:3, 4, 5: a row is left out: its choices are no list of 2 to 26 texts (3 times)",
        "test.jsonl:6: a row is left out: it has no column 'options'",
        "test.jsonl:7: a row is left out: doc_to_text cannot be filled in ('dict object' has no attribute 'q')",
    ]


def test_a_column_called_choices_that_is_something_else(project: Path) -> None:
    rows = [
        {"q": "Q", "choices": "n/a", "a": "x", "b": "y", "gold": 0},
        {"q": "R", "choices": "", "a": "v", "b": "w", "gold": 1},
    ]
    path = choices(project, rows, doc_to_text="{{q}}", doc_to_choice="{{[a, b]}}", doc_to_target="gold")
    _, evalset = imported(path)
    assert evalset.items[0].inputs["choices"] == "n/a" and evalset.items[0].inputs["answer_choices"] == ["x", "y"]
    round_trip(evalset)


@pytest.mark.parametrize("kind", ["loglikelihood", "loglikelihood_rolling"])
def test_likelihoods_ask_no_question(project: Path, kind: str) -> None:
    with pytest.raises(InputError, match="only likelihoods are measured"):
        import_evalset(task(project, output_type=kind), "evalsets/x")


# Metrics and filters


def test_exact_match_and_what_it_ignores(project: Path) -> None:
    metric = {
        "metric": "exact_match",
        "ignore_case": True,
        "ignore_punctuation": True,
        "aggregation": "mean",
        "higher_is_better": True,
    }
    done, evalset = imported(task(project, [{"question": "Q", "answer": "Yes, sir"}], metric_list=[metric]))
    assert score(evalset, "yes sir!") == 1 and score(evalset, "no") == 0 and done.losses == []
    assert "ignore_punctuation: signs that carry meaning (-5, 19%, C++) count here" in done.notes
    round_trip(evalset)


def test_patterns_to_ignore_count_on_neither_side(project: Path) -> None:
    metric = {"metric": "exact_match", "regexes_to_ignore": [",", r"\$", "(?s).*#### "]}
    rows = [{"question": "Q", "answer": "so 1,000+1\n#### $1,001"}, {"question": "R", "answer": "#### 7"}]
    step = {"function": "regex", "regex_pattern": r"(-?[$0-9.,]+)", "group_select": -1}
    path = task(project, rows, metric_list=[metric], filter_list=[{"name": "get", "filter": [step]}])
    done, evalset = imported(path)
    assert [i.expectations["answer"] for i in evalset.items] == ["so 1,000+1\n#### $1,001", "#### 7"]
    assert [score(evalset, text) for text in ("it is 1001", "it is $1,001", "1001, or 1002")] == [1, 1, 0]
    assert done.losses == []
    round_trip(evalset)
    _, evalset = imported(path, scorer="numeric")  # it keeps what is left out, and what the filter extracts
    assert score(evalset, "1 and 2: it is $1,001") == 1 and score(evalset, "1002") == 0
    done, evalset = imported(path, scorer="money")  # which has no such setting: only references are without them
    assert [i.expectations["answer"] for i in evalset.items] == ["1001", "7"]
    assert "regexes_to_ignore (3): taken out of the references, but not out of answers: money" in lost(done)


def test_patterns_to_ignore_that_leave_nothing(project: Path) -> None:
    rows = [{"question": "Q", "answer": "$,"}, {"question": "S", "answer": "$7"}]
    metrics = [{"metric": "exact_match", "regexes_to_ignore": each} for each in ([r"[$,]"], "x")]
    done, evalset = imported(task(project, rows, metric_list=metrics))
    assert [each.expectations["answer"] for each in evalset.items] == ["$7"]
    why = "(expectations.answer has nothing but what 'without' takes out. Change one of them)"
    assert lost(done).endswith(f"a row is left out: doc_to_target gives no text that counts {why}")
    figures = total(evalset.scorers, evalset.parse("7"), evalset.items[0].expectations).metrics
    assert sorted(figures.values()) == [0, 1]  # each metric leaves out its own


def test_patterns_that_take_too_long_leave_nothing(project: Path) -> None:
    metric = {"metric": "exact_match", "regexes_to_ignore": ["(a+a+)+b"]}
    done, evalset = imported(
        task(project, [{"question": "Q", "answer": "c"}, {"question": "R", "answer": "a" * 3000}], metric_list=[metric])
    )
    assert len(evalset.items) == 1 and "no text that counts" in lost(done)
    assert score(evalset, "c") == 1 and score(evalset, "a" * 3000) == 0


def test_filters_are_extractions_each_with_its_figure(project: Path) -> None:
    pipelines = [
        {
            "name": "strict match",
            "filter": [{"function": "regex", "regex_pattern": r"#### (\d+)"}, {"function": "take_first"}],
        },
        {
            "name": "flexible",
            "filter": [
                {"function": "remove_whitespace"},
                {"function": "regex", "regex_pattern": r"\d+", "group_select": -1},
                {"function": "lowercase"},
            ],
        },
    ]
    done, evalset = imported(task(project, filter_list=pipelines))
    assert [(s.name, s.weight) for s in evalset.scorers] == [("strict_match", 1), ("flexible", 0)]
    assert score(evalset, "3 or #### 2") == 1 and score(evalset, "it is 2") == 0
    figures = total(evalset.scorers, evalset.parse("3 or 2"), evalset.items[0].expectations).metrics
    assert figures == {"strict_match": 0, "flexible": 1}
    assert "answers are scored by exact, exact; the first counts" in told(done) and done.losses == []


@pytest.mark.parametrize(
    ("step", "why"),
    [
        ({"function": "majority_vote"}, "filter 'majority_vote' of 'f' is left out: nothing here does this"),
        ({"function": "take_first_k", "k": 3}, "filter 'take_first_k'"),
        ({"function": "map", "mapping_dict": {}}, "filter 'map'"),
        (
            {"function": "regex", "regex_pattern": "x", "group_select": 2},
            "its group_select is '2', which nothing here does",
        ),
        ({"function": "regex", "regex_pattern": "(?P<x"}, "of a dialect that is not read here"),
        (
            {"function": "regex", "regex_pattern": "x", "fallback": "none"},
            "its fallback is 'none', which nothing here does",
        ),
        ("text", "nothing here does this"),
    ],
)
def test_filters_without_a_counterpart(project: Path, step: Any, why: str) -> None:
    done, evalset = imported(task(project, filter_list=[{"name": "f", "filter": [step]}]))
    assert why in lost(done) and len(done.losses) == 1
    assert evalset.scorers[0].name == "f"


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ({"metric": "bleu"}, "metric 'bleu' is left out: no scorer does this"),
        ({"metric": "f1"}, "metric 'f1' is left out: a figure of the set"),
        ({"metric": "exact_match", "ignore_numbers": True}, "'ignore_numbers' of metric 'exact_match'"),
        ({"metric": "exact_match", "aggregation": "median"}, "'aggregation' of metric 'exact_match'"),
        ({"metric": "exact_match", "higher_is_better": False}, "'higher_is_better' of metric 'exact_match'"),
        ({"metric": "exact_match", "regexes_to_ignore": ["(?P<x"]}, "a pattern of regexes_to_ignore"),
    ],
)
def test_metrics_without_a_counterpart(project: Path, metric: dict[str, Any], why: str) -> None:
    done, evalset = imported(task(project, metric_list=[metric]))
    assert why in lost(done) and len(done.losses) == 1
    assert [s.type for s in evalset.scorers] == ["exact"]
    assert "answers are scored by exact" in told(done)


def test_several_metrics(project: Path) -> None:
    done, evalset = imported(task(project, metric_list=[{"metric": "rougeL"}, {"metric": "exact_match"}]))
    assert [(s.type, s.weight, s.name) for s in evalset.scorers] == [
        ("rouge", 1, "rougeL"),
        ("exact", 0, "exact_match"),
    ]
    assert evalset.spec.accept.min_score == 0.5 and done.losses == []
    round_trip(evalset)


def test_metrics_of_choices(project: Path) -> None:
    rows = [{"q": "Q", "gold": 0}]
    metrics = [{"metric": name} for name in ("acc", "acc_norm", "f1", "mine")]
    path = choices(project, rows, doc_to_text="q", doc_to_choice=["a", "b"], doc_to_target="gold")
    text = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**text, "metric_list": metrics}))
    done, _ = imported(path)
    assert [loss.what for loss in done.losses] == [
        "metric 'acc_norm' is left out: it needs likelihoods",
        "metric 'f1' is left out: a figure of the set",
        "metric 'mine' is left out: no scorer does this",
    ]


def test_generation_settings(project: Path) -> None:
    settings = {
        "until": ["Q:", "", "</s>"],
        "max_gen_toks": 9,
        "temperature": 0.7,
        "do_sample": True,
        "top_p": 0.9,
        "top_k": 3,
    }
    done, evalset = imported(task(project, generation_kwargs=settings))
    assert evalset.spec.generation.model_dump() == {
        "temperature": 0.7, "max_tokens": 9, "top_p": 0.9, "seed": None, "stop": ["Q:", "</s>"],
    }  # fmt: skip
    assert lost(done) == "task.yaml:11: 'top_k' of generation_kwargs"
    round_trip(evalset)
    for given, temperature in (
        ({"do_sample": False, "temperature": 0.9}, 0),
        ({"do_sample": True}, 1),
        ({"until": "x"}, 0),
    ):
        _, evalset = imported(task(project, generation_kwargs=given))
        assert evalset.spec.generation.temperature == temperature
    done, _ = imported(task(project, generation_kwargs=None))
    assert "no 'until': the harness would end an answer at a blank line" in told(done)


# Examples


def test_examples_are_told(project: Path) -> None:
    write(project, "train.jsonl", [{"question": "0+0?", "answer": "0"}])
    files = {"test": "test.jsonl", "train": "train.jsonl"}
    more: dict[str, Any] = {"training_split": "train", "fewshot_config": {"sampler": "first_n"}, "num_fewshot": 2}
    more |= {"validation_split": "test", "metadata": {"version": 1.0}, "num_concurrent": 3}
    done, evalset = imported(task(project, dataset_kwargs={"data_files": files}, fewshot_split="train", **more))
    assert evalset.train == () and asked(evalset) == ["Q: 1+1?\nA:"]
    assert [loss.what for loss in done.losses] == [
        "'fewshot_split' is not used: examples come from train.jsonl",
        "'training_split' is not used: nothing here does this",
        "'fewshot_config' (1) is not used: examples come from train.jsonl",
        "'num_fewshot' is not used: examples come from train.jsonl",
        "'validation_split' is not used: nothing here does this",
        "'metadata' (1) is not used: nothing here does this",
        "'num_concurrent' is not used: nothing here does this",
    ]


# Data


def test_data_as_csv_with_odd_cells(project: Path) -> None:
    write(project, "d/t.csv", '\ufeffquestion;answer\r\n"a;\nb";x\r\n\r\nc;\r\nd\r\n"ü🎉";y\r\n')
    path = task(project, dataset_path="csv", dataset_kwargs={"data_files": ["d/t.csv"]}, test_split="train")
    done, evalset = imported(path)
    assert [i.inputs["question"] for i in evalset.items] == ["a;\nb", "ü🎉"]
    assert "d/t.csv:5: a row is left out: its doc_to_target is nothing, or no text" in lost(done)
    assert "d/t.csv:6: a row is left out: doc_to_target cannot be filled in" in lost(done)


def test_data_as_parquet_json_and_a_folder(project: Path) -> None:
    (project / "d").mkdir()
    pq.write_table(pa.Table.from_pylist(ROWS), project / "d/test-00000-of-00001.parquet")
    _, evalset = imported(task(project, dataset_path="parquet", dataset_kwargs={"data_files": {"test": "d/*.parquet"}}))
    assert [i.inputs for i in evalset.items] == ROWS
    _, evalset = imported(task(project, dataset_path="./d", dataset_kwargs=None))
    assert [i.inputs for i in evalset.items] == ROWS
    write(project, "e/sub/train.csv", "question,answer\nx,y\n")
    write(project, "e/sub/dev.csv", "question,answer\nz,w\n")
    path = task(
        project,
        dataset_path="e/sub",
        dataset_kwargs=None,
        test_split=None,
        validation_split="validation",
    )
    done, evalset = imported(path)
    assert evalset.items[0].inputs == {"question": "z", "answer": "w"} and done.losses == []
    settings = {"data_files": {"test": "d/*.parquet"}, "trust_remote_code": True}
    done, _ = imported(task(project, dataset_path="parquet", dataset_kwargs=settings))
    assert "'trust_remote_code' of dataset_kwargs" in lost(done)


def test_includes(project: Path) -> None:
    write(project, "base/_default_yaml", "doc_to_text: '{{question}}!'\ntag: mine\ninclude: more.yaml\n")
    write(project, "base/more.yaml", "doc_to_text: no\ndoc_to_target: '{{answer}}'\ntask_alias: x\n")
    path = task(project, include="base/_default_yaml", doc_to_text=None, doc_to_target=None)
    done, evalset = imported(path)
    assert asked(evalset) == ["1+1?!"]
    assert "base/_default_yaml:2: 'tag' is not used" in lost(done)
    assert "base/more.yaml:3: 'task_alias' is not used" in lost(done)
    write(project, "base/more.yaml", "include: _default_yaml\n")
    with pytest.raises(InputError, match="include each other"):
        imported(path)
    outside = task(project / "inner", include="../base/more.yaml")
    with pytest.raises(InputError, match="which is not in the folder"):
        imported(outside)


@pytest.mark.parametrize("key", ["doc_to_text", "doc_to_target"])
def test_functions_are_never_imported(project: Path, key: str) -> None:
    write(project, "utils.py", "raise SystemExit('run!')\n")
    path = task(project, **{key: "KEY"}, process_docs="DOCS", metric_list=[{"metric": "METRIC"}])
    text = path.read_text()
    for name in ("DOCS", "METRIC"):
        text = text.replace(name, "!function utils.run")
    path.write_text(text.replace("KEY", "question" if key == "doc_to_text" else "answer"))
    done, evalset = imported(path)
    assert len(evalset.items) == 2
    assert "'process_docs' is a Python function (utils.run), which is never imported" in lost(done)
    assert "metric of a Python function (utils.run), which is never imported, is left out" in lost(done)
    path.write_text(text.replace("KEY", "!function utils.run"))
    with pytest.raises(InputError, match=rf"'{key}' is a Python function \(utils.run\)"):
        imported(path)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"dataset_path": "org/data"}, "dataset_path 'org/data': no data here, and nothing is fetched"),
        ({"dataset_path": None}, "dataset_path 'None': no data here"),
        ({"dataset_path": "/etc"}, "no data here"),
        ({"dataset_kwargs": {"data_files": {"test": "../x.jsonl"}}}, "no data file inside the folder matches"),
        ({"dataset_kwargs": {"data_files": {"test": "https://x/y.jsonl"}}}, "no data file inside the folder matches"),
        ({"dataset_kwargs": None}, "no data here"),
        ({"test_split": "validation"}, "there is no data for split 'validation'. There are: test"),
        ({"test_split": None}, "names no test_split or validation_split"),
        ({"task": ["a", "b"]}, "a group of tasks"),
        ({"doc_to_text": "{{ question"}, "its template cannot be read"),
        ({"doc_to_text": "{{ question | regex_replace('a', 'b') }}"}, "No filter named 'regex_replace'"),
        ({"doc_to_text": None}, "'doc_to_text' is not there"),
        ({"doc_to_text": 3}, "'doc_to_text' is no template"),
        ({"doc_to_choice": ["no", "yes"]}, "choices of generated answers are not read"),
        ({"doc_to_target": "{{ nothing }}"}, "doc_to_target cannot be filled in"),
    ],
)  # fmt: skip
def test_tasks_that_cannot_be_read(project: Path, changes: dict[str, Any], match: str) -> None:
    write(project.parent, "x.jsonl", ROWS)
    with pytest.raises(InputError, match=match):
        import_evalset(task(project, **changes), "evalsets/x", format="lm_eval")
    assert not Path("evalsets/x").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("- a\n- b\n", "must be a mapping"),
        ("", "is empty"),
        ("task: a\ntask: b\ndoc_to_text: c\n", "task.yaml:2: key 'task' stands here a second time"),
        ("task: [a\n", "not valid YAML"),
        ("task: !!python/object/apply:os.system [x]\n", "not valid YAML"),
        ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    ],
)
def test_broken_yaml(project: Path, text: str, match: str) -> None:
    with pytest.raises(InputError, match=match):
        import_evalset(write(project, "task.yaml", text), "evalsets/x", format="lm_eval")


def test_broken_rows_are_named_by_line(project: Path) -> None:
    path = task(project)
    write(project, "test.jsonl", '{"question": "a", "answer": "b"}\n\n{"question": \n')
    with pytest.raises(InputError, match=r"test.jsonl:3: not valid JSON"):
        imported(path)


def test_a_template_without_end_is_no_hang(project: Path) -> None:
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{{ question }}{% endfor %}{% endfor %}"
    with pytest.raises(InputError, match="holds no items that can be carried over"):
        imported(task(project, doc_to_text=endless))


def test_messages_do_not_repeat_what_is_tested(project: Path) -> None:
    rows = [
        *ROWS,
        {"question": "Miller owes", "answer": {"Miller": 1}},
        {"question": "Miller owes", "answer": "{{ Miller }}"},
    ]
    done, _ = imported(task(project, rows, doc_to_text="{{ {'1+1?': 1, '2+2?': 2}[question] }}"))
    assert len(done.losses) == 1 and "(2 times)" in lost(done) and "Miller" not in lost(done)


def test_a_scorer_of_the_users_choice(project: Path) -> None:
    _, evalset = imported(task(project), scorer="contains")
    assert [s.type for s in evalset.scorers] == ["contains"] and score(evalset, "it is 2") == 1
    with pytest.raises(InputError, match="Leave --map out"):
        imported(task(project), mapping={"id": "x"})


def test_sniffing(project: Path) -> None:
    sniff = FORMATS.find("lm_eval").sniff
    assert sniff(task(project)) == 0.9
    assert sniff(write(project, "a.yaml", "include: _base\ntask: x\n")) == 0.9
    assert sniff(write(project, "b.yaml", "task: x\n")) == 0
    assert sniff(write(project, "c.yaml", "prompts: [x]\ntests: []\n")) == 0
    assert sniff(write(project, "d.jsonl", [{"task": "x", "dataset_path": "y"}])) == 0
    assert sniff(project) == 0
    with pytest.raises(InputError, match="Name the task's YAML file"):
        import_evalset(project, "evalsets/x", format="lm_eval")


# Exports of our own


def test_a_label_set_keeps_its_items_and_says_what_differs(project: Path) -> None:
    rows = [
        item("a", sensitivity="public", slice={"topic": "x", "id": "hidden"}, cluster="c"),
        item("b", thing="{{ odd }} ['x']", label="blue"),
    ]
    rows[1]["expectations"]["label"] = ["blue", "green"]
    variants = {
        "default": {
            "messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "{{ inputs.thing }}?"}],
            "examples": 1,
        },
        "other": {"messages": [{"role": "user", "content": "{{ inputs.thing }}"}]},
    }
    folder = write_evalset(
        project, "colors", rows, train=[item("t")], variants=variants, accept={"min_score": 0.9},
        limits={"min_score": 0.5}, license="CC0-1.0",
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "lm_eval", "out/t.yaml").losses))
    done, again = imported(Path("out/t.yaml"))
    for before, after in zip(evalset.items, again.items, strict=True):
        assert (after.id, after.cluster, after.sensitivity) == (before.id, before.cluster, before.sensitivity)
        assert after.inputs == before.inputs
        assert after.expectations == {**before.expectations, "answer": before.expectations["label"]}
    assert again.items[0].slice == {"topic": "x"} and done.losses == []
    assert again.spec.variants["default"].messages == evalset.spec.variants["default"].messages
    assert score(again, "green", 1) == 1 and score(again, "red", 1) == 0
    for what in (
        "variant 'other'", "output.labels", "scorer 'label'", "accept.min_score", "generation.seed", "limits",
        "license", "slice 'id'", "train.jsonl: 1 item for", "variant 'default': its 1 example of",
    ):  # fmt: skip
        assert what in left
    assert COLORS[0] in Path("out/t.jsonl").read_text()
    assert sorted(path.name for path in Path("out").iterdir()) == ["t.jsonl", "t.yaml"]


def test_a_set_whose_prompt_is_no_simple_template(project: Path) -> None:
    loop = "{% for part in inputs.parts %}- {{ part }}\n{% endfor %}"
    rows = [{"id": "1", "inputs": {"parts": ["a", "b"]}, "expectations": {"answer": "x", "note": "kept"}}]
    folder = write_evalset(
        project, "loops", rows, output={"text": True}, scorers=[{"type": "exact", "ignore": ["articles", "case"]}],
        variants={"v": {"messages": [{"role": "user", "content": loop}]}},
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "lm_eval", "t.yaml").losses))
    _, again = imported(Path("t.yaml"))
    assert asked(again) == ["- a\n- b\n"]
    assert again.items[0].inputs == {"parts": ["a", "b"], "prompt": "- a\n- b\n"}
    assert again.items[0].expectations == {"answer": "x", "note": "kept"}
    assert "variant 'v' does more than fill in inputs: column 'prompt' has it filled in" in left
    assert "scorer 'exact': what it ignores" in left


def test_a_json_set_keeps_its_expectations(project: Path) -> None:
    folder = project / "evalsets" / "json"
    folder.mkdir(parents=True)
    properties = {"queue": {"type": "string"}, "n": {"type": "integer"}}
    (folder / "schema.json").write_text(json.dumps({"type": "object", "properties": properties}))
    rows = [{"id": "1", "inputs": {"thing": "x"}, "expectations": {"queue": ["a", "b"], "n": 3}}]
    write_evalset(
        project, "json", rows, output={"json_schema": "schema.json"},
        scorers=[{"type": "json_fields", "fields": {"queue": "text", "n": "number"}}],
    )  # fmt: skip
    evalset = load_evalset(folder)
    left = "\n".join(map(str, export_evalset(evalset, "lm_eval", "t.yaml").losses))
    _, again = imported(Path("t.yaml"))
    assert json.loads(again.items[0].expectations["answer"]) == {"queue": "a", "n": 3}
    assert again.items[0].expectations["queue"] == ["a", "b"] and again.items[0].inputs == {"thing": "x"}
    assert "output.json_schema" in left and "scorer 'json_fields'" in left


def test_dates_that_the_prompt_shows_are_written_filled_in(project: Path) -> None:
    rows = [{"id": n, "inputs": {"day": f"2026-03-0{n}"}, "expectations": {"answer": f"2026-04-0{n}"}} for n in "12"]
    messages = [{"role": "system", "content": "S"}, {"role": "user", "content": "After {{ inputs.day }}?"}]
    folder = write_evalset(
        project, "days", rows, output={"text": True}, scorers=[{"type": "exact"}],
        variants={"default": {"messages": messages}},
    )  # fmt: skip
    left = "\n".join(map(str, export_evalset(load_evalset(folder), "lm_eval", "t.yaml").losses))
    assert "variant 'default' shows dates (day), of which the harness makes times: column 'prompt'" in left
    assert "the targets are dates, of which the harness makes times" in left
    settings, first = (
        yaml.safe_load(Path("t.yaml").read_text()),
        json.loads(Path("t.jsonl").read_text().splitlines()[0]),
    )
    assert (settings["description"], settings["doc_to_text"]) == ("S\n\n", "{{prompt}}")
    assert first["prompt"] == "After 2026-03-01?" and first["day"] == "2026-03-01"
    _, again = imported(Path("t.yaml"))
    assert asked(again) == ["S", "After 2026-03-01?"]


def test_a_cell_that_a_row_lacks_is_not_there_for_a_template(project: Path) -> None:
    write(project, "test.csv", "question,answer,hint\na,b,c\nd,e\n")
    files = {"data_files": {"test": "test.csv"}}
    path = task(project, dataset_path="csv", dataset_kwargs=files, doc_to_text="{{question}} {{hint}}")
    done, evalset = imported(path)
    assert [each.inputs["question"] for each in evalset.items] == ["a"]
    assert "test.csv:3: fewer cells than columns" in lost(done) and "a row is left out: doc_to_text" in lost(done)


def test_an_export_needs_its_own_column(project: Path) -> None:
    rows = [{"id": "1", "inputs": {"thing": "x", "workbench": 1}, "expectations": {"label": "red"}}]
    evalset = load_evalset(write_evalset(project, "colors", rows))
    with pytest.raises(InputError, match="an input is called 'workbench'"):
        export_evalset(evalset, "lm_eval", "t.yaml")
