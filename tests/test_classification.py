"""Macro-F1 and balanced accuracy of a set: agreement with scikit-learn, intervals, speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import item, write_evalset, write_models
from hypothesis import given, settings
from hypothesis import strategies as st
from recording_server import RecordingServer
from sklearn.metrics import f1_score, recall_score

import workbench as wb
from workbench.classification import FIGURES, set_figures
from workbench.views.tables import set_figures_html, set_figures_text

EXPECTED, GIVEN = "metric.class.label.expected", "metric.class.label.given"


def table(expected: Sequence[float], given: Sequence[float], model: str = "m", **columns: Any) -> pd.DataFrame:
    """An outcome table of one candidate with a label scorer's classes."""
    score = [
        float("nan") if np.isnan(answer) else float(answer == key) for key, answer in zip(expected, given, strict=True)
    ]
    rows = {"task": "t", "item_id": [f"i{k}" for k in range(len(expected))], "model": model, "score": score}
    return pd.DataFrame({**rows, EXPECTED: expected, GIVEN: given, **columns})


def figures(outcomes: pd.DataFrame, candidate: str = "m") -> pd.DataFrame:
    found = set_figures(outcomes)
    return found[found["candidate"] == candidate].set_index("figure")


def by_scikit_learn(expected: Sequence[float], given: Sequence[float]) -> list[float]:
    settings: dict[str, Any] = {"labels": sorted(set(expected)), "average": "macro", "zero_division": 0}
    return [float(figure(expected, given, **settings)) for figure in (f1_score, recall_score)]


def drawn(rng: np.random.Generator, n: int, accuracy: float, prior: Sequence[float]) -> tuple[Any, Any]:
    """Classes and answers; a wrong answer is any other class, or none, with the same chance."""
    k = len(prior)
    expected = rng.choice(k, n, p=prior)
    other = (expected + rng.integers(1, k + 1, n)) % (k + 1)
    given = np.where(rng.random(n) < accuracy, expected, other)
    return expected.astype(float), np.where(given == k, -1, given).astype(float)


def truth(accuracy: float, prior: Sequence[float]) -> list[float]:
    """Macro-F1 and balanced accuracy of `drawn` in the long run."""
    shares = np.array(prior)
    given = accuracy * shares + (1 - accuracy) * (1 - shares) / len(prior)
    return [float((2 * accuracy * shares / (shares + given)).mean()), accuracy]


# Agreement with scikit-learn.


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-1, 6)), min_size=1, max_size=60))
def test_the_figures_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    expected, answered = ([float(pair[side]) for pair in pairs] for side in (0, 1))
    found = figures(table(expected, answered))
    assert found["value"].tolist() == pytest.approx(by_scikit_learn(expected, answered))
    assert (found["n"] == len(pairs)).all() and list(found.index) == list(FIGURES)
    assert ((found["lo"] <= found["value"]) & (found["value"] <= found["hi"])).all()
    assert found["lo"].ge(0).all() and found["hi"].le(1).all()


def test_repeats_of_an_item_share_its_weight() -> None:
    rng = np.random.default_rng(0)
    expected, _ = drawn(rng, 30, 0.7, [0.5, 0.3, 0.2])
    repeats = [drawn(np.random.default_rng(seed), 30, 0.7, [0.5, 0.3, 0.2])[1] for seed in range(4)]
    found = figures(pd.concat([table(expected, answers, repeat=n) for n, answers in enumerate(repeats)]))
    together = by_scikit_learn(list(expected) * 4, np.concatenate(repeats).tolist())
    assert found["value"].tolist() == pytest.approx(together) and (found["n"] == 30).all()


def test_an_item_that_was_asked_more_often_weighs_no_more() -> None:
    once, often = table([0, 1], [0, 0]), table([0], [0])
    found = figures(pd.concat([once, *(often.assign(repeat=n) for n in range(1, 9))]))
    assert found.loc["balanced_accuracy", "value"] == pytest.approx(0.5)
    assert found.loc["macro_f1", "value"] == pytest.approx(1 / 3)


