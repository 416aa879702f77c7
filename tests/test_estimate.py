"""What a run would take: intervals that the run then keeps, and bounds where nothing was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import item, write_evalset, write_models
from recording_server import INPUT_TOKENS, OUTPUT_TOKENS, RecordingServer

import workbench as wb
from workbench.cli import main
from workbench.runner import estimate, planned

PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 10.0}


def entry(server: RecordingServer, **more: Any) -> dict[str, Any]:
    return {"engine": "openai", "model": "m", "zone": "hosted", "base_url": server.base_url, "price": PRICE, **more}


def test_bounds_hold_what_the_run_takes_and_measured_intervals_are_narrower(
    project: Path, server: RecordingServer
) -> None:
    write_evalset(project, "colors", [item(f"i{n}", "a thing of some length " * 2 + str(n)) for n in range(60)])
    write_models(project, far=entry(server))
    bounds = estimate(planned(wb.load_evalsets(), wb.load_models())).models[0]
    assert (bounds.questions, bounds.requests, bounds.measured, bounds.time_s) == (60, 60, 0, None)
    assert bounds.output_tokens.lo <= 60 * OUTPUT_TOKENS <= bounds.output_tokens.hi and bounds.cost_usd is not None
    wb.run(wb.load_evalsets(), wb.load_models(), sample=40, track=False, progress=False)

    rest = estimate(planned(wb.load_evalsets(), wb.load_models())).models[0]
    assert (rest.questions, rest.requests, rest.measured) == (60, 20, 40) and rest.time_s is not None
    truth = 20 * (INPUT_TOKENS * 1.0 + OUTPUT_TOKENS * 10.0) / 1e6
    assert rest.cost_usd is not None and rest.cost_usd.lo <= truth * 1.001 and truth <= rest.cost_usd.hi * 1.001
    assert rest.cost_usd.hi / rest.cost_usd.lo < bounds.cost_usd.hi / bounds.cost_usd.lo
    wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    assert estimate(planned(wb.load_evalsets(), wb.load_models())).models[0].requests == 0


def test_an_unknown_price_is_not_known_and_batches_cost_half(project: Path, server: RecordingServer) -> None:
    write_evalset(project, "colors", [item(f"i{n}") for n in range(10)])
    write_models(project, unpriced=entry(server, price=None), dear=entry(server, batch="openai"))
    live = {each.model.id: each for each in estimate(planned(wb.load_evalsets(), wb.load_models())).models}
    assert live["unpriced"].cost_usd is None and "cost not known" in live["unpriced"].describe()
    plan = planned(wb.load_evalsets(), wb.load_models(), batch=True)
    batched = {each.model.id: each for each in estimate(plan).models}["dear"]
    assert live["dear"].cost_usd and batched.cost_usd
    assert batched.cost_usd.hi == pytest.approx(live["dear"].cost_usd.hi / 2) and "within a day" in batched.describe()


def test_the_plan_sends_nothing_and_says_the_order(
    project: Path, server: RecordingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_evalset(project, "colors", [item("1", "brick"), item("2", "brick"), item("3")])
    local = {"zone": "local", "price": None}
    write_models(project, a=entry(server, **local), b=entry(server, **local), far=entry(server))
    assert main(["run", "--plan"]) == 0
    out = capsys.readouterr().out
    assert "order a, then b; meanwhile far" in out and "total 6 requests" in out  # equal requests are sent once
    assert "ask   far: 2 requests for 3 questions (the rest is answered already, or the same request)" in out
    assert server.requests == [] and not list((project / ".workbench" / "runs").glob("*"))
