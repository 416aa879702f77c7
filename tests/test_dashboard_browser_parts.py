"""The dashboard's browser parts, each alone in a page of Chromium: what it draws of the state that it is given."""

from __future__ import annotations

import base64
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import page
from playwright.sync_api import Page

from workbench.views.dashboard.widget import script

pytestmark = pytest.mark.slow
STYLE = Path(script.__code__.co_filename).with_name("static") / "dashboard.css"
# JupyterLab's own rule for what a cell puts out.
LAB = ".jp-OutputArea-output pre { word-break: break-all; word-wrap: break-word; white-space: pre-wrap; }"
LOAD = """async ([source, state]) => {
  const part = await import("data:text/javascript;base64," + source);
  const heard = {}, root = document.createElement("div");
  document.body.className = "jp-OutputArea-output";
  document.body.replaceChildren(root);
  const model = {get: (name) => state[name], on: (name, call) => { heard[name] = call; }, send: () => {}};
  part.default.render({model, el: root});
  if (state.message) heard["msg:custom"]({kind: "state", state: state.message});
}"""


@pytest.fixture(scope="module")
def tab() -> Iterator[Page]:
    with page(1100, 900) as opened:
        yield opened


def draw(tab: Page, name: str, **state: Any) -> None:
    tab.set_content("<body></body>")
    tab.add_style_tag(content=STYLE.read_text())
    tab.add_style_tag(content=LAB)
    tab.evaluate(LOAD, [base64.b64encode(script(name).encode()).decode(), state])


def point(name: str, **more: Any) -> dict[str, Any]:
    known = {"candidate": name, "color": 0, "shape": 0, "said": f"{name} said", "outside": "", "chosen": False}
    scores = {"score": 0.8, "score_lo": 0.7, "score_hi": 0.9, "frontier": True}
    costs = {"cost": 0.001, "cost_lo": 0.0009, "cost_hi": 0.0011, "p95_s": 0.5, "p95_lo": 0.45, "p95_hi": 0.6}
    return {**known, **scores, **costs, **more}


def test_an_interval_that_goes_on_or_has_no_end_says_so(tab: Page) -> None:
    points = [point("all"), point("far", cost_hi=0.0147), point("open", p95_hi=None), point("none", p95_lo=0)]
    draw(tab, "tradeoff", state={"points": points, "min_score": 0.5, "p95_latency_s": None})
    cost, latency = tab.locator("svg[viewBox='0 0 470 330']").all()
    assert (cost.locator(".goes-on").count(), cost.locator(".open").count()) == (1, 0)
    assert (latency.locator(".goes-on").count(), latency.locator(".open").count()) == (2, 2)
    legend = tab.locator(".legend > div").all_inner_texts()
    assert [text.strip() for text in legend] == [
        "all",
        "far (cost: goes on to $0.0147)",
        "open (latency: no end: too few items bound it)",
        "none (latency: no lower end: too few items bound it)",
    ]
    latency.locator("g[aria-label='open']").focus()
    assert tab.locator(".tip").inner_text() == "open said\nlatency: no end: too few items bound it"
    assert "dashed tail: one without an end" in tab.locator(".wbd > .dim").inner_text()


def test_intervals_that_end_inside_the_frame_have_no_mark(tab: Page) -> None:
    draw(tab, "tradeoff", state={"points": [point("all")], "min_score": 0.5, "p95_latency_s": None})
    assert tab.locator(".goes-on").count() == 0 and "arrow" not in tab.locator(".wbd > .dim").inner_text()


def test_limits_are_drawn_where_they_are_or_said_to_be_outside(tab: Page) -> None:
    found = {}
    for limit in (60.0, 0.5, 0.001):
        draw(tab, "tradeoff", state={"points": [point("all")], "min_score": 0.95, "p95_latency_s": limit})
        cost, latency = tab.locator("svg[viewBox='0 0 470 330']").all()
        for line in tab.locator("line.axis[stroke-dasharray]").all():
            assert 24 <= float(line.get_attribute("y1") or "nan") <= 286
        assert cost.locator("line.axis[stroke-dasharray]").count() == 1  # the minimum, above all intervals
        drawn = latency.locator("line.axis[stroke-dasharray]").count() - 1
        found[limit] = (drawn, latency.locator(".limit").all_text_contents())
    assert found == {60.0: (0, ["limit 60 s →"]), 0.5: (1, []), 0.001: (0, ["← limit 0.001 s"])}


RAW = '{"kind":"invoice","vendor":"Parkhaus_Domgasse","date":"13. März 2026","currency":"EUR"}'


