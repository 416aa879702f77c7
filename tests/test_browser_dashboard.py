"""The dashboard in a real JupyterLab: a planted table, looked at, decided on and exported as a person does."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
from browser import page
from conftest import REPOSITORY
from lab import jupyterlab, open_notebook, run_all, turn_to
from playwright.sync_api import Page

from workbench.evalset import load_evalset
from workbench.export.proof import gateway_program
from workbench.routing import load_policy

pytestmark = pytest.mark.slow
SCRIPT = "<script>document.title = 'owned'</script>"
IMAGE = "<img src=x onerror=\"document.title='owned'\">"
LABELS = ("billing", "bug", "access")
EVALSET = """schema: 1
name: tickets
description: planted
variants: {default: {messages: [{role: user, content: "{{ inputs.text }}"}]}}
output: {labels: [billing, bug, access]}
scorers: [{type: label}]
accept: {min_score: 1}
limits: {min_score: 0.5, margin: 0.05}
"""
MODELS = """schema: 1
models:
  big: {engine: openai, model: big, base_url: "https://models.example/v1", zone: hosted,
    price: {input_usd_per_mtok: 10, output_usd_per_mtok: 40}}
  small: {engine: openai, model: small, base_url: "http://127.0.0.1:9/v1", zone: local,
    price: {input_usd_per_mtok: 1, output_usd_per_mtok: 4}}
  rules: {engine: rules, zone: local}
"""
CELL = """import workbench as wb