@pytest.mark.parametrize("elsewhere", ["repeat", "candidate"])
def test_an_answer_that_is_missing_is_a_wrong_one(elsewhere: str) -> None:
    """Nothing tells its class but another outcome of the item: a repeat's, or another candidate's."""
    nan = float("nan")
    lost = table([0, 1, nan, nan], [0, 1, nan, nan])
    whole = table([0, 1, 0, 1], [0, 1, 0, 1])
    other = whole.assign(repeat=1) if elsewhere == "repeat" else whole.assign(model="other")
    found = figures(pd.concat([lost, other]))
    keys, answers = [0, 1, 0, 1], [0, 1, -1, -1]
    if elsewhere == "repeat":
        keys, answers = keys * 2, [*answers, 0, 1, 0, 1]
    assert found["value"].tolist() == pytest.approx(by_scikit_learn(keys, answers)) and (found["n"] == 4).all()


def test_an_item_that_a_candidate_was_not_asked_is_no_wrong_answer() -> None:
    outcomes = pd.concat([table([0, 1], [0, 1]), table([0, 1, 0, 1], [0, 1, 1, 0], model="other")])
    assert (figures(outcomes)["value"] == 1).all() and (figures(outcomes, "other")["value"] < 1).all()


def test_an_item_whose_class_nobody_tells_is_left_out() -> None:
    nan = float("nan")
    assert (figures(table([0, 1, nan], [0, 1, nan]))["n"] == 2).all()


def test_what_the_commonest_class_would_be_right_on_is_told_beside() -> None:
    key, given = [0.0] * 6 + [1.0] * 3 + [2.0], [0.0] * 5 + [1.0] * 5
    both = pd.concat([table(key, given), table(key, [0.0] * 10, "constant")])
    found = set_figures(both)
    assert set(found["commonest"]) == {0.6}
    assert "commonest class would be right on at least 0.60" in set_figures_text(found)
    assert "commonest class would be right on at least: label 0.60." in set_figures_html(found)


def test_train_rows_do_not_count() -> None:
    outcomes = pd.concat(
        [table([0, 1], [0, 1], split="test"), table([0, 1], [1, 0], model="m", split="train", repeat=1)]
    )
    assert (figures(outcomes)["value"] == 1).all()


