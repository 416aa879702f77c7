"""What a route is chosen for, the hard limits beside, and what if."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pandas as pd
import planted
import pytest

from workbench.catalog import Machine, Model, Models
from workbench.cli import main
from workbench.errors import InputError
from workbench.evalset import Limits
from workbench.outcomes.table import write_outcomes
from workbench.routing import Constraints, Policy, Route, load_policy, route, what_if
from workbench.routing.objective import loss, objective_of

N = 400
LIMITS = {"planted": Limits(min_score=0.5, margin=0.1)}
ONE = ("per_task",)


def only(policy: Policy) -> Route:
    assert len(policy.routes) == 1
    return policy.routes[0]


def three(**more: Any) -> pd.DataFrame:
    """One is the best, one the cheapest, one the fastest; all within the margin."""
    base = planted.right(0.9, N)
    better = [1.0 if index < 16 else value for index, value in enumerate(base)]
    scores = {"best": better, "cheap": base, "fast": base}
    cost = {"best": 0.01, "cheap": 0.001, "fast": 0.005}
    return planted.outcomes(scores, cost, latency_s={"best": 1.0, "cheap": 2.0, "fast": 0.1}, **more)


MODELS = planted.models(best="hosted", cheap="private", fast="hosted")


@pytest.mark.parametrize(
    ("objective", "wanted"),
    [
        ("cost", "cheap"),
        ("score", "best"),
        ("latency", "fast"),
        ({"accepted": 0.01}, "cheap"),  # 0.01 × 0.9 − 0.001 is more than what the others leave
        ({"accepted": 10.0}, "best"),  # an accepted answer is worth far more than any of them costs
        ({"accepted": 0.01, "latency": 0.01}, "fast"),
    ],
)
def test_each_objective_chooses_its_own(objective: Any, wanted: str, tmp_path: Path) -> None:
    policy = route(three(), MODELS, LIMITS, objective, policies=ONE)
    assert (only(policy).status, only(policy).chain[0].model) == ("decided", wanted)
    assert load_policy(policy.save(tmp_path / "routing.yaml")) == policy


def test_a_utility_that_the_items_do_not_tell_apart_is_provisional() -> None:
    table = planted.outcomes({"a": planted.right(0.8, 60), "b": planted.right(0.75, 60, 1)})
    limits = {"planted": Limits(min_score=0.5, margin=0.01)}
    assert only(route(table, planted.models(a="local", b="local"), limits, {"accepted": 1})).status == "provisional"


def test_losses_by_hand() -> None:
    assert loss("cost", 0.9, 0.8, 0.004, 1, 1) == pytest.approx(0.005)
    assert loss("cost", 0, 0.0, 0.004, 1, 1) == math.inf
    utility = objective_of({"accepted": 0.05, "score": 0.1, "latency": 0.001, "cost": 2})
    assert loss(utility, 0.9, 0.8, 0.004, 9, 3) == pytest.approx(0.008 - 0.04 - 0.09 + 0.003)
    assert math.isnan(loss(utility, 0.9, 0.8, math.nan, 9, 3))
    assert loss(objective_of({"accepted": 0.05, "cost": 0}), 0.9, 0.8, math.nan, 9, math.nan) == pytest.approx(-0.04)


def test_zones_and_a_budget_are_hard_limits() -> None:
    inside = only(route(three(), MODELS, LIMITS, "score", constraints=Constraints(zones=["private"]), policies=ONE))
    assert [link.model for link in inside.chain] == ["cheap"]
    assert "zone hosted" in inside.evidence.rejected["best"]
    # 100,000 requests a month: 1,000, 100 and 500 USD.
    bounds = Constraints(traffic_per_month=1e5, budget_usd_per_month=600)
    bounded = only(route(three(), MODELS, LIMITS, "score", constraints=bounds, policies=ONE))
    assert bounded.chain[0].model in ("cheap", "fast")
    assert "$1,000.00 a month at 100,000 requests, over the budget of $600.00" in bounded.evidence.rejected["best"]
    none = only(route(three(), MODELS, LIMITS, constraints=bounds.model_copy(update={"budget_usd_per_month": 1.0})))
    assert (none.status, none.chain) == ("infeasible", [])
    with pytest.raises(InputError, match="takes the requests a month"):
        route(three(), MODELS, LIMITS, constraints=Constraints(budget_usd_per_month=5))


def test_a_chain_that_hangs_on_one_provider_says_so() -> None:
    table = planted.outcomes({"a": [1.0] * 60, "b": [1.0] * 60})
    assert "hangs on one provider: models.example" in only(route(table, planted.models(a="hosted", b="private"))).reason
    assert "hangs on" not in only(route(table, planted.models(a="hosted", b="local"))).reason


def hosted(name: str, read: float, written: float, **more: Any) -> Model:
    price = {"input_usd_per_mtok": read, "output_usd_per_mtok": written}
    entry = {"id": name, "engine": "openai", "model": name, "zone": "hosted", "base_url": f"https://{name}.example/v1"}
    return Model.model_validate({**entry, "price": price, **more})


CATALOG = Models({"big": hosted("big", 2.0, 8.0), "small": hosted("small", 0.1, 0.4)}, Machine(usd_per_hour=0.5))


def priced(big: float = 0.95, small: float = 0.94, n: int = N) -> pd.DataFrame:
    """1,000 tokens in and 100 out a request: 0.0028 USD of big, 0.00014 of small."""
    scores = {"big": planted.right(big, n), "small": planted.right(small, n)}
    table = planted.outcomes(scores, {"big": 0.0028, "small": 0.00014})
    return table.assign(input_tokens=1000, output_tokens=100)


def test_the_price_at_which_a_route_tips_over_is_exact() -> None:
    report = what_if(priced(), CATALOG, LIMITS, traffic_per_month=1e6)
    assert report.changes["changed"].tolist() == [False]
    assert report.changes.iloc[0]["month_after_usd"] == pytest.approx(140, rel=1e-3)
    row = report.tipping.set_index("model").loc["small"]
    # Equal where small's 0.00014 × f / 0.94 is big's 0.0028 / 0.95: at f = 19.79 of $0.127 a million tokens.
    assert row["now"] == pytest.approx(0.14 / 1.1)
    assert row["until"] == pytest.approx(0.14 / 1.1 * (0.0028 / 0.95) / (0.00014 / 0.94))
    assert "stays with small until small costs more than $2.52 a million tokens" in row["said"]
    # On both sides of it the decision is what the sentence says.
    factor = row["until"] / row["now"]
    for scale, wanted in ((factor * 0.999, "small"), (factor * 1.001, "big")):
        other = what_if(priced(), CATALOG, LIMITS, prices={"small": (0.1 * scale, 0.4 * scale)})
        assert other.after.routes[0].chain[0].model == wanted


def test_a_price_does_not_tip_what_quality_decides() -> None:
    report = what_if(priced(small=0.6), CATALOG, LIMITS)
    assert report.after.routes[0].chain[0].model == "big"
    assert report.tipping["until"].tolist() == [math.inf]
    assert "no price changes it" in report.describe()


def test_without_a_model_or_its_provider_the_route_is_another_one() -> None:
    for asked in ({"without": ["small"]}, {"without_providers": ["small.example"]}):
        report = what_if(priced(), CATALOG, LIMITS, **asked)
        assert report.changes.iloc[0][["before", "after", "changed"]].tolist() == ["small", "big", True]
    with pytest.raises(InputError, match="nothing is left"):
        what_if(priced(), CATALOG, LIMITS, without=["small", "big"])
    with pytest.raises(InputError, match=r"no model is at 'x'. Providers are: big\.example, small\.example"):
        what_if(priced(), CATALOG, LIMITS, without_providers=["x"])
    with pytest.raises(InputError, match="there is no model 'x'"):
        what_if(priced(), CATALOG, LIMITS, without=["x"])


def test_outcomes_without_tokens_have_no_cost_at_another_price() -> None:
    table = priced().drop(columns="output_tokens")
    report = what_if(table, CATALOG, LIMITS, prices={"small": (0.2, 0.8)})
    assert (
        report.notes[0]
        == "small: 400 of 400 outcomes have no count of tokens, or no listed price: their cost is unknown."
    )
    assert report.changes.iloc[0]["status"] == "provisional"


def test_a_route_of_several_models_says_that_no_tipping_price_is_computed() -> None:
    cheap = planted.right(0.7, N, 1)
    table = planted.outcomes({"small": cheap, "big": planted.right(0.95, N, 2)}, {"small": 0.00014, "big": 0.0028})
    table = table.assign(input_tokens=1000, output_tokens=100)
    table.loc[table["model"] == "small", "format_ok"] = [score == 1 for score in cheap]
    report = what_if(table, CATALOG, LIMITS, policies=("per_task", "cascade"))
    assert report.changes.iloc[0]["after"] == "small → big (cascade by format from 1)"
    assert "no tipping price is computed: planted (open)" in report.describe()
    # At twenty times the price the cheap model is no longer worth asking first.
    dear = what_if(table, CATALOG, LIMITS, policies=("per_task", "cascade"), prices={"small": (2.0, 8.0)})
    assert dear.changes.iloc[0]["after"] == "big"


def test_a_date_takes_the_listed_prices_of_that_date() -> None:
    """o3 went from 10 and 40 USD a million tokens to 2 and 8 on 10 June 2025."""
    listed = Model.model_validate(
        {"id": "o3", "engine": "openai", "model": "o3", "zone": "hosted", "base_url": "https://api.openai.com/v1"}
        | {"price": {"genai_prices": "openai"}}
    )
    catalog = Models({"o3": listed, "small": hosted("small", 5.0, 20.0)})
    scores = {"o3": planted.right(0.95, N), "small": planted.right(0.95, N)}
    table = planted.outcomes(scores, {"o3": 0.0028, "small": 0.007}).assign(input_tokens=1000, output_tokens=100)
    report = what_if(table, catalog, LIMITS, price_date="2025-01-31")
    assert report.changes.iloc[0][["before", "after"]].tolist() == ["o3", "small"]
    assert "small: models.yaml states its price, so a date does not change it." in report.notes
    assert what_if(table, catalog, LIMITS, price_date="2025-07-31").after.routes[0].chain[0].model == "o3"
    with pytest.raises(InputError, match="is not a date"):
        what_if(table, catalog, LIMITS, price_date="soon")


def test_two_price_sources_that_disagree_are_a_band() -> None:
    catalog = Models(
        {
            "o3": hosted("o3", 10.0, 40.0, base_url="https://api.openai.com/v1"),
            "small": hosted("small", 5.0, 20.0),
        }
    )
    scores = {"o3": planted.right(0.95, N), "small": planted.right(0.95, N)}
    table = planted.outcomes(scores, {"o3": 0.014, "small": 0.007}).assign(input_tokens=1000, output_tokens=100)
    report = what_if(table, catalog, LIMITS, price_date="2025-07-31")
    band = report.bands.iloc[0]
    assert (band["model"], band["routes"]) == ("o3", ["planted (open)"])
    assert band["low"] == pytest.approx(2.8 / 1.1) and band["high"] == pytest.approx(14 / 1.1)
    assert "disagree" in report.describe()


def local(name: str) -> Model:
    return Model.model_validate({"id": name, "engine": "llamacpp", "model": "weights.gguf"})


def test_a_machine_pays_from_some_traffic_on() -> None:
    catalog = Models({"here": local("here"), "big": hosted("big", 2.0, 8.0)}, Machine(usd_per_hour=0.5))
    scores = {"here": planted.right(0.95, N), "big": planted.right(0.95, N)}
    table = planted.outcomes(scores, {"here": 0.0001, "big": 0.0028}).assign(input_tokens=1000, output_tokens=100)
    row = what_if(table, catalog, LIMITS).break_even.iloc[0]
    assert row["requests_per_day"] == pytest.approx(12 / 0.0028)
    assert row["tokens_per_day"] == pytest.approx(12 / 0.0028 * 1100)
    # At $10 a million tokens at full load one machine manages 1.2 million tokens a day: too few.
    slow = what_if(table, catalog, LIMITS, local_usd_per_mtok={"here": 10.0})
    assert "never pays" in slow.break_even.iloc[0]["said"]
    assert slow.after.routes[0].chain[0].model == "big"


def test_the_commands_say_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = write_outcomes(priced(), tmp_path / "outcomes.parquet")
    models = tmp_path / "models.yaml"
    models.write_text(
        "schema: 1\nmodels:\n"
        + "".join(
            f"  {name}: {{engine: openai, model: {name}, zone: hosted, base_url: 'https://{name}.example/v1', "
            f"price: {{input_usd_per_mtok: {read}, output_usd_per_mtok: {written}}}}}\n"
            for name, read, written in (("big", 2.0, 8.0), ("small", 0.1, 0.4))
        )
    )
    shared = [str(table), "--models-file", str(models)]
    assert main(["route", *shared, "--to", str(tmp_path / "routing.yaml"), "--policies", "per_task"]) == 0
    out = capsys.readouterr().out
    assert "planted (open): small → big  [decided]" in out and "not big: costs more" in out
    assert main(["what-if", *shared, "--price", "small=3:12", "--traffic", "1000/month"]) == 0
    out = capsys.readouterr().out
    assert "planted (open): small → big  [decided]; $2.80 a month, was $0.14" in out
    for bad, message in (
        (["--price", "small=x"], "is not a price"),
        (["--zones", "moon"], "no zone 'moon'"),
        (["--objective", "accepted=much"], "is not a weight"),
    ):
        assert main(["what-if", *shared, *bad]) == 2
        assert message in capsys.readouterr().err
