"""What a token costs on this machine by a load test, and from how many a day on that is less than a hosted price."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import write_models

import workbench as wb
from workbench.breakeven import break_even, local_price, measured_prices, price_of, prices_to_route_by
from workbench.catalog import Machine, Models
from workbench.cli import main
from workbench.errors import InputError
from workbench.load import Figure, LoadResult
from workbench.load.drive import Request, Window
from workbench.load.engine import EngineWatch
from workbench.load.figures import StepRun, summarize
from workbench.load.plan import engine_digest
from workbench.load.result import LoadLimits
from workbench.routing.repricing import reprice
from workbench.views import conclusions

LOCAL = {"engine": "openai", "model": "m", "zone": "local", "base_url": "http://127.0.0.1:9/v1"}
HOSTED = {"engine": "openai", "model": "h", "base_url": "https://h.example/v1"}


def models(project: Path) -> Models:
    """Machine: $0.40 an hour."""
    dear = {**HOSTED, "price": {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 11.0}}
    cheap = {**HOSTED, "price": {"input_usd_per_mtok": 0.01, "output_usd_per_mtok": 0.01}}
    free = {**HOSTED, "price": {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}}
    listed = {**HOSTED, "model": "gpt-4o-mini", "price": {"genai_prices": "openai"}}
    unlisted = {**HOSTED, "model": "none-of-that-name", "price": {"genai_prices": "openai"}}
    unpriced = HOSTED
    path = write_models(
        project, m=LOCAL, dear=dear, cheap=cheap, free=free, listed=listed, unlisted=unlisted, unpriced=unpriced
    )
    return wb.load_models(path)


def result(found: Models, **changes: Any) -> LoadResult:
    """900 tokens read and 100 written a request; 1,000 tokens/s at level 1, and 2,000 at level 2."""
    steps = []
    for level in (1, 2):
        requests = [Request(n / level, n / level, n / level, [n / level], 900, 100, measured=True) for n in range(100)]
        window = Window(0.0, 100.0 / level, requests)
        runs = [StepRun(level, repeat, window, EngineWatch(), None) for repeat in range(3)]
        steps.append(summarize(runs, LoadLimits()))
    usual: dict[str, Any] = {
        **{"workbench": "0", "model": "m", "zone": "local", "engine_id": "e", "engine": engine_digest(found["m"])},
        **{"workload": "colors.default", "task": "colors", "variant": "default", "prompts": 5, "loop": "closed"},
        **{"burstiness": None, "started": "2026-11-28T10:00:00+00:00", "seed": 0, "machine_usd_per_hour": 0.4},
        **{"cores": 2, "warmup_s": 1.0, "duration_s": 10.0, "limits": LoadLimits(e2e_s=1.0), "steps": steps},
        **{"knee": 1.0, "saturated_at": 2.0, "saturated": True, "within": 1.0, "cost_usd": None, "complete": True},
        **{"notes": [], "problems": []},
    }
    return LoadResult(**{**usual, **changes})


def test_a_price_is_the_machines_hour_over_its_tokens(project: Path) -> None:
    found = price_of(result(models(project)))
    assert found is not None and (found.at, found.level) == ("saturation", 2)
    assert found.usd_per_mtok.value == pytest.approx(0.4 / 3600 / 2000 * 1e6, rel=1e-4)
    assert found.usd_per_mtok_output.value == pytest.approx(0.4 / 3600 / 200 * 1e6, rel=1e-4)
    assert found.usd_per_request.value == pytest.approx(0.4 / 3600 / 2, rel=1e-4)


def test_half_used_it_costs_twice_as_much_and_at_the_limits_what_is_kept_there_counts(project: Path) -> None:
    load = result(models(project))
    full, half, limited = price_of(load), price_of(load, utilization=0.5), price_of(load, at="limits")
    assert full is not None and half is not None and limited is not None
    assert half.usd_per_mtok.number == pytest.approx(2 * full.usd_per_mtok.number, rel=1e-4)
    assert limited.usd_per_mtok.number == pytest.approx(2 * full.usd_per_mtok.number, rel=1e-4) and limited.level == 1
    with pytest.raises(InputError, match="utilization is a share"):
        price_of(load, utilization=0.0)
    for share in (2, -1, math.nan, 0):
        with pytest.raises(InputError, match="utilization is a share"):
            measured_prices(models(project), share)  # though no load test uses it


def test_the_interval_of_a_price_is_that_of_the_throughput_turned_round(project: Path) -> None:
    load = result(models(project))
    wide = load.steps[1].model_copy(update={"total_tokens_per_s": Figure(value=2000, lo=1000, hi=4000)})
    found = price_of(load.model_copy(update={"steps": [load.steps[0], wide]}))
    assert found is not None and found.usd_per_mtok.value is not None
    assert found.usd_per_mtok.lo == pytest.approx(found.usd_per_mtok.value / 2, rel=1e-4)
    assert found.usd_per_mtok.hi == pytest.approx(found.usd_per_mtok.value * 2, rel=1e-4)


def test_tokens_that_were_not_counted_have_no_price_and_it_is_said(project: Path) -> None:
    found = models(project)
    whole = result(found)
    silent = {"total_tokens_per_s": Figure(value=None), "input_tokens": None, "output_tokens": None}
    older = {"input_tokens": None}  # a file of before: its total is without what was not counted
    for changes in (silent, older):
        load = whole.model_copy(update={"steps": [step.model_copy(update=changes) for step in whole.steps]})
        price = price_of(load)
        assert price is not None and price.usd_per_mtok.value is None and price.usd_per_request.value is not None
        assert break_even(load, found) == []
        said = conclusions(load, found, 0.2)
        assert any(
            line.startswith("a token's price, and from how many a day on it pays, are not known") for line in said
        )
        assert not any("million tokens" in line or "break-even" in line for line in said)
        load.save()
        assert measured_prices(found) == {}


@pytest.mark.parametrize(
    "changes", [{"machine_usd_per_hour": None}, {"zone": "private"}, {"zone": "hosted"}, {"within": None}]
)
def test_what_is_not_known_has_no_price(project: Path, changes: dict[str, Any]) -> None:
    assert price_of(result(models(project), **changes), at="limits") is None


def test_the_local_price_is_of_the_newest_whole_test_of_the_same_engine(project: Path) -> None:
    found = models(project)
    old, new = result(found), result(found, started="2026-11-29T10:00:00+00:00", saturated_at=1.0)
    price = local_price(found["m"], [old, new])
    assert price is not None and price.level == 1 and price.measured.startswith("2026-11-29")
    partial, other = new.model_copy(update={"complete": False}), new.model_copy(update={"engine": "00000000"})
    for stale in (partial, other):
        price = local_price(found["m"], [old, stale])
        assert price is not None and price.level == 2
    assert local_price(found["m"], [partial, other]) is None
    assert local_price(found["m"], [old], task="birds") is None
    assert local_price(found["dear"], [old]) is None
    dearer = local_price(found["m"], [old], machine=Machine(usd_per_hour=4.0))
    assert dearer is not None and dearer.usd_per_mtok.number == pytest.approx(0.5556, rel=1e-3)
    assert local_price(found["m"], [old], machine=Machine()) is not None  # not said now: as it was measured


def test_break_even_is_the_machines_day_over_the_hosted_price_of_the_same_mix(project: Path) -> None:
    found = models(project)
    by_model = {each.model: each for each in break_even(result(found), found)}
    assert set(by_model) == {"dear", "cheap", "free", "listed", "unlisted"}  # those with a price
    dear, cheap, free, unlisted = (by_model[name] for name in ("dear", "cheap", "free", "unlisted"))
    assert dear.usd_per_mtok == pytest.approx(2.0)  # 900 in at 1, 100 out at 11
    assert dear.tokens_per_day == pytest.approx(9.6 / 2.0 * 1e6)
    assert dear.capacity_per_day == pytest.approx(2000 * 86400, rel=1e-3)
    assert dear.serves and dear.utilization == pytest.approx(4.8e6 / 172.8e6, rel=1e-3)
    assert cheap.tokens_per_day == pytest.approx(960e6) and cheap.serves is False
    assert free.tokens_per_day == float("inf") and free.serves is False
    assert (unlisted.usd_per_mtok, unlisted.tokens_per_day, unlisted.serves) == (None, None, None)
    assert by_model["listed"].usd_per_mtok is not None and by_model["listed"].usd_per_mtok > 0
    assert break_even(result(found, within=None), found, at="limits") == []
    further = break_even(result(found), found, against=["openai/gpt-4o-mini"])[-1]
    assert (further.model, further.usd_per_mtok) == ("openai/gpt-4o-mini", by_model["listed"].usd_per_mtok)
    with pytest.raises(InputError, match="is no PROVIDER/MODEL"):
        break_even(result(found), found, against=["gpt-4o-mini"])


def test_the_sentences_say_it(project: Path) -> None:
    found = models(project)
    said = "\n".join(conclusions(result(found), found, utilization=0.2))
    assert "m: saturated at 2 in flight: 200 (200 – 200) output tokens/s" in said
    assert "knee (most throughput over mean latency): 1 in flight" in said
    assert "p95 keeps the limits (end to end 1 s) up to 1 in flight" in said
    assert "$0.0556" in said and "at saturation" in said and "$0.278" in said and "used to 20% of saturation" in said
    assert "against dear ($2 a million tokens in this mix): 4.8 million tokens a day, which it can serve, 3% of" in said
    assert "against cheap ($0.01 a million tokens in this mix): 960 million tokens a day, which it cannot serve" in said
    assert "against free: it is free." in said and "against unlisted: its price is not known." in said
    none = "\n".join(conclusions(result(found, within=None, saturated=False)))
    assert "no plateau yet; most at 2 in flight" in none and "no load that was asked keeps the limits" in none
    assert "against" not in none


def test_the_command_models_shows_the_price(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = models(project)
    main(["models"])
    assert "a million tokens" not in capsys.readouterr().out
    result(found).save()
    assert main(["models"]) == 0
    assert "m: $0.0556 a million tokens at saturation on this machine (colors.default, measured 2026-11-28)" in (
        capsys.readouterr().out
    )


def test_routes_are_decided_at_the_price_that_a_load_test_measured(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = models(project)
    result(found).save()
    full, idle = measured_prices(found), measured_prices(found, utilization=0.001)
    assert set(full) == {"m"} and idle["m"] == pytest.approx({k: 1000 * v for k, v in full["m"].items()}, rel=1e-3)
    rows = [
        {"task": "colors", "item_id": f"i{n}", "model": model, "score": 1.0, "accepted": True, "sensitivity": "public"}
        | {"cost_usd": cost, "input_tokens": 900, "output_tokens": 100}
        for model, cost in (("m", 1e-9), ("cheap", 1e-5))
        for n in range(200)
    ]
    table = pd.DataFrame(rows)
    # 0.0556 USD a million tokens at full load, against 0.01 of the hosted one.
    for prices, chosen in ((None, "m"), (full, "cheap")):
        policy = wb.route(table, found, policies=("per_task",), local_usd_per_mtok=prices)
        assert policy.routes[0].chain[0].model == chosen
        assert ("m" in policy.evidence.prices) == (prices is not None)
    table.to_parquet(project / "outcomes.parquet")
    for extra, chosen in (([], "m"), (["--utilization", "1"], "cheap")):
        assert main(["route", "outcomes.parquet", "--policies", "per_task", "--to", "r.yaml", *extra]) == 0
        out = capsys.readouterr().out
        assert f"colors (open): {chosen}" in out
        # A load test that is there and not used is told, and how to use it.
        assert ("note: m: a load test tells" in out and "--utilization 0.2 takes" in out) == (not extra)


def test_a_tasks_own_load_test_prices_it_and_the_newest_of_any_the_others(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = models(project)
    result(found).save()
    slow = result(found, started="2026-11-29T10:00:00+00:00", saturated_at=1.0, workload="synthetic.8:120", task=None)
    slow.save()
    prices = measured_prices(found)
    assert prices["m"][None] == pytest.approx(2 * prices["m"]["colors"], rel=1e-4)
    rows = [
        {"task": task, "item_id": f"i{n}", "model": "m", "score": 1.0, "accepted": True, "sensitivity": "public"}
        | {"cost_usd": 1e-9, "input_tokens": 900, "output_tokens": 100}
        for task in ("birds", "colors")
        for n in range(20)
    ]
    table = pd.DataFrame(rows)
    again, _ = reprice(table, found, {}, local_usd_per_mtok=prices)
    costs = again.groupby("task")["cost_usd"].mean() * 1e6 / 1000
    assert costs.to_dict() == pytest.approx({"birds": prices["m"][None], "colors": prices["m"]["colors"]})
    policy = wb.route(table, found, policies=("per_task",), local_usd_per_mtok=prices)
    assert policy.evidence.prices["m"] == "a million tokens: $0.1111 for birds, $0.05556 for colors, by load tests"
    table.to_parquet(project / "outcomes.parquet")
    argv = ["outcomes.parquet", "--utilization", "1", "--policies", "per_task"]
    for command in (["route", "--to", "r.yaml", *argv], ["what-if", *argv]):
        assert main(command) == 0
        assert (
            "note: m: a million tokens cost $0.0556 for colors (load test of colors.default, 2026-11-28); "
            "$0.111 for other tasks (load test of synthetic.8:120, 2026-11-29)"
        ) in capsys.readouterr().out


def test_a_load_test_that_is_not_used_is_told_where_it_would_count(project: Path) -> None:
    found = models(project)
    told = partial(prices_to_route_by, found, how="HOW")
    assert told({"m"}, None) == (None, [])  # there is none
    result(found).save()
    prices, (note,) = told({"m", "cheap"}, None)
    assert prices is None and note.startswith("m: a load test tells") and "HOW takes" in note
    assert told({"cheap"}, None) == (None, [])  # m was not asked
    said = (
        "m: a million tokens cost $0.0556 for colors (load test of colors.default, 2026-11-28); $0.0556 for other tasks"
    )
    prices, (note,) = told({"m"}, 1.0)
    assert prices == measured_prices(found) and note.startswith(said)
    result(found, engine="another", started="2026-11-29T10:00:00+00:00").save()
    (project / ".workbench" / "load" / "broken.json").write_text("{}")
    assert told({"m"}, None) == (None, [])  # a file that nobody asked for stops nobody
    with pytest.raises(InputError, match="no load test of this version"):
        told({"m"}, 0.5)


def test_a_model_without_a_load_test_is_told_where_they_are_used(project: Path) -> None:
    path = write_models(
        project, q4={"engine": "llamacpp", "model": "q4.gguf"}, other={"engine": "llamacpp", "model": "o"}
    )
    prices, notes = prices_to_route_by(wb.load_models(path), {"q4"}, 0.2, "HOW")
    assert prices == {} and len(notes) == 1 and notes[0].startswith("q4 has no load test ('workbench load q4')")
