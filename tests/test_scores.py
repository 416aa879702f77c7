"""Prepared outcomes: items that ask the very same are one cluster, and no further evidence."""

from __future__ import annotations

import numpy as np
import pandas as pd
import planted
import pytest

from workbench.evidence import leaderboard
from workbench.privacy import redact
from workbench.routing import route
from workbench.scores import prepare


def asked(prompts: list[str | None], **columns: object) -> pd.DataFrame:
    """One candidate's outcomes with these prompts, right on every other one."""
    table = planted.outcomes({"a": [float(n % 2) for n in range(len(prompts))]})
    return table.assign(prompt=prompts, **columns)


def test_items_with_one_prompt_are_one_cluster() -> None:
    board = leaderboard(asked(["user: one", "user: two", "user: one", "user: three"])).iloc[0]
    assert (board["n"], board["clusters"]) == (4, 3)


def test_where_no_prompt_comes_twice_nothing_is_clustered() -> None:
    board = leaderboard(asked(["user: one", "user: two", None, None])).iloc[0]
    assert np.isnan(board["clusters"])


def test_a_cluster_that_is_given_stays() -> None:
    clusters = ["x", None, "y", None]
    table = prepare(asked(["same", "same", "other", "same"], cluster=clusters))
    found = table.set_index("item_id")["cluster"].tolist()
    assert found[0] == "x" and found[2] == "y" and found[1] == found[3] not in ("x", "y", None)


def test_redacted_prompts_of_one_length_are_not_the_same_question() -> None:
    hidden = [str(redact(text, "restricted")) for text in ("one", "two", "six")]
    assert np.isnan(leaderboard(asked(list(hidden))).iloc[0]["clusters"])


@pytest.mark.parametrize("prompts", [[""] * 4, ["a template's name"] * 4, ["", "", "user: one", "user: two"]])
def test_what_says_nothing_of_an_item_is_no_question(prompts: list[str | None]) -> None:
    assert np.isnan(leaderboard(asked(prompts)).iloc[0]["clusters"])


def test_another_task_with_the_same_prompt_is_another_question() -> None:
    table = pd.concat([asked(["one", "two"]), asked(["one", "two"]).assign(task="other")])
    assert leaderboard(table)["clusters"].isna().all()


def test_the_rows_of_candidates_without_prompts_are_clustered_as_the_others() -> None:
    rules = planted.outcomes({"rules": [1.0, 0.0, 1.0, 0.0]}).assign(prompt=None)
    board = leaderboard(pd.concat([asked(["one", "two", "one", "two"]), rules]))
    assert board["clusters"].tolist() == [2, 2]


def test_a_set_repeated_ten_times_decides_no_more_than_the_set_itself() -> None:
    """14 right of 20 against 9 decide nothing, though the same items ten times over would look as if they did."""
    good, bad = [1.0] * 14 + [0.0] * 6, [0.0] * 11 + [1.0] * 9
    prompts = [f"user: {n}" for n in range(20)] * 10
    table = planted.outcomes({"good": good * 10, "bad": bad * 10})
    alike = table.assign(prompt=prompts * 2)
    assert route(table, planted.models(good="local", bad="local")).routes[0].status == "decided"
    assert route(alike, planted.models(good="local", bad="local")).routes[0].status == "provisional"
