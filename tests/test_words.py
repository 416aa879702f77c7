"""Counts in sentences: 1 is not several."""

from __future__ import annotations

import pytest
from planted import models, outcomes, right

import workbench as wb
from workbench.export.proof import Landing, Proof
from workbench.routing import route
from workbench.views.tables import leaderboard_html, leaderboard_text
from workbench.words import counted


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((1, "item"), "1 item"),
        ((0, "item"), "0 items"),
        ((1200, "item", "", ","), "1,200 items"),
        ((1, "item is", "items are"), "1 item is"),
        ((2, "item is", "items are"), "2 items are"),
        ((1.04, "request", "", ".0f"), "1 request"),  # as it is written, not as it is
    ],
)
def test_the_words_go_with_the_count(given: tuple[float, str], said: str) -> None:
    assert counted(*given) == said


def test_one_item_is_told_as_one() -> None:
    table = outcomes({"a": [1.0], "b": [0.0]})
    board = wb.leaderboard(table)
    policy = route(table, models(a="local", b="local"))
    reason = policy.routes[0].reason
    assert "on 1 item," in reason and "1 item is too few to decide on" in reason
    told = [leaderboard_text(board), leaderboard_html(board, policy), policy.describe(rejected=True)]
    assert "planted: 1 item" in told[0] and "planted: 1 item" in told[1]
    assert not any("1 items" in text for text in told)


def test_one_cluster_is_told_as_one() -> None:
    table = outcomes({"a": right(0.5, 20), "b": right(0.6, 20)}).assign(cluster="one")
    told = leaderboard_text(wb.leaderboard(table))
    assert "only 1 cluster: too few" in told


def test_one_request_that_landed_is_told_as_one() -> None:
    landed = Landing("t", "open", "t", {}, "a", {"router": "a"})
    said = "verified with x 1: 1 request landed where the policy says, 1 was rightly refused"
    assert str(Proof(by={"x": "1"}, routes=[landed], refused=["nobody"])) == said
    assert "2 requests landed" in str(Proof(routes=[landed, landed]))