table = wb.read_outcomes("../outcomes.parquet")
wb.show(table, models=wb.load_models("models.yaml"), tasks=wb.load_evalsets("evalsets"))"""


def plant(root: Path, n: int = 300) -> None:
    """A project whose route changes once the margin is wide enough: `big` is 0.07 better and ten times as dear."""
    draw, folder = np.random.default_rng(0), root / "evalsets" / "tickets"
    folder.mkdir(parents=True)
    items = [
        {
            "id": f"t{index:03}",
            "inputs": {"text": f"Ticket {index}: {SCRIPT} {IMAGE} my invoice is wrong"},
            "expectations": {"label": LABELS[index % 3]},
            "slice": {"difficulty": ("easy", "hard")[index % 2]},
            "sensitivity": "restricted" if index % 10 == 0 else "internal",
        }
        for index in range(n)
    ]
    (folder / "items.jsonl").write_text("".join(f"{json.dumps(item)}\n" for item in items))
    (folder / "evalset.yaml").write_text(EVALSET)
    (root / "models.yaml").write_text(MODELS)
    rows, digest = [], load_evalset(folder).digest
    for model, share, cost, latency in (
        ("big", 0.93, 0.002, 0.8),
        ("small", 0.86, 0.0002, 0.2),
        ("rules", 0.55, 0, 0.001),
    ):
        right = draw.permutation(n) < share * n
        for index, item in enumerate(items):
            if model == "big" and item["sensitivity"] == "restricted":
                continue
            wrong = f"{SCRIPT}{IMAGE} {LABELS[(index + 1) % 3]}"
            rows.append(
                {
                    **{"task": "tickets", "item_id": item["id"], "model": model, "score": float(right[index])},
                    **{"accepted": bool(right[index]), "format_ok": bool(draw.random() < 0.95), "attempts": 1},
                    **{"cost_usd": cost * (1 + draw.random()), "latency_s": latency * (1 + draw.random())},
                    "output": LABELS[index % 3] if right[index] else wrong,
                    **{"prompt": item["inputs"]["text"], "sensitivity": item["sensitivity"]},
                    **{"slice": json.dumps(item["slice"]), "evalset_digest": digest},
                }
            )
    pd.DataFrame(rows).to_parquet(root / "outcomes.parquet")
    (root / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    notebook = nbformat.v4.new_notebook(metadata=kernel, cells=[nbformat.v4.new_code_cell(CELL)])
    nbformat.write(notebook, root / "notebooks" / "show.ipynb")


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    root = tmp_path_factory.mktemp("planted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.setenv("WORKBENCH_GATEWAYS", os.environ.get("WORKBENCH_GATEWAYS") or str(REPOSITORY / ".venv-gateways"))
        plant(root)
        with jupyterlab(root, tmp_path_factory.mktemp("settings")) as base:
            yield root, base


@pytest.fixture(params=["light", "dark"])
def shown(request: pytest.FixtureRequest, lab: tuple[Path, str]) -> Iterator[tuple[Path, Page, str]]:
    """The notebook after its one cell ran, in either theme."""
    root, base = lab
    for path in (root / "evalsets" / "tickets" / "corrections.jsonl", root / "exports" / "routing.yaml"):
        path.unlink(missing_ok=True)
    with page(1500, 1200) as tab:
        open_notebook(tab, base, "show.ipynb", dark=request.param == "dark")
        assert run_all(tab) == []
        tab.locator(".wbd table").first.wait_for()
        yield root, tab, request.param


def chosen(tab: Page) -> str:
    return tab.locator(".widget-html-content p:not([role]) > b").first.inner_text()


def changed(tab: Page, script: str, before: str) -> str:
    """What a place says once it says something else than before."""
    tab.wait_for_function(f"{script} !== {json.dumps(before)}")
    said: str = tab.evaluate(script)
    return said


PLACE = "document.querySelector('.wbd .place').innerText"


def test_a_person_looks_compares_decides_corrects_and_exports(shown: tuple[Path, Page, str], tmp_path: Path) -> None:
    root, tab, theme = shown
    # The leaderboard sorts by any column.
    names = tab.locator(".wbd tbody tr td:nth-child(2)")
    assert names.all_inner_texts() == ["big", "small", "rules"]
    tab.get_by_role("button", name="cost/accepted").click()
    tab.get_by_role("button", name="cost/accepted").click()
    assert names.all_inner_texts() == ["rules", "small", "big"]
    tab.screenshot(path=str(tmp_path / f"leaderboard-{theme}.png"))
    # The margin is moved until the route changes.
    turn_to(tab, "Trade-off")
    tab.locator(".wbd svg .point").first.wait_for()
    assert chosen(tab) == "big → small → rules"
    tab.locator(".widget-slider .noUi-handle").first.focus()
    tab.keyboard.press("x")  # would cut the cell, if JupyterLab heard it
    for _ in range(12):
        tab.keyboard.press("ArrowRight")
        tab.wait_for_timeout(300)
        if chosen(tab) != "big → small → rules":
            break
    assert chosen(tab) == "small → big → rules"
    tab.locator(".wbd svg g[tabindex='0']").first.hover()
    assert "per accepted answer, p95" in tab.locator(".wbd .tip").inner_text()
    assert tab.locator(".jp-CodeCell").count() == 1
    tab.screenshot(path=str(tmp_path / f"tradeoff-{theme}.png"))
    # Side by side: filtered, and paged by keyboard.
    turn_to(tab, "Side by side")
    tab.locator(".wbd select[aria-label='show']").select_option("a right, b wrong")
    before = changed(tab, PLACE, "1 of 300")
    tab.locator(".wbd .place").click()
    tab.keyboard.press("ArrowRight")
    second = changed(tab, PLACE, before)
    assert second.startswith("2 of ") and 0 < int(second.split()[-1]) < 100
    assert SCRIPT in tab.locator(".wbd .card pre").first.inner_text()  # it stays text
    tab.screenshot(path=str(tmp_path / f"side_by_side-{theme}.png"))
    tab.get_by_role("button", name="Note or correct").click()
    tab.get_by_label("note", exact=True).fill("two readers could differ")
    heads = tab.locator(".wbd .card h4").all_inner_texts()
    assert heads[:5] == ["text", "key", "answer 1", "answer 2", "answer 3"]  # what follows is of another tab
    tab.get_by_role("button", name="Keep").click()
    tab.get_by_text("kept in tickets/corrections.jsonl").wait_for()
    (kept,) = (root / "evalsets" / "tickets" / "corrections.jsonl").read_text().splitlines()
    assert json.loads(kept)["note"] == "two readers could differ"
    assert "tickets: the eval set has changed since these outcomes" in tab.locator("p[role='status']").inner_text()
    tab.get_by_text("which a saved notebook keeps, from before a change").wait_for()
    saved = tab.evaluate("JSON.stringify(window.jupyterapp.shell.currentWidget.context.model.toJSON())")
    assert "which a saved notebook keeps, from before a change" in saved
    # Where: a cell leads to its items.
    turn_to(tab, "Where")
    tab.locator(".wbd td.cell").nth(2).wait_for()
    tab.screenshot(path=str(tmp_path / f"where-{theme}.png"))
    # Export writes what is on the screen.
    turn_to(tab, "Export")
    tab.locator("button.jupyter-button", has_text="Export").click()
    tab.get_by_text("different from the last one").wait_for(timeout=180_000)
    told = tab.locator("tr").filter(has=tab.get_by_text("verification", exact=True)).locator("td.w").inner_text()
    if gateway_program("litellm") is None:
        assert told == "not verified here: .venv-gateways is not installed ('make gateways')"
    else:
        assert told.startswith("verified with LiteLLM ") and "landed where the policy says" in told
    tab.screenshot(path=str(tmp_path / f"export-{theme}.png"))
    route = load_policy(root / "exports" / "routing.yaml").route("tickets", "open")
    assert route.chain[0].model == "small" and route.status == "provisional" and route.margin_source == "interactive"
    assert "The eval set has changed since these outcomes" in route.reason
    assert "small" in (root / "exports" / "litellm.yaml").read_text()
    assert tab.title().startswith("show.ipynb") and "owned" not in tab.title()  # no script ran, in any view


def test_what_is_revealed_is_in_no_saved_notebook(lab: tuple[Path, str]) -> None:
    root, base = lab
    notebook = nbformat.read(root / "notebooks" / "show.ipynb", 4)
    notebook.cells[0].source = CELL.replace("tasks=", "reveal=True, tasks=")
    nbformat.write(notebook, root / "notebooks" / "reveal.ipynb")
    with page() as tab:
        open_notebook(tab, base, "reveal.ipynb")
        assert run_all(tab) == []
        turn_to(tab, "Side by side")
        tab.get_by_text("tickets, item t000 (restricted)").wait_for()
        assert "Ticket 0:" in tab.locator(".wbd .card pre").first.inner_text()
        tab.evaluate("window.jupyterapp.commands.execute('docmanager:save')")
        tab.wait_for_function("!window.jupyterapp.shell.currentWidget.context.model.dirty")
    saved = (root / "notebooks" / "reveal.ipynb").read_text()
    assert "Ticket 0:" not in saved and "t000" not in saved.split("fixed (")[0]
    assert "image/png" in saved


def test_keys_stay_in_the_view_and_what_is_typed_outlives_a_refusal(shown: tuple[Path, Page, str]) -> None:
    root, tab, _ = shown
    cells = "window.jupyterapp.shell.currentWidget.content.model.cells.length"
    tab.get_by_role("button", name="cost/accepted").focus()
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.innerText").startswith("cost/accepted ")  # a drawing keeps the focus
    for key in "abmxdd":  # to JupyterLab these are cells that come, go and turn into text
        tab.keyboard.press(key)
    assert tab.evaluate(cells) == 1 and tab.locator(".wbd table").first.is_visible()
    turn_to(tab, "Side by side")
    tab.locator(".wbd .place").click()
    tab.keyboard.press("j")
    changed(tab, PLACE, "1 of 300")
    tab.get_by_role("button", name="Note or correct").click()
    tab.get_by_label("key", exact=True).fill("{broken")
    tab.get_by_label("note", exact=True).fill("jkj")  # no page is turned in here
    tab.get_by_role("button", name="Keep").click()
    tab.get_by_text("nothing was kept").wait_for()
    assert tab.get_by_label("key", exact=True).input_value() == "{broken"
    assert tab.get_by_label("note", exact=True).input_value() == "jkj"
    tab.get_by_label("key", exact=True).fill('{"label": "access"}')
    tab.get_by_role("button", name="Keep").click()
    tab.get_by_text("corrected key kept in tickets/corrections.jsonl").wait_for()
    # A note on the same item leaves the corrected key as it is.
    tab.get_by_role("button", name="Note or correct").click()
    assert json.loads(tab.get_by_label("key", exact=True).input_value()) == {"label": "access"}
    tab.get_by_label("note", exact=True).fill("sure")
    tab.get_by_role("button", name="Keep").click()
    tab.get_by_text("note kept in tickets/corrections.jsonl").wait_for()
    kept = (root / "evalsets" / "tickets" / "corrections.jsonl").read_text().splitlines()
    assert [sorted(json.loads(line)) for line in kept] == [
        ["at", "expectations", "item", "note"],
        ["at", "item", "note"],
    ]
    # From the map the keyboard comes along, and Escape leads back to the notebook's own keys.
    turn_to(tab, "Where")
    tab.locator(".wbd td.cell").first.focus()
    tab.keyboard.press("Enter")
    tab.wait_for_function("document.activeElement.getAttribute('aria-label')?.startsWith('side by side')")
    tab.keyboard.press("Escape")
    assert tab.evaluate("!document.activeElement.closest('.wbd') && !!document.activeElement.closest('.jp-Notebook')")