def test_fields_tasks_and_candidates_stand_apart() -> None:
    one = table([0, 1], [0, 1])
    two = table([0, 1], [1, 0], variant="terse").rename(
        columns={EXPECTED: "metric.class.a.b.expected", GIVEN: "metric.class.a.b.given"}
    )
    found = set_figures(pd.concat([one, two, one.assign(task="u")]))
    assert found[["task", "candidate", "field"]].drop_duplicates().to_numpy().tolist() == [
        ["t", "m", "label"],
        ["t", "m#terse", "a.b"],
        ["u", "m", "label"],
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda outcomes: outcomes.drop(columns=[EXPECTED, GIVEN]),
        lambda outcomes: outcomes.drop(columns=[GIVEN]),
        lambda outcomes: outcomes.assign(**{EXPECTED: np.nan}),
        lambda outcomes: outcomes.iloc[:0],
    ],
)
def test_where_there_are_no_classes_there_are_no_figures(change: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    found = set_figures(change(table([0, 1], [0, 1])))
    assert found.empty and {"task", "candidate", "field", "figure", "value", "lo", "hi"} <= set(found)


# Intervals.


@pytest.mark.parametrize(
    ("n", "accuracy", "prior"),
    [
        (80, 0.7, [0.5, 0.3, 0.2]),
        (40, 0.99, [0.25] * 4),  # mostly not one error, which a bootstrap takes for certainty
        (100, 0.9, [0.8, 0.1, 0.1]),
    ],
)
def test_the_intervals_hold_the_true_figures(n: int, accuracy: float, prior: list[float]) -> None:
    """100 sets: at least 90 % of the 95 % intervals."""
    rng = np.random.default_rng(1)
    held = np.zeros(2)
    for _ in range(100):
        found = figures(table(*drawn(rng, n, accuracy, prior)))
        held += [
            lo <= value <= hi for lo, hi, value in zip(found["lo"], found["hi"], truth(accuracy, prior), strict=True)
        ]
    assert (held / 100 >= 0.9).all(), held / 100


def test_a_flawless_candidate_does_not_claim_certainty() -> None:
    found = figures(table([0, 1] * 20, [0, 1] * 20))
    assert (found["value"] == 1).all() and (found["hi"] == 1).all() and found["lo"].between(0.8, 0.95).all()


def test_more_items_narrow_the_interval() -> None:
    rng = np.random.default_rng(2)
    few, many = (figures(table(*drawn(rng, n, 0.8, [0.5, 0.5]))) for n in (100, 1600))
    ratio = (few["hi"] - few["lo"]) / (many["hi"] - many["lo"])
    assert ratio.between(3, 5.5).all()


def test_clusters_widen_the_interval() -> None:
    expected, answered = drawn(np.random.default_rng(3), 60, 0.8, [0.5, 0.5])
    alone = figures(table(expected, answered))
    copies = figures(table(np.repeat(expected, 6), np.repeat(answered, 6)))
    clustered = figures(
        table(np.repeat(expected, 6), np.repeat(answered, 6), cluster=[f"c{k // 6}" for k in range(360)])
    )
    width = {name: found["hi"] - found["lo"] for name, found in (("1", alone), ("6", copies), ("c", clustered))}
    assert (width["c"] / width["1"]).between(0.8, 1.25).all() and (width["c"] > 1.8 * width["6"]).all()
    assert (clustered["clusters"] == 60).all() and (clustered["method"] == "cluster bootstrap").all()
    assert alone["clusters"].isna().all() and (clustered["n"] == 360).all()


def test_a_few_clusters_are_told() -> None:
    expected, answered = drawn(np.random.default_rng(3), 60, 0.8, [0.5, 0.5])
    found = figures(table(expected, answered, cluster=[f"c{k % 6}" for k in range(60)]))
    assert (found["method"] == "cluster bootstrap (only 6 clusters)").all()


def test_an_item_without_a_cluster_stands_alone() -> None:
    found = figures(table([0, 1, 0, 1], [0, 1, 0, 0], cluster=["a", "a", None, None]))
    assert (found["clusters"] == 3).all()


def test_the_same_table_gives_the_same_figures_in_any_order() -> None:
    outcomes = table(*drawn(np.random.default_rng(4), 80, 0.8, [0.5, 0.5]))
    first = set_figures(outcomes)
    pd.testing.assert_frame_equal(set_figures(outcomes), first)
    other = set_figures(outcomes.sample(frac=1, random_state=0))
    pd.testing.assert_frame_equal(other[["value", "n"]], first[["value", "n"]])
    assert np.abs(other[["lo", "hi"]] - first[["lo", "hi"]]).to_numpy().max() < 0.02


@pytest.mark.parametrize(("rows", "classes", "candidates"), [(100_000, 8, 3), (20_000, 100, 1)])
def test_many_rows_and_classes_are_quick(rows: int, classes: int, candidates: int) -> None:
    """100,000 rows × 3 candidates took 75 s when each item was drawn, and take 1.5 s; a full matrix a row took 8 GB."""
    rng = np.random.default_rng(5)
    tables = [table(*drawn(rng, rows, 0.8, [1 / classes] * classes), model=f"m{n}") for n in range(candidates)]
    outcomes = pd.concat(tables)
    started = time.process_time()
    found = set_figures(outcomes)
    assert len(found) == 2 * candidates and time.process_time() - started < 20


# In a run.


def test_a_run_leaves_the_classes_and_no_score_is_made_of_them(project: Path, server: RecordingServer) -> None:
    answers = {"i0": "red", "i1": "blue", "i2": "no idea", "i3": "green"}
    server.answer = lambda body: answers[str(body["messages"][-1]["content"]).split()[-1].rstrip("?")]
    labels = {"i0": "red", "i1": "red", "i2": "green", "i3": "green"}
    write_evalset(project, "colors", [item(name, label=label) for name, label in labels.items()])
    entry = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m=entry)
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    stored = wb.read_outcomes(run.path / "outcomes.parquet")
    found = figures(stored)
    assert found["value"].tolist() == pytest.approx(by_scikit_learn([0, 0, 1, 1], [0, 2, -1, 1]))
    assert stored["score"].tolist() == [1, 0, 0, 1] and set(found["field"]) == {"label"}
