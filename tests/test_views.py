"""Tables and figures: escaped, and honest about what is free, unknown or not accepted."""

from __future__ import annotations

import itertools
import math
import re

import pandas as pd
import planted
import pytest

from workbench.errors import InputError
from workbench.evalset import Limits
from workbench.evidence import leaderboard
from workbench.routing import route
from workbench.views import disagreements, leaderboard_html, rejected, routes_html, telling_item, tradeoff
from workbench.views.figures import looks, png
from workbench.views.inline import bar, inlined
from workbench.views.tables import seconds, usd

SCRIPT = "<script>alert(1)</script>"


def test_names_that_are_markup_stay_text() -> None:
    table = planted.outcomes({SCRIPT: [1.0, 0.0]}, task=SCRIPT)
    policy = route(table, planted.models(), {SCRIPT: Limits(min_score=0.9)})
    for shown in (leaderboard_html(leaderboard(table), policy), routes_html(policy)):
        assert SCRIPT not in shown
        assert "&lt;script&gt;" in shown


def test_the_chosen_candidate_is_marked_with_its_class_and_status() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 200), "b": planted.right(0.2, 200)})
    policy = route(table, planted.models(a="local", b="local"), {"planted": Limits(min_score=0.5)})
    assert leaderboard_html(leaderboard(table), policy).count("open (decided)") == 1
    assert list(rejected(policy)["candidate"]) == ["b"]


@pytest.mark.parametrize(
    ("value", "shown"), [(0, "free"), (math.nan, "unknown"), (math.inf, "none accepted"), (0.00021, "$0.00021")]
)
def test_costs_read_as_what_they_are(value: float, shown: str) -> None:
    assert usd(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.0002, "<0.001 s"), (1.234, "1.23 s"), (math.nan, "unknown")])
def test_times_have_a_unit(value: float, shown: str) -> None:
    assert seconds(value) == shown


def test_the_figure_shows_free_and_paid_candidates_and_rings_the_chosen() -> None:
    scores = {"free": planted.right(0.6, 80), "paid": planted.right(0.9, 80), "never": [0.0] * 80, "odd": [1.0] * 80}
    table = planted.outcomes(scores, {"free": 0.0, "paid": 0.002, "never": 0.001, "odd": None})
    policy = route(table, planted.models(free="local", paid="local"), {"planted": Limits(min_score=0.5)})
    figure = tradeoff(leaderboard(table), policy)
    axis = figure.axes[0]
    assert axis.get_xscale() == "log"
    assert "USD" in axis.get_xlabel() and "score" in axis.get_ylabel()
    assert "latency" in figure.axes[1].get_xlabel()
    shown = set(axis.get_legend_handles_labels()[1]) - {"no other is better for less"}
    assert shown == {"free", "paid"}  # no answer accepted, and an unknown cost, have no place on the axis
    assert "1 not shown" in axis.get_title() or "2 not shown" in axis.get_title()
    assert png(figure).startswith(b"\x89PNG")


def test_rings_are_explained_and_say_the_class_where_there_are_two_routes() -> None:
    scores = {"far": planted.right(0.9, 80), "near": planted.right(0.5, 80)}
    table = planted.outcomes(scores, {"far": 0.002, "near": 0.001})
    models, limits = planted.models(far="hosted", near="local"), {"planted": Limits(min_score=0.3)}
    one = tradeoff(leaderboard(table), route(table, models, limits))
    assert [text.get_text() for text in one.legends[0].get_texts()][-1] == "chosen"
    assert not one.axes[0].texts and "chosen" in one.axes[0].get_legend_handles_labels()[1]
    closed = [index % 2 == 0 for index in range(80)]
    items = [["internal", "restricted"][each] for each in closed]
    table = planted.outcomes(scores, {"far": 0.002, "near": 0.001}, sensitivity=items)
    table = table[(table["model"] != "far") | (table["sensitivity"] == "internal")]
    two = tradeoff(leaderboard(table), route(table, models, limits))
    told = {text.get_text(): text.xy[1] for text in two.axes[0].texts}
    board = leaderboard(table).set_index("candidate")["score"]
    assert told == {"open": board["far"], "restricted": board["near"]}
    assert "chosen" not in {text.get_text() for text in tradeoff(leaderboard(table)).legends[0].get_texts()}


def test_bars_are_drawn_without_a_style_sheet_and_chosen_rows_are_bold() -> None:
    table = planted.outcomes({"a": planted.right(0.9, 80), "b": planted.right(0.2, 80)})
    page = leaderboard_html(leaderboard(table), route(table, planted.models(a="local", b="local"), {}))
    assert "<style" not in page  # JupyterLab leaves it out of what it does not trust
    assert re.search(r"<td[^>]*><strong>a</strong></td>", page) and not re.search(r"<strong>b</strong>", page)
    for row in re.findall(r'<span class="bar".*?</td>', page):
        widths = [int(width) for width in re.findall(r'class="(?:rest|band)" style="[^"]*width:(\d+)px', row)]
        assert sum(widths) + 2 == 110  # with the line at the estimate


