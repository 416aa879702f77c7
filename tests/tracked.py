"""A run of stand-in models with planted answers: what tracking is tested on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conftest import item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench.runner import Run

CANARY = "CANARY-5c20-John-Roe"
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 2.0}
RULES = {"rules": [{"pattern": "both", "answer": "red"}, {"pattern": "split", "answer": "red"}]}


def answer(body: dict[str, Any]) -> str:
    """`strong` is right but where nobody is; `weak` only where both are; some answers are no label."""
    thing, strong = str(body["messages"][-1]["content"]), body["model"] == "strong"
    if "odd" in thing:
        return "red" if strong else f"well, {thing}, who knows"
    if "split" in thing:
        return "red" if strong else "green"
    return "blue" if "hard" in thing else "red"


def fault(body: dict[str, Any]) -> str:
    """`weak` gets an error for things that are broken."""
    return "400" if "broken" in body["messages"][-1]["content"] and body["model"] == "weak" else "ok"


THINGS = {
    **{f"b{i}": f"both {i}" for i in range(4)},
    **{f"s{i}": f"split {i}" for i in range(3)},
    "h0": "hard 0",
    "o0": "odd 0",
    "x0": "broken 0",
}


def planted_run(
    root: Path,
    server: RecordingServer,
    track: bool = True,
    tasks: tuple[str, ...] = ("colors",),
    names: tuple[str, str] = ("strong", "weak"),
    **changes: Any,
) -> Run:
    """Ten open items and a restricted one, asked of `strong`, `weak` and the rules.

    Args:
        names: what the two models are called in models.yaml.
        changes: of evalset.yaml.
    """
    server.answer, server.fault = answer, fault
    closed = item("c0", f"split {CANARY}", sensitivity="restricted")
    closed["expectations"]["note"] = CANARY
    for task in tasks:
        items = [*(item(name, thing) for name, thing in THINGS.items()), closed]
        write_evalset(root, task, items, rules=RULES, **changes)
    entry = {"engine": "openai", "base_url": server.base_url, "zone": "local", "price": PRICE}
    models = {name: {**entry, "model": model} for name, model in zip(names, ("strong", "weak"), strict=True)}
    write_models(root, **models, rules={"engine": "rules"})
    return wb.run(wb.load_evalsets("evalsets", tasks), wb.load_models(), track=track, progress=False)


def of_mlflow(run: Run) -> list[str]:
    """The problems that MLflow made."""
    return [problem for problem in run.problems if problem.startswith("MLflow")]
