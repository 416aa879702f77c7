"""Answers that a judge or a scorer failed on: they count as missing, for every reader of the outcome table."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import planted
import pytest
from conftest import item, write_evalset

import workbench as wb
from workbench.audit import audit
from workbench.classification import set_figures
from workbench.evalset import load_evalset
from workbench.evalset.spec import Limits
from workbench.evidence import all_pairs, by_slice, compare, leaderboard
from workbench.outcomes import UNSCORED
from workbench.routing import frontier, route
from workbench.routing.cell import cell_of
from workbench.scores import Grid, prepare, scores_of, with_score
from workbench.tracking.traces import _assessments
from workbench.views.dashboard import Dashboard
from workbench.views.items import Items
from workbench.views.notebook import static
from workbench.views.shown import Shown
from workbench.views.side_by_side import disagreements
from workbench.views.where import heat

N = 60
MODELS = planted.models(good="local", poor="local", other="local")


def table(silent: dict[str, range], n: int = N, kind: str = "judge", **columns: Any) -> pd.DataFrame:
    """Three candidates; on some items of a candidate a judge or a scorer failed."""
    rng = np.random.default_rng(0)
    scores = {"good": [1.0] * n, "poor": [1.0] * n, "other": (rng.random(n) < 0.7).astype(float).tolist()}
    made = planted.outcomes({name: scores[name] for name in ("good", "poor", "other")}, **columns)
    made["error_class"] = None
    made["output"] = np.where(made["score"] > 0, "red", "blue")
    made["attempts"], made["slice"] = 1, [{"half": "odd" if k % 2 else "even"} for k in range(n)] * 3
    made["metric.class.label.expected"], made["metric.class.label.given"] = 1.0, made["score"]
    for name, items in silent.items():
        lost = (made["model"] == name) & made["item_id"].isin([f"internal-{k}" for k in items])
        made.loc[lost, ["score", "accepted", "error_class"]] = [math.nan, False, kind]
    return made


def unscored(outcomes: pd.DataFrame) -> pd.Series[bool]:
    return outcomes["score"].isna() & outcomes["error_class"].isin(UNSCORED)


@pytest.mark.parametrize("kind", ["judge", "scorer"])
def test_a_judges_failure_is_not_the_candidates(kind: str) -> None:
    board = leaderboard(table({"poor": range(26)}, kind=kind)).set_index("candidate")
    poor = board.loc["poor"]
    assert (poor["score"], poor["n"], poor["errors"]) == (1.0, N - 26, 0)
    assert poor["accepted"] == 1 and poor["cost_per_accepted_usd"] == board.loc["good", "cost_per_accepted_usd"]
    assert poor["coverage"] == pytest.approx(1 - 26 / N) and poor["rank"] == "" and not poor["tied"]


@pytest.mark.parametrize("kind", ["connection", "refusal", "no_match", "bad_request", None])
def test_what_is_the_candidates_own_scores_0_as_before(kind: str | None) -> None:
    board = leaderboard(table({"poor": range(15)}, kind=str(kind)).replace({"error_class": {"None": None}}))
    poor = board.set_index("candidate").loc["poor"]
    assert (poor["score"], poor["n"], poor["coverage"], poor["errors"]) == (0.75, N, 1.0, 15)


def test_a_score_that_is_there_counts_whatever_the_class() -> None:
    """The table of another tool may tell a judge's failure of a further figure."""
    outcomes = table({}).assign(error_class="judge")
    assert leaderboard(outcomes)["n"].tolist() == [N] * 3


def test_too_many_failures_of_a_judge_make_a_candidate_not_eligible() -> None:
    few, many = (route(table({"poor": range(k)}), MODELS).routes[0] for k in (6, 7))
    assert "has a score" not in few.evidence.rejected.get("poor", "")
    assert many.evidence.rejected["poor"] == "has a score on only 88% of the items; 90% are needed to compare"
    asked = table({"poor": range(7)})
    missing = route(asked[~unscored(asked)], MODELS).routes[0]
    assert missing.evidence.rejected["poor"].startswith("asked only 88%")