def test_classes_become_styles_on_the_elements() -> None:
    page = inlined("<tr class=on><td class='w f' style=\"color:red\"><u title='x y'>a</u></td></tr><tr><td>")
    assert re.search(
        r'max-width:52em.*max-width:26em[^"]*;color:red"><strong><u title=.x y. style="text-decoration:none', page
    )
    assert "</u></strong></td>" in page and page.endswith('white-space:nowrap">')


@pytest.mark.parametrize("ends", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.0, 0.5, 1.0), (0.98, 0.99, 1.0)])
def test_a_bar_is_as_wide_wherever_its_interval_lies(ends: tuple[float, float, float]) -> None:
    drawn = bar(*ends)
    assert sum(map(int, re.findall(r"width:(\d+)px", drawn))) + 2 == 110 and bar(math.nan, 0.5, 1.0) == ""


def test_disagreements_come_largest_first_and_hide_restricted_text() -> None:
    table = planted.outcomes(
        {"a": [1.0, 1.0, 0.5], "b": [1.0, 0.0, 0.3]}, sensitivity=["internal", "restricted", "internal"]
    )
    table["output"] = "a secret"
    apart = disagreements(table, "planted", "a", "b")
    assert list(apart["item_id"]) == ["restricted-1", "internal-2"]
    assert apart["output a"].tolist() == ["[restricted] 8 characters", "a secret"]
    assert telling_item(table, "planted", "a", "b") == "internal-2"


def test_disagreements_of_a_candidate_that_is_not_there_are_an_error() -> None:
    with pytest.raises(InputError, match="no outcomes of 'c'"):
        disagreements(planted.outcomes({"a": [1.0]}), "planted", "a", "c")


def test_the_figure_has_rows_of_four_tasks_and_names_whoever_is_in_it() -> None:
    names = ["_hidden", "$\\frac{", *(f"m{n}" for n in range(12))]
    tables = [planted.outcomes({name: planted.right(0.5, 30) for name in names}, task=f"t{n}") for n in range(5)]
    figure = tradeoff(leaderboard(pd.concat(tables)))
    assert figure.get_size_inches()[0] < 20 and len(figure.axes) == 16
    (legend,) = figure.legends
    assert len(legend.get_texts()) == len(names) + 1
    assert "_hidden" in {text.get_text().strip() for text in legend.get_texts()}
    assert len(set(looks(names).values())) == len(names)  # nobody looks like another one
    assert png(figure).startswith(b"\x89PNG")


def test_answers_in_no_time_have_a_place_on_the_axis() -> None:
    figure = tradeoff(leaderboard(planted.outcomes({"a": [1.0] * 30}, latency_s=0.0)))
    assert png(figure).startswith(b"\x89PNG")  # warnings are errors here


@pytest.mark.parametrize(
    ("costs", "least"),
    [
        ([0.000017, 0.000021, 0.00002], 2),  # less than a decade
        ([0.00017, 0.002, 0.0009], 3),
        ([0.000017, 0.002, 0.2], 3),
        ([0.000017, 0.0, 0.00002], 3),
        ([0.000017, 0.002, 0.2, 0.0], 3),
        ([0.0003], 2),
        ([0.0, 0.0], 1),
        ([None, None], 0),
    ],
)
def test_costs_can_be_read_on_their_axis(costs: list[float | None], least: int) -> None:
    names = [f"m{number}" for number in range(len(costs))]
    scores = {name: planted.right(0.8 - 0.1 * number, 60) for number, name in enumerate(names)}
    figure = tradeoff(leaderboard(planted.outcomes(scores, dict(zip(names, costs, strict=True)))))
    png(figure)
    axis = figure.axes[0]
    labels = axis.get_xticklabels()
    told = [label.get_text() for label in labels]
    assert least <= len(told) <= 6 and len(set(told)) == len(told)
    assert ("free" in told) == (0.0 in costs)  # else it has no place there
    for name, at in zip(told, axis.get_xticks(), strict=True):
        assert name == "free" or float(name.removeprefix("$")) == pytest.approx(at, rel=0.01)
    boxes = [label.get_window_extent() for label in labels]
    assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
    points = [line.get_xdata()[0] for line in axis.lines if line.get_marker() not in ("None", "|")]
    if points and 0.0 not in costs:  # numbers stand below the points, not beside them
        assert axis.get_xticks()[0] < max(points) and axis.get_xlim()[0] > min(points) / 3
