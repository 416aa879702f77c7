"""Tables of any origin in the views: odd names, four columns, limits between two steps, a policy from elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import planted
import pytest
from test_dashboard import ask, heard, table
from test_routing_policies import LIMITS, MODELS, request_table

from workbench.evalset import Limits
from workbench.routing import load_policy, route
from workbench.routing.moved import Moved
from workbench.views.dashboard import Dashboard
from workbench.views.dashboard.sliders import Sliders
from workbench.views.exporting import write_out
from workbench.views.items import SHOWS
from workbench.views.notebook import static
from workbench.views.shown import Shown

NAMES = [("$\\frac{", "_x"), ("<b>", "a/../b&\"'"), ("n" * 200, "m" * 200), ("模型", "نموذج"), ("a\nb", "c\td")]


@pytest.mark.parametrize("names", NAMES, ids=["formula", "markup", "long", "scripts", "control"])
def test_tables_with_odd_names_are_shown(names: tuple[str, str]) -> None:
    outcomes = planted.outcomes({name: planted.right(0.6, 12) for name in names}, task=names[0])
    odd = Shown.of(outcomes)
    page = "".join(content for kind, content in static(odd) if kind == "html")
    assert "<b>" not in page
    Dashboard(odd)


@pytest.mark.parametrize("n", [1, 12])
@pytest.mark.parametrize("score", [0.0, 1.0, float("nan")])
def test_tables_of_four_columns_are_shown(n: int, score: float) -> None:
    rows = [{"task": 7, "item_id": at, "model": model, "score": score} for at in range(n) for model in (1, 2)]
    bare = Shown.of(pd.DataFrame(rows))
    assert list(static(bare))
    own = Dashboard(bare)
    told = heard(own.pager)
    for show_ in SHOWS:
        ask(own.pager, kind="select", show=show_)
    json.dumps(
        [told, own.where.part.state, own.where.part.map, own.sliders.figure.state, own.board.rows], allow_nan=False
    )


def test_a_minimum_between_two_steps_of_its_slider_is_not_moved_with_another_limit() -> None:
    limits = {"planted": Limits(min_score=1 / 3, margin=0.037, p95_latency_s=1.2345678)}
    catalog = planted.models(big="hosted", small="hosted", tiny="local")
    policy = route(table(), catalog, limits, policies=("per_task",))
    sliders = Sliders(Moved(table(), catalog, limits, policy))
    sliders.margin.value = 0.2
    assert len(sliders.moved.by_hand("planted", "open")) == 1
    sliders.margin.value = 0.037
    assert sliders.moved.policy() == policy
    sliders.moved.reprice("big", 0.7)  # by a cell, to what is no step
    sliders._pick()
    assert sliders.price.value == 0.7


def test_the_router_of_a_policy_that_was_read_is_written_beside_the_export(project: Path) -> None:
    outcomes = request_table(True)
    policy = route(outcomes, MODELS, LIMITS)
    assert policy.routes[0].router is not None
    read = load_policy(policy.save(project / "routing.yaml"))
    write_out(Moved(outcomes, MODELS, LIMITS, read).policy(), "json", "exports", MODELS)
    router = load_policy(project / "exports" / "routing.yaml").router("planted", "open")
    assert router.choose("a refund for order 17, with proof") == "strong"
