"""MLflow's pages, behind the links that a run has, in Debian's Chromium: names, figures, and samples side by side."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import free_port, page, server
from recording_server import RecordingServer
from tracked import CANARY, of_mlflow, planted_run

from workbench.runner import Run

pytestmark = pytest.mark.slow
TASKS = ("colors", "shades")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, str]]:
    """A tracked run, and the base of the pages that `workbench ui` serves."""
    root = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch, RecordingServer() as models:
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(root)
        run = planted_run(root, models, tasks=TASKS)
        assert of_mlflow(run) == []
    port = free_port()
    command = [sys.executable, "-m", "workbench.cli", "ui", "--port", str(port)]
    with server(command, root, f"http://127.0.0.1:{port}/health") as group:
        assert processes(group) == 2  # not MLflow's fifteen
        yield run, f"http://127.0.0.1:{port}"


def processes(group: int) -> int:
    """How many there are in a process group, and in those that its processes started."""
    parents, groups = {}, {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it has just ended
                continue
            if fields[0] != "Z":
                parents[int(entry.name)], groups[int(entry.name)] = int(fields[1]), int(fields[2])
    ours = {each for each, its in groups.items() if its == group}
    while more := {each for each, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return len(ours)


def at(shown: tuple[Run, str], link: str) -> str:
    run, base = shown
    return run.links[link].replace("http://127.0.0.1:5000", base)


@pytest.mark.parametrize(
    ("link", "telling"), [("scores", "colors"), ("which_model", "Which model for which task"), ("comparison", "colors")]
)
def test_the_pages_name_the_candidates_and_the_tasks(
    shown: tuple[Run, str], tmp_path: Path, link: str, telling: str
) -> None:
    with page() as tab:
        tab.goto(at(shown, link))
        for text in (telling, "strong", "weak", "rules"):
            tab.get_by_text(text, exact=text != telling).first.wait_for(state="attached")
        tab.screenshot(path=str(tmp_path / f"mlflow-{link}.png"))


def test_the_evaluation_runs_show_whole_names_and_scores_at_once(shown: tuple[Run, str], tmp_path: Path) -> None:
    run, _ = shown
    board = run.leaderboard.set_index(["candidate", "task"])["score"]
    with page(width=1440, height=1000) as tab:  # a laptop's, beside the assistant that MLflow opens
        tab.goto(at(shown, "comparison"))
        for candidate in ("strong", "weak", "rules"):
            row = tab.get_by_role("row").filter(has=tab.get_by_text(candidate, exact=True))
            row.first.wait_for()
            assert not row.get_by_text(candidate, exact=True).first.evaluate(_CUT)
            for task in TASKS:
                score = f"{float(f'{board[candidate, task]:.4g}'):g}"
                cell = row.get_by_text(score, exact=True).first
                cell.wait_for()
                box = cell.bounding_box()
                assert box is not None and box["x"] + box["width"] < 1440 * 0.74  # left of the assistant
        assert tab.get_by_text("2 tasks, 3 models").first.evaluate(_CUT)  # a long name is: the check sees it
        tab.screenshot(path=str(tmp_path / "mlflow-evaluation-runs.png"))


def test_the_evaluation_runs_tell_variants_and_quantizations_apart(shown: tuple[Run, str], tmp_path: Path) -> None:
    message = {"role": "user", "content": "Color of {{ inputs.thing }}?"}
    variants = {name: {"messages": [message]} for name in ("zero_shot", "few_shot")}
    with pytest.MonkeyPatch.context() as patch, RecordingServer() as models:
        root = next(folder for folder in shown[0].path.parents if (folder / "models.yaml").exists())
        patch.setenv("WORKBENCH_ROOT", str(root))
        patch.chdir(root)
        run = planted_run(root, models, tasks=("hues",), names=("qwen3-8b-awq", "qwen3-8b-gptq"), variants=variants)
        assert of_mlflow(run) == []
    with page(width=1440, height=1000) as tab:
        tab.goto(at(shown, "comparison"))
        seen = set()
        for candidate in run.tracked:
            name = tab.get_by_role("row").get_by_text(re.compile(rf"{re.escape(candidate)}$")).first
            name.wait_for()
            seen.add(name.evaluate(_SEEN))
        tab.screenshot(path=str(tmp_path / "mlflow-variants.png"))
    wanted = {f"{model}#{variant}" for model in ("awq", "gptq") for variant in ("zer", "few")} | {"rules"}
    assert len(seen) == 5 and {name.partition(" ")[0] for name in seen} == wanted


# The letters of a name that its cell shows before the mark of what is left out.
_SEEN = """e => { const text = e.textContent, range = document.createRange(); let leaf = e;
  while (leaf.firstChild) leaf = leaf.firstChild;
  let cell = leaf.parentElement;
  while (cell.scrollWidth <= cell.clientWidth && cell.getAttribute('role') !== 'row') cell = cell.parentElement;
  const whole = cell.getAttribute('role') === 'row', edge = cell.getBoundingClientRect().right - (whole ? 0 : 12);
  for (let n = text.length; n > 0; n--) { range.setStart(leaf, 0); range.setEnd(leaf, n);
    if (range.getBoundingClientRect().right <= edge) return text.slice(0, n); }
  return ''; }"""


# Whether an element, or what it stands in inside its row, hides a part of its text.
_CUT = """e => { for (let at = e; at && at.getAttribute('role') !== 'row'; at = at.parentElement)
    if (getComputedStyle(at).overflowX !== 'visible' && at.scrollWidth > at.clientWidth) return true;
  return false; }"""


def test_the_compare_page_opens_with_who_was_chosen_for_how_many_routes(shown: tuple[Run, str], tmp_path: Path) -> None:
    run, _ = shown
    first = [route.chosen.candidate for route in run.policy.routes if route.chosen]
    assert len(set(first)) > 1 and len(first) == 4
    with page(width=1440, height=1000) as tab:
        tab.goto(at(shown, "compare"))
        plot = tab.locator(".js-plotly-plot, .plotly").first
        for text in ("candidate", "chosen_for", *TASKS[:1], "strong", "weak", "rules"):
            plot.get_by_text(text, exact=True).first.wait_for()
        for candidate in ("strong", "weak", "rules"):
            plot.get_by_text(f"{first.count(candidate)} of 4", exact=True).first.wait_for()
        tab.screenshot(path=str(tmp_path / "mlflow-compare.png"))


def test_a_pairs_samples_stand_side_by_side(shown: tuple[Run, str], tmp_path: Path) -> None:
    run, _ = shown
    first, second = run.links["pair_of"].split(",")[0].split(" and ")
    with page(width=1920) as tab:
        tab.goto(at(shown, "pair"))
        tab.get_by_text("compare to").first.wait_for()
        for text in (first, second, "accepted", "error_class", "format_ok"):
            tab.get_by_text(text, exact=True).first.wait_for()
        row = tab.get_by_role("row").filter(has_text="s1 (colors, disagreement)")
        row.first.wait_for()
        given = run.outcomes.query("task == 'colors' and item_id == 's1'").set_index("model")
        for candidate in (first, second):
            row.get_by_text(given.loc[candidate, "output"], exact=True).first.wait_for()
        tab.screenshot(path=str(tmp_path / "mlflow-pair.png"))
        row.get_by_text("s1 (colors, disagreement)").first.click()
        tab.get_by_text("Comparing 2 traces").wait_for()
        prompts = tab.get_by_text("Color of split 1?")
        prompts.nth(1).wait_for()
        tab.screenshot(path=str(tmp_path / "mlflow-pair-item.png"))
        assert CANARY not in tab.content()


def test_the_comparisons_own_page_shows_the_figure(shown: tuple[Run, str], tmp_path: Path) -> None:
    with page() as tab:
        tab.goto(at(shown, "figure"))
        tab.get_by_text("figures/tradeoff.png").first.wait_for()
        tab.wait_for_function("[...document.images].some(i => i.complete && i.naturalWidth > 300)")
        tab.screenshot(path=str(tmp_path / "mlflow-figure.png"))
        tab.goto(at(shown, "run"))
        tab.get_by_text("2 tasks, 3 models").first.wait_for()
