"""An executed notebook, opened in a real JupyterLab that does not trust it: what it shows can be read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import page
from lab import CELLS, jupyterlab, open_notebook
from test_browser_dashboard import plant

from workbench.notebooks.execute import run_notebook

pytestmark = pytest.mark.slow
REPORT = "wb.quantization_report(table, 'big', candidates='small,rules')"
WEAK = """from IPython.display import HTML
from workbench.views.tables import page

HTML(page("<u>weak</u>"))"""
STYLED = "getComputedStyle(document.querySelector('.jp-OutputArea-output %s')).%s"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    root = tmp_path_factory.mktemp("static")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WORKBENCH_ROOT", str(root))
        plant(root, 60)
        path = root / "notebooks" / "show.ipynb"
        notebook = nbformat.read(path, 4)
        notebook.cells += [nbformat.v4.new_code_cell(source) for source in (WEAK, REPORT)]
        nbformat.write(notebook, path)
        run_notebook(path, root / "notebooks" / "shown.ipynb", {})
    with jupyterlab(root, tmp_path_factory.mktemp("settings")) as base:
        yield base


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_an_executed_notebook_that_is_not_trusted_shows_bars_bold_and_sentences(
    lab: str, theme: str, tmp_path: Path
) -> None:
    with page(1500, 2600) as tab:
        open_notebook(tab, lab, "shown.ipynb", dark=theme == "dark")
        tab.locator(".wb img").first.wait_for(state="attached")
        assert tab.evaluate(f"{CELLS}.map(c => c.trusted)") == [False] * 3
        assert tab.locator(".jp-OutputArea-output style").count() == 0  # what JupyterLab leaves out
        tab.locator(".wb .bar").first.scroll_into_view_if_needed()
        bars = tab.locator(".wb .bar").all()
        assert len(bars) == 3
        for bar in bars:
            box, band = bar.bounding_box(), bar.locator(".band").first.bounding_box()
            assert box and box["width"] == 110 and box["height"] >= 10
            assert band and band["width"] > 2 and band["height"] >= 10
        assert tab.evaluate(STYLED % (".bar .band", "backgroundColor")).startswith("rgba(0, 114, 178")
        assert tab.evaluate(STYLED % (".bar .at", "borderLeftWidth")) == "2px"
        chosen = tab.locator(".wb tr.on td").first
        assert chosen.locator("strong").inner_text() == chosen.inner_text().strip()
        ink = tab.evaluate(STYLED % (".wb", "color"))  # a weak mark has no ground of its own
        assert tab.evaluate(STYLED % (".wb u", "color")) == ink
        assert tab.evaluate(STYLED % (".wb u", "backgroundColor")) == "rgba(0, 0, 0, 0)"
        said, cell = tab.get_by_text("Against big:").bounding_box(), tab.locator(".jp-OutputArea").last.bounding_box()
        assert said and cell and said["width"] > cell["width"] / 2 and said["height"] < 100
        tab.screenshot(path=str(tmp_path / f"static-{theme}.png"))