def audited(outcomes: pd.DataFrame) -> Any:
    """What the audit of the eval set says by outcomes."""
    items = [item(f"internal-{k}", f"thing {k}", "red") for k in range(N)]
    report = audit(load_evalset(write_evalset(Path.cwd(), "planted", items)), outcomes)
    return [each for each in report.findings if each.check in ("hardness", "label errors")], report.power


READERS: dict[str, Callable[[pd.DataFrame], Any]] = {
    "leaderboard": leaderboard,
    "leaderboard by class": lambda outcomes: leaderboard(outcomes, by="class"),
    "compare": lambda outcomes: compare(outcomes, "good", "poor"),
    "all_pairs": all_pairs,
    "by_slice": lambda outcomes: by_slice(outcomes, "half"),
    "heat": heat,
    "disagreements": lambda outcomes: disagreements(outcomes, "planted", "poor", "other"),
    "set_figures": set_figures,
    "frontier": lambda outcomes: frontier(outcomes, MODELS).table,
    "audit": audited,
    **{
        f"route by {objective}": lambda outcomes, objective=objective: (
            route(outcomes, MODELS, limits={"planted": Limits(min_score=0.5, p95_latency_s=1)}, objective=objective)
            .routes[0]
            .model_dump()
        )
        for objective in ("cost", "score", "latency")
    },
    "route by utility": lambda outcomes: (
        route(outcomes, MODELS, objective={"score": 1.0, "accepted": 1.0, "cost": 1.0}).routes[0].model_dump()
    ),
}


# What a judge failed on has its classes, see below.
@pytest.mark.parametrize(
    ("reader", "kind"),
    [(name, kind) for name in READERS for kind in ("judge", "scorer") if (name, kind) != ("set_figures", "judge")],
)
@pytest.mark.parametrize("clustered", [False, True])
def test_every_reader_takes_such_rows_for_missing_ones(reader: str, kind: str, clustered: bool) -> None:
    """What it says is what it says of the table without them."""
    outcomes = table({"poor": range(5), "other": range(3, 8)}, kind=kind)
    if clustered:
        outcomes["cluster"] = [f"c{k // 2}" for k in range(N)] * 3
    if kind == "scorer":
        outcomes.loc[unscored(outcomes), [name for name in outcomes if name.startswith("metric.")]] = math.nan
    told, missing = READERS[reader](outcomes), READERS[reader](outcomes[~unscored(outcomes)])
    if isinstance(told, pd.DataFrame):
        pd.testing.assert_frame_equal(told, missing)
    else:
        assert told == missing


def test_classes_are_known_where_only_the_judge_failed() -> None:
    outcomes = table({"poor": range(20)})
    found = set_figures(outcomes)
    assert (found.loc[found["candidate"] == "poor", "n"] == N).all()


@pytest.mark.parametrize("kind", ["judge", "scorer"])
def test_a_cell_of_routing_has_them_as_not_asked(kind: str) -> None:
    outcomes = prepare(table({"poor": range(10), "good": range(5), "other": range(5)}, kind=kind))
    cell = cell_of(outcomes, "planted", "open", MODELS)
    assert len(cell.items) == N and np.isnan(cell.mean.score[:, cell.candidates.index("poor")]).sum() == 10
    assert np.isnan(cell.mean.cost_usd).sum() == np.isnan(cell.mean.accepted).sum() == 20
    assert cell.refused == {"poor": "asked only 83% of the items"}
    assert cell.average("score")[cell.candidates.index("poor")] == 1.0


@pytest.mark.parametrize("repeats", [1, 3])
def test_a_repeat_that_failed_leaves_the_others(repeats: int) -> None:
    parts = [table({"poor": range(20)} if n == 0 else {}).assign(repeat=n) for n in range(repeats)]
    scores = scores_of(prepare(pd.concat(parts)))
    own = scores.column("poor")
    assert np.isnan(own).sum() == (20 if repeats == 1 else 0) and np.nanmin(own) == 1.0


# Where nothing at all was scored.

EVERYWHERE = {"good": range(N), "poor": range(N), "other": range(N)}
ONE_ITEM = {"good": range(1), "poor": range(1), "other": range(1)}
ONE_CANDIDATE = {"poor": range(N)}


@pytest.mark.parametrize("silent", [EVERYWHERE, ONE_ITEM, ONE_CANDIDATE, {"good": range(N - 1), "poor": range(N)}])
@pytest.mark.parametrize("reader", [name for name in READERS if name != "frontier"])
def test_no_reader_breaks_where_nothing_has_a_score(reader: str, silent: dict[str, range]) -> None:
    READERS[reader](table(silent))