def looked() -> dict[str, Any]:
    """What the pager sends of an item with three JSON answers."""
    names = ("one", "two", "three")
    answers = [
        {"name": name, "verdict": "score 0.90", "figures": "", "parts": [[RAW, False]], "json": True, "counts": False}
        | {"prompt": f"asked of {name}"}
        for name in names
    ]
    rows = [
        {"path": "date", "values": ["2026-03-13", "13. März 2026", "2026-03-13", "2026-03-14"]}
        | {"differs": [False, True, False, True], "counts": [False, True, False, False]}
    ]
    look = {"task": "t", "item": "i", "class": "open", "hidden": False, "slices": "", "inputs": [["text", "x"]]}
    look |= {"key": json.dumps({"date": "2026-03-13"}), "prompt": "asked of one", "answers": answers, "fields": rows}
    state = {"task": "t", "slice": "", "a": "one", "b": "two", "show": "all", "sort": "x", "at": 0, "blind": False}
    state |= {"said": "", "tasks": ["t"], "slices": [], "candidates": names, "columns": names, "shows": ["all"]}
    return {**state, "sorts": ["x"], "total": 1, "correctable": False, "opened": False, "look": look | {"keyed": True}}


def test_side_by_side_tells_mistakes_from_other_spellings(tab: Page) -> None:
    draw(tab, "side_by_side", message=looked())
    assert tab.locator("td.differs").all_inner_texts() == ["2026-03-14"]
    assert tab.locator("td.otherwise").all_inner_texts() == ["13. März 2026"]
    assert tab.locator("td.otherwise").get_attribute("title") == "written otherwise, counts as right"


def test_any_column_s_prompt_opens_and_is_closed_at_first(tab: Page) -> None:
    draw(tab, "side_by_side", message=looked())
    prompts = tab.locator(".card details pre")
    assert prompts.count() == 3 and not any(each.is_visible() for each in prompts.all())
    tab.locator(".card details summary").nth(1).click()
    assert prompts.nth(1).inner_text() == "asked of two" and not prompts.nth(0).is_visible()


def test_raw_json_is_not_broken_inside_words_and_stands_apart_from_the_table(tab: Page) -> None:
    tab.set_viewport_size({"width": 620, "height": 900})
    draw(tab, "side_by_side", message=looked())
    card = tab.locator(".card pre.json").nth(1)
    lines = """(pre) => {
      const walk = document.createTreeWalker(pre, NodeFilter.SHOW_TEXT), range = document.createRange();
      let said = "", top = null;
      for (let text = walk.nextNode(); text; text = walk.nextNode())
        for (let at = 0; at < text.length; at++) {
          range.setStart(text, at); range.setEnd(text, at + 1);
          const now = Math.round(range.getBoundingClientRect().top);
          said += (top !== null && now !== top ? "\\n" : "") + text.data[at];
          top = now;
        }
      return said;
    }"""
    broken: str = card.evaluate(lines)
    assert "\n" in broken  # it is wider than its card
    for value in ("Parkhaus_Domgasse", "invoice", "currency", "vendor"):
        assert value in broken
    assert card.evaluate("(pre) => pre.textContent") == RAW  # and copied as it was written
    assert card.evaluate("(pre) => pre.scrollWidth <= pre.clientWidth")
    table, first = tab.locator(".fields").bounding_box(), tab.locator(".columns").last.bounding_box()
    assert table and first and first["y"] - table["y"] - table["height"] >= 12
    tab.set_viewport_size({"width": 1100, "height": 900})


@pytest.mark.parametrize(
    ("costs", "numbers"),
    [
        ([0.0007, 0.00078, 0.0012], ["$0.0004", "$0.0006", "$0.0008", "$0.002"]),
        ([0.0000293, 0.000073], ["$0.00002", "$0.00005", "$0.0001"]),
        ([0.0000001, 3.0], ["$0.0000001", "$0.00001", "$0.001", "$0.1"]),
        ([0.00100, 0.00101], ["$0.0006", "$0.0008", "$0.001"]),
        ([0, 0.001], ["free", "$0.0005", "$0.001"]),
    ],
)
def test_the_numbers_of_an_axis_are_round_in_full_and_apart(tab: Page, costs: list[float], numbers: list[str]) -> None:
    points = [point(f"m{at}", cost=cost, cost_lo=cost, cost_hi=cost) for at, cost in enumerate(costs)]
    draw(tab, "tradeoff", state={"points": points, "min_score": 0.5, "p95_latency_s": None})
    shown = tab.locator("svg[viewBox='0 0 470 330']").first.locator("text[text-anchor='middle']")
    found = [text for text in shown.all_text_contents() if text.startswith(("$", "free"))]
    boxes = [shown.nth(at).bounding_box() for at, text in enumerate(shown.all_text_contents()) if text in found]
    spans = sorted((box["x"], box["x"] + box["width"]) for box in boxes if box)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(spans))
    assert sorted(found) == sorted(numbers)
