"""The leaderboard, paired comparisons by margin, slices: on planted tables, and on real ones where they are there."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pandas as pd
import planted
import pytest

from workbench.errors import InputError
from workbench.evidence import all_pairs, by_slice, compare, leaderboard
from workbench.views.tables import leaderboard_html, leaderboard_text

ZEROEVAL = Path(__file__).parents[2] / "shared" / "data" / "outcomes" / "zeroeval_gsm.outcomes.parquet"
RNG = np.random.default_rng


def test_the_leaderboard_ranks_and_marks_what_cannot_be_told_apart() -> None:
    table = planted.outcomes(
        {"good": planted.right(0.9, 100), "as-good": planted.right(0.88, 100, 1), "bad": planted.right(0.3, 100)}
    )
    board = leaderboard(table).set_index("candidate")
    assert list(board.index) == ["good", "as-good", "bad"]
    assert board["tied"].to_dict() == {"good": True, "as-good": True, "bad": False}
    assert board["rank"].to_dict() == {"good": "1–2", "as-good": "1–2", "bad": "3"}
    assert board.loc["good", ["n", "of", "score"]].tolist() == [100, 100, 0.9]
    assert board.loc["bad", "behind_best_hi"] > 0.6 and board.loc["good", "behind_best_hi"] < 0.15
    assert (board["detectable"] > 0.02).all() and (board["seed"] == 0).all()


def test_an_answer_that_is_missing_scores_0() -> None:
    table = planted.outcomes({"half": [1.0, math.nan, 1.0, math.nan]})
    row = leaderboard(table).iloc[0]
    assert (row["score"], row["errors"]) == (0.5, 2)


def test_what_is_no_answer_breaks_no_format() -> None:
    """Rules that abstain and requests that fail have `format_ok` false too; an answer without a verdict is one."""
    table = planted.outcomes({"rules": [1.0] * 4, "down": [1.0] * 4, "a": [1.0] * 4})
    table["output"], table["error_class"] = "red", None
    table["error_class"] = table["error_class"].astype(object)
    lost = (table["model"] == "rules") & table["item_id"].isin(["internal-0", "internal-1"]) | (
        table["model"] == "down"
    )
    table.loc[lost, ["score", "accepted", "format_ok", "output"]] = [None, False, False, None]
    table.loc[lost, "error_class"] = table["model"].map({"rules": "no_match", "down": "server"})
    broken = (table["model"] == "a") & (table["item_id"] == "internal-3")
    table.loc[broken, ["score", "accepted", "format_ok", "error_class"]] = [None, False, False, "judge"]
    board = leaderboard(table).set_index("candidate")
    assert board["format_ok"].to_dict() == pytest.approx({"rules": 1.0, "a": 0.75, "down": math.nan}, nan_ok=True)
    assert board["errors"].to_dict() == {"rules": 2, "a": 0, "down": 4}
    told = leaderboard(table.drop(columns="output").assign(format_ok=None)).set_index("candidate")
    assert told["format_ok"].to_dict() == pytest.approx({"rules": 0.0, "a": 0.0, "down": math.nan}, nan_ok=True)
    assert leaderboard(table.drop(columns="format_ok"))["format_ok"].isna().all()


def test_comparing_with_a_candidate_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(InputError, match=r"no candidate 'c'.*a, b"):
        compare(planted.outcomes({"a": [1.0], "b": [0.0]}), "a", "c")


def test_a_sample_is_stated_on_the_leaderboard() -> None:
    table = planted.outcomes({"a": [1.0, 0.0]})
    table.attrs["sample"] = {"planted": {"n": 2, "of": 80}}
    for shown in (leaderboard_text(leaderboard(table)), leaderboard_html(leaderboard(table))):
        assert "planted: a stratified sample of 2 of 80 items" in shown


@pytest.mark.parametrize(
    ("sample", "told"),
    [
        ({"n": 8, "of": 8}, "planted: 2 of 8 items"),  # the rest was withheld, or has no outcome
        ({"n": 5, "of": 8}, "planted: 2 of a stratified sample of 5 of 8 items"),
        ({"n": 2, "of": 2}, "planted: 2 items"),
    ],
)
def test_items_that_are_left_are_no_sample(sample: dict[str, int], told: str) -> None:
    table = planted.outcomes({"a": [1.0, 0.0]})
    table.attrs["sample"] = {"planted": sample}
    for shown in (leaderboard_text(leaderboard(table)), leaderboard_html(leaderboard(table))):
        assert told in shown


def test_a_table_with_the_required_columns_only_is_enough() -> None:
    table = planted.outcomes({"a": [1.0, 0.0], "b": [0.0, 0.0]})[["task", "item_id", "model", "score"]]
    board = leaderboard(table)
    assert board["cost_per_accepted_usd"].isna().all()
    assert board["score"].tolist() == [0.5, 0.0]


def test_nothing_separates_in_a_table_where_nothing_is_apart() -> None:
    table = planted.outcomes({name: planted.right(0.8, 60, seed) for seed, name in enumerate("abcde")})
    board = leaderboard(table)
    assert (board["rank"] == "1–5").all() and board["tied"].all() and (board["behind_best_hi"] > 0.05).all()
    assert not all_pairs(table)["separated"].any()


def test_a_candidate_that_was_asked_too_little_has_no_rank() -> None:
    table = planted.outcomes({"a": planted.right(0.7, 100), "b": [1.0] * 100})
    board = leaderboard(table[~((table["model"] == "b") & (table.index % 100 >= 85))]).set_index("candidate")
    assert board["rank"].to_dict() == {"a": "1", "b": ""} and not board.loc["b", "tied"]
    assert math.isnan(board.loc["b", "behind_best_hi"]) and board.loc["b", "n"] == 85


def test_a_sole_winner_is_tied_with_nobody() -> None:
    board = leaderboard(planted.outcomes({"best": planted.right(0.9, 60), "bad": planted.right(0.1, 60)}))
    assert board["rank"].tolist() == ["1", "2"] and not board["tied"].any()


def test_each_figure_carries_what_it_rests_on() -> None:
    """Partial scores, thrice each, in nine clusters of ten items: the repeats are averaged, the clusters said."""
    scores = list(RNG(0).random(90))
    table = planted.outcomes({"a": scores, "b": scores[::-1]}, cluster=[f"c{index // 10}" for index in range(90)] * 2)
    thrice = pd.concat([table.assign(repeat=repeat) for repeat in range(3)], ignore_index=True)
    columns = ["n", "clusters", "repeats", "method", "seed"]
    for found in (leaderboard(thrice), by_slice(thrice.assign(slice='{"kind": "x"}'), "kind")):
        assert found[columns].iloc[0].tolist() == [90, 9, 3, "cluster t, cluster BCa (only 9 clusters)", 0]
    pair = compare(thrice, "a", "b").iloc[0]
    assert pair[columns[:4]].tolist() == [90, 9, 3, "paired, cluster adjusted Wald (only 9 clusters)"]
    assert pair["test"] == "sign-flip permutation" and math.isnan(pair["seed"])  # all 512 patterns of 9 clusters
    for shown in (leaderboard_text(leaderboard(thrice)), leaderboard_html(leaderboard(thrice))):
        assert "only 9 clusters" in shown


def test_repeats_are_averaged_in_their_item_first() -> None:
    once = planted.outcomes({"a": planted.right(0.6, 50)})
    other = once.assign(repeat=1, score=1 - once["score"])
    row = leaderboard(pd.concat([once, other], ignore_index=True)).iloc[0]
    assert (row["n"], row["score"]) == (50, 0.5) and row["score_lo"] < 0.4  # not 100 items


def test_rows_twice_and_scores_that_are_missing_change_nothing_else() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 80), "b": planted.right(0.5, 80, 1)})
    clean = leaderboard(table)
    assert clean.equals(leaderboard(pd.concat([table, table.sample(40, random_state=0)], ignore_index=True)))
    lost = table.assign(score=table["score"].where(table["score"] > 0), accepted=table["accepted"].astype("boolean"))
    lost.loc[lost["score"].isna(), "accepted"] = pd.NA
    again = leaderboard(lost)
    same = [name for name in clean if name != "errors"]
    assert again[same].equals(clean[same]) and again["errors"].tolist() == [8, 40]


def test_latency_and_cost_have_their_intervals() -> None:
    table = planted.outcomes({"a": planted.right(0.5, 200)})
    table["latency_s"] = np.linspace(0.1, 2, 200)
    table["cost_usd"] = RNG(1).exponential(0.001, 200)
    row = leaderboard(table).iloc[0]
    for name in ("latency_p50_s", "latency_p95_s", "cost_per_accepted_usd"):
        low, high = (row[f"{name}_lo"], row[f"{name}_hi"]) if name[0] == "l" else (row["cost_lo"], row["cost_hi"])
        assert low < row[name] < high
    assert row["cost_method"] == "ratio bootstrap"
    assert math.isinf(leaderboard(table.head(40)).iloc[0]["latency_p95_s_hi"])


# Pairs.


def pair(fixed: int, broke: int, n: int, margin: float = 0.05) -> pd.Series:
    """Two candidates of whom a is better on `fixed` items of n, and worse on `broke`."""
    a = np.ones(n)
    b = np.ones(n)
    b[:fixed], a[fixed : fixed + broke] = 0, 0
    return compare(planted.outcomes({"a": list(a), "b": list(b)}), "a", "b", margin).iloc[0]


@pytest.mark.parametrize(
    ("fixed", "broke", "n", "verdict"),
    [
        (30, 5, 100, "a is better"),
        (5, 30, 100, "b is better"),
        (30, 2, 2000, "a is better, by less than the margin"),
        (10, 10, 1000, "equivalent"),
        (12, 5, 200, "a is not worse"),
        (5, 12, 200, "b is not worse"),
        (5, 5, 60, "cannot tell"),
        (0, 0, 20, "cannot tell"),
    ],
)
def test_the_verdict_is_by_margin(fixed: int, broke: int, n: int, verdict: str) -> None:
    found = pair(fixed, broke, n)
    assert found["verdict"] == verdict
    assert math.isnan(found["items_to_decide"]) == (verdict != "cannot tell")
    if verdict == "cannot tell":
        assert found["items_to_decide"] > n


def test_compare_is_paired_and_says_what_changed() -> None:
    found = pair(14, 6, 100)
    assert found["changed"] == "fixed 14, broke 6" and found[["n", "fixed", "broke", "same"]].tolist() == [
        100,
        14,
        6,
        80,
    ]
    assert found["test"] == "McNemar mid-p" and found["p"] == pytest.approx(0.0784, abs=0.001)
    assert found["difference"] == pytest.approx(0.08) and found["lo"] < 0 < found["hi"]
    assert found["detectable"] == pytest.approx(0.13, abs=0.01) and found["margin"] == 0.05


def test_a_wider_margin_decides_what_a_narrow_one_does_not() -> None:
    assert [pair(10, 10, 200, margin)["verdict"] for margin in (0.02, 0.1)] == ["cannot tell", "equivalent"]
    with pytest.raises(InputError, match="between 0 and 1"):
        pair(1, 1, 10, 0)


def test_a_candidate_is_equivalent_to_itself_given_enough_items() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 300)})
    assert compare(table, "a", "a").iloc[0][["verdict", "changed"]].tolist() == ["equivalent", "fixed 0, broke 0"]


def test_slices_are_marked_as_exploratory() -> None:
    texts = [json.dumps({"difficulty": "hard" if index % 2 else "easy"}) for index in range(40)]
    table = planted.outcomes({"a": [1.0, 0.0] * 20}, slice=texts)
    found = by_slice(table, "difficulty").set_index("slice")
    assert found["score"].to_dict() == {"easy": 1.0, "hard": 0.0} and found["exploratory"].all()
    with pytest.raises(InputError, match="has a slice 'language'"):
        by_slice(table, "language")


def test_a_value_of_restricted_items_alone_is_a_number() -> None:
    table = planted.outcomes({"a": [1.0, 0.0, 1.0]}, sensitivity=["restricted", "restricted", "public"])
    table["slice"] = [json.dumps({"customer": name}) for name in ("CANARY", "shop", "shop")]
    assert set(by_slice(table, "customer")["slice"]) == {"[restricted] 1", "shop"}


@pytest.mark.skipif(not ZEROEVAL.is_file(), reason="the public data is not here: no ZeroEval GSM at ../shared/data")
def test_zeroeval_does_not_separate_its_best_and_does_separate_a_small_model() -> None:
    """44 models, 1,319 items of GSM8K (WildEval/ZeroEval): what the joint intervals of all 946 pairs say."""
    table = pd.read_parquet(ZEROEVAL)
    pairs = all_pairs(table, min_coverage=0)
    assert len(pairs) == 946
    apart = {frozenset((row.a, row.b)): row.separated for row in pairs.itertuples()}
    best, *others = "claude-3-5-sonnet-20241022", "gpt-4o-2024-08-06", "o1-mini-2024-09-12", "gpt-4o-mini-2024-07-18"
    assert [bool(apart[frozenset((best, name))]) for name in others] == [False, False, True]
    assert not apart[frozenset(others[:2])]
    board = leaderboard(table).set_index("candidate")
    assert board.loc[[best, *others], "tied"].tolist() == [True, True, True, False]