@pytest.mark.parametrize("silent", [ONE_ITEM, ONE_CANDIDATE])
def test_a_frontier_is_drawn_of_what_has_a_score(silent: dict[str, range]) -> None:
    frontier(table(silent), MODELS)


def test_a_candidate_without_any_score_is_listed_and_not_eligible() -> None:
    board = leaderboard(table(ONE_CANDIDATE)).set_index("candidate")
    poor = board.loc["poor"]
    assert (poor["n"], poor["coverage"]) == (0, 0.0) and math.isnan(poor["score"]) and poor["rank"] == ""
    assert math.isnan(poor["cost_per_accepted_usd"])
    assert "poor" in route(table(ONE_CANDIDATE), MODELS).routes[0].evidence.rejected


def test_a_silent_judge_decides_nothing() -> None:
    found = route(table(EVERYWHERE), MODELS).routes[0]
    assert found.status == "infeasible" and set(found.evidence.rejected) == {"good", "poor", "other"}
    assert leaderboard(table(EVERYWHERE))["rank"].tolist() == [""] * 3


def test_an_item_that_nobody_has_a_score_on_lowers_everybodys_coverage() -> None:
    silent = dict.fromkeys(("good", "poor", "other"), range(12))
    assert leaderboard(table(silent))["coverage"].tolist() == [0.8] * 3


# What is shown of them.


def test_an_item_says_that_there_is_no_score() -> None:
    outcomes = table({"poor": range(1)})
    found = Items(Shown.of(outcomes, models=MODELS))
    answers = {each["name"]: each for each in found.look("planted", "internal-0", ["good", "poor"])["answers"]}
    assert answers["poor"]["verdict"] == "no score: the judge failed" and answers["poor"]["parts"] == [["red", False]]
    assert answers["good"]["verdict"].startswith("score 1.00")
    for show in ("no answer", "disagreement", "a right, b wrong"):
        assert "internal-0" not in found.select("planted", "good", "poor", show)


def test_of_repeats_one_with_a_score_is_shown() -> None:
    outcomes = pd.concat([table({"poor": range(1)}).assign(repeat=0), table({}).assign(repeat=1)])
    found = Items(Shown.of(outcomes, models=MODELS)).look("planted", "internal-0", ["poor"])["answers"][0]
    assert found["verdict"].startswith("score 1.00, accepted")


@pytest.mark.parametrize("silent", [EVERYWHERE, ONE_CANDIDATE, ONE_ITEM])
def test_all_views_are_made(silent: dict[str, range]) -> None:
    shown = Shown.of(table(silent), models=MODELS)
    pages = [content for kind, content in static(shown) if kind == "html"]
    assert len(pages) > 2 and "poor" in pages[0]
    assert "nan" not in "".join(pages).casefold()
    Dashboard(shown, "exports")


def test_a_trace_has_no_score_where_there_is_none() -> None:
    pytest.importorskip("mlflow")
    rows = table({"poor": range(1)}).assign(split="test")
    for _, row in rows[rows["item_id"] == "internal-0"].iterrows():
        known = {str(name): value for name, value in row.dropna().items() if name != "slice"}
        made = {each.name: getattr(each, "value", None) for each in _assessments(known, "r", "{}")}
        assert ("score" in made) == ("accepted" in made) == (row["model"] != "poor")
        assert made["error_class"] == ("judge" if row["model"] == "poor" else "none")


def test_the_quantization_report_leaves_them_out_and_says_so() -> None:
    report = wb.quantization_report(table({"poor": range(4)}, kind="scorer"), "good", candidates=["poor"])
    row = report.table[report.table["role"] == "candidate"].iloc[0]
    assert (row["n"], row["lost"], row["score"]) == (N - 4, 4, 1.0)
    assert any("4 scorer" in note for note in report.notes)
    assert row["cost_per_accepted_usd"] == pytest.approx(0.001)


def test_rows_with_a_score_are_all_where_nothing_failed() -> None:
    rows = prepare(table({}))
    assert with_score(rows) is rows and Grid(rows).unscored.sum() == 0
