"""A canary in a restricted item, and one in a key: after everything that stores or shows, no file has them."""

from __future__ import annotations

import contextlib
import io
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from conftest import WEIGHTS, item, write_evalset, write_models
from recording_server import RecordingServer

import workbench as wb
from workbench import evidence, notebooks
from workbench.catalog import load_models
from workbench.errors import InputError
from workbench.runner import Run
from workbench.views import disagreements, leaderboard_html, routes_html, show, side_by_side
from workbench.views.items import Items
from workbench.views.shown import Shown
from workbench.views.where import heat, heat_html

CANARY = "CANARY-9d41-Jane-Doe"
KEY = "sk-canary-key-77aa01"
PRICE = {"input_usd_per_mtok": 1.0, "output_usd_per_mtok": 1.0}


def is_private(path: Path, root: Path) -> bool:
    """The two places that may hold restricted text besides the eval sets themselves."""
    inside = path.relative_to(root)
    run = inside.parts[:2] == (".workbench", "runs") and path.name == "outcomes.parquet"
    return run or (inside.parts[0] == ".workbench" and path.name.startswith("journal.sqlite"))


def text_of(path: Path) -> bytes:
    """All that is in a file: its bytes, and what a reader of its format would see."""
    content = path.read_bytes()
    if path.suffix == ".parquet":
        content += pd.read_parquet(path).to_csv().encode()
    if content.startswith(b"SQLite format 3"):
        with contextlib.closing(sqlite3.connect(path)) as database:
            content += "\n".join(database.iterdump()).encode()
    return content


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory, smollm2: Path) -> Iterator[tuple[Path, Run]]:
    """A run of the real engine, the rules, a hosted model and one that repeats what it was told, in all outputs."""
    root = tmp_path_factory.mktemp("redaction")
    things = [item("open", "brick"), item("closed", f"patient {CANARY}", sensitivity="restricted")]
    things[1]["expectations"]["note"] = CANARY
    things[0]["slice"], things[1]["slice"] = {"customer": "shop"}, {"customer": CANARY}
    rules = {"rules": [{"pattern": "patient", "answer": f"red {CANARY}"}, {"pattern": "brick", "answer": "red"}]}
    write_evalset(root, "colors", things, rules=rules)
    with pytest.MonkeyPatch.context() as patch, RecordingServer() as server:
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.setenv("WORKBENCH_WEIGHTS", str(WEIGHTS))
        patch.setenv("CANARY_KEY", KEY)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        server.fault, server.message = "400", lambda body: f"bad: {body['messages'][-1]['content']} for {KEY}"
        server.faults = []
        remote = {"engine": "openai", "base_url": server.base_url, "api_key_env": "CANARY_KEY"}
        write_models(
            root,
            smollm2={"engine": "llamacpp", "model": str(smollm2), "max_model_len": 512, "concurrency": 2, "threads": 1},
            rules={"engine": "rules"},
            far={**remote, "model": "far", "zone": "hosted", "price": PRICE},
            echo={**remote, "model": "echo", "zone": "local"},
        )
        models = load_models()
        run = wb.run(wb.load_evalsets(), models, progress=False)
        policy = wb.route(run.outcomes, models, limits=run.tasks)
        policy.save(root / "exports" / "routing.yaml")
        with contextlib.suppress(InputError):  # nothing was good enough for a chain: then there is nothing to export
            policy.export("litellm", root / "exports" / "litellm.yaml", models)
        pieces = [
            leaderboard_html(wb.leaderboard(run.outcomes), policy),
            routes_html(policy),
            *(str(side_by_side(run, "colors", name).data) for name in ("open", "closed")),
            *(disagreements(run.outcomes, "colors", "rules", other).to_html() for other in ("smollm2", "echo")),
            heat_html(heat(run.outcomes)),
            evidence.by_slice(run.outcomes, "customer").to_html(),
            *notebooks.by_slice(run.outcomes, "rules", "customer"),
            *((report := wb.quantization_report(run.outcomes, "rules"))._repr_html_(), report.by_slice.to_html()),
            *(repr(thing) for thing in (run.problems, run.summary(), run.plan.describe(), policy.describe())),
        ]
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            show(run, policy)
        (root / "exports" / "views.html").write_text("\n".join([*pieces, printed.getvalue()]))
        assert server.requests and not any(CANARY in r.text for r in server.requests if r.body["model"] == "far")
        yield root, run


