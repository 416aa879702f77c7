"""The README's two pictures, remade: the dashboard of the demo's models in a real JupyterLab, light and dark.

.venv/bin/python docs/pictures.py                       # docs/dashboard-*.png, from 24 items
.venv/bin/python docs/pictures.py --sample 4 --to /tmp  # to see that it works

It asks the models in a project of its own, in a scratch folder: no earlier answer and no setting is in a picture.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

REPOSITORY = Path(__file__).parent.parent
sys.path.insert(0, str(REPOSITORY / "tests"))  # how the browser tests drive JupyterLab and Chromium

if TYPE_CHECKING:
    from playwright.sync_api import Page

TASK = "data_extraction"
CELL = """import workbench as wb

models = wb.load_models("models.yaml").select({models!r})
run = wb.run(wb.load_evalsets("evalsets", {task!r}), models, sample={sample}, variants="few_shot,terse", track=False)
wb.show(run)"""
THEMES = ("light", "dark")
DASHBOARD = ".widget-tab"
PLACE = "document.querySelector('.wbd .place').innerText"


def make_project(root: Path, models: str, sample: int) -> None:
    """A project with the task, the models and a notebook of one cell for each theme."""
    import nbformat

    shutil.copytree(REPOSITORY / "evalsets" / TASK, root / "evalsets" / TASK)
    shutil.copy(REPOSITORY / "models.yaml", root / "models.yaml")
    (root / "notebooks").mkdir()
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)"}}
    cell = nbformat.v4.new_code_cell(CELL.format(models=models, task=TASK, sample=sample))
    for name in THEMES:  # JupyterLab saves what it has run, and would show that instead of running it
        nbformat.write(nbformat.v4.new_notebook(metadata=kernel, cells=[cell]), root / "notebooks" / f"{name}.ipynb")


def take(tab: Page, path: Path) -> None:
    """The dashboard as it stands, in as few colors as it needs."""
    from PIL import Image

    tab.mouse.move(0, 0)  # no tip hangs over it
    tab.wait_for_timeout(500)
    picture = Image.open(io.BytesIO(tab.locator(DASHBOARD).first.screenshot()))
    picture.convert("RGB").quantize(256).save(path, optimize=True)
    print(path)


def find_item(tab: Page, item: str) -> None:
    """Page to an item among those that the models disagree on; where it is not, the first stays."""
    tab.locator(".wbd select[aria-label='show']").select_option("disagreement")
    tab.wait_for_timeout(1000)
    first, _, many = tab.evaluate(PLACE).partition(" of ")
    for place in range(int(first), int(many or 0) + 1):
        if tab.get_by_text(f"item {item} ").count():
            return
        if place < int(many):
            tab.get_by_role("button", name="next (right arrow)").click()
            tab.wait_for_function(f"{PLACE}.startsWith('{place + 1} of')")
    print(f"{item} is not among these items: another one is shown")


def main() -> int:
    """Make both pictures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sample", type=int, default=24, help="items that are asked (24)")
    parser.add_argument("--models", default="gemma3-q4,smollm2-q4", help="names from models.yaml, comma-separated")
    parser.add_argument("--item", default="dx-018", help="the one that is shown side by side (dx-018)")
    parser.add_argument("--to", type=Path, default=REPOSITORY / "docs", help="the folder (docs)")
    parser.add_argument("--limit", type=float, default=1800, help="seconds that the models may take (1800)")
    arguments = parser.parse_args()
    arguments.to.mkdir(parents=True, exist_ok=True)
    from browser import page
    from lab import jupyterlab, open_notebook, run_all, turn_to

    with tempfile.TemporaryDirectory() as scratch:
        root, settings = Path(scratch, "project"), Path(scratch, "settings")
        root.mkdir()
        make_project(root, arguments.models, arguments.sample)
        with jupyterlab(root, settings) as base, page(1280, 1400) as tab:
            for theme in THEMES:  # the second run has its answers from the first
                dark = theme == "dark"
                open_notebook(tab, base, f"{theme}.ipynb", dark)
                if failed := run_all(tab, arguments.limit):
                    print(*failed, sep="\n", file=sys.stderr)
                    return 1
                tab.locator(".wbd table").first.wait_for()
                turn_to(tab, "Side by side" if dark else "Trade-off")
                if dark:
                    find_item(tab, arguments.item)
                    take(tab, arguments.to / "dashboard-side-by-side.png")
                else:
                    tab.locator(".wbd svg .point").first.wait_for()
                    take(tab, arguments.to / "dashboard-tradeoff.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