def test_the_canary_was_really_there(shown: tuple[Path, Run]) -> None:
    root, run = shown
    closed = run.outcomes[run.outcomes["item_id"] == "closed"].set_index("model")
    assert CANARY in closed.loc["rules", "output"] and CANARY in closed.loc["echo", "error"]
    assert closed["prompt"].str.contains(CANARY).all() and "smollm2" in closed.index and "far" not in closed.index
    assert CANARY.encode() in text_of(run.path / "outcomes.parquet")
    assert closed["slice"].str.contains(CANARY).all()
    assert "[restricted] 1" in (root / "exports" / "views.html").read_text()
    assert {"routing.yaml", "views.html"} <= {path.name for path in (root / "exports").iterdir()}


def test_the_canary_is_in_no_file_but_the_two_private_ones(shown: tuple[Path, Run]) -> None:
    root, _ = shown
    searched = [path for path in files(root) if path.relative_to(root).parts[0] != "evalsets"]
    leaks = [path for path in searched if not is_private(path, root) and CANARY.encode() in text_of(path)]
    assert leaks == []
    with contextlib.closing(sqlite3.connect(root / "mlruns" / "mlflow.db")) as database:
        traced = database.execute("SELECT content FROM spans").fetchall()
    assert any("brick" in text for (text,) in traced) and any("[restricted]" in text for (text,) in traced)
    kinds = {path.name for path in searched}
    assert {"mlflow.db", "outcomes_redacted.parquet", "leaderboard.json", "views.html", "routing.yaml"} <= kinds
    assert any(path.suffix == ".log" for path in searched)


def test_the_private_files_are_readable_by_their_owner_only(shown: tuple[Path, Run]) -> None:
    root, _ = shown
    private = [path for path in files(root) if is_private(path, root)]
    assert {path.name for path in private} >= {"journal.sqlite", "outcomes.parquet"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE((root / ".workbench").stat().st_mode) == 0o700
    assert (root / ".workbench" / ".gitignore").read_text() == "*\n"


def test_the_key_is_in_no_file_at_all(shown: tuple[Path, Run]) -> None:
    root, run = shown
    assert [path for path in files(root) if KEY.encode() in text_of(path)] == []
    assert run.outcomes["error"].str.contains(r"\[key\]", na=False).sum() == 3  # the servers did repeat it


def test_restricted_text_is_told_by_its_length(shown: tuple[Path, Run]) -> None:
    root, _ = shown
    redacted = pd.read_parquet(next(root.rglob("outcomes_redacted.parquet"))).set_index(["item_id", "model"])
    assert redacted.loc[("closed", "rules"), "output"] == f"[restricted] {len('red ' + CANARY)} characters"
    assert redacted.loc[("open", "rules"), "output"] == "red"


def test_what_is_restricted_is_shown_when_asked_for_and_not_otherwise(shown: tuple[Path, Run]) -> None:
    _, run = shown
    assert CANARY not in side_by_side(run, "colors", "closed").data
    assert CANARY in str(Items(Shown.of(run, reveal=True)).look("colors", "closed", ["rules", "echo"]))
    assert CANARY not in str(Items(Shown.of(run)).look("colors", "closed", ["rules", "echo"]))


def test_markup_in_an_answer_stays_text(project: Path, server: RecordingServer) -> None:
    server.answer = lambda body: "<script>alert(1)</script><img src=x onerror=alert(2)>"
    write_evalset(project, "colors", [item("1<b>", "<i>brick</i>")], output={"text": True}, scorers=[{"type": "label"}])
    entry: dict[str, Any] = {"engine": "openai", "model": "m", "zone": "local", "base_url": server.base_url}
    write_models(project, m=entry, n={**entry, "model": "n"})
    run = wb.run(wb.load_evalsets(), wb.load_models(), track=False, progress=False)
    page = side_by_side(run, "colors", "1<b>").data
    assert "&lt;script&gt;alert(1)" in page and "&lt;i&gt;brick" in page and "1&lt;b&gt;" in page
    assert not any(mark in page for mark in ("<script", "<img", "<i>", "<b>"))
    assert "<script" not in leaderboard_html(wb.leaderboard(run.outcomes))
