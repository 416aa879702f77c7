"""Every notebook in a real JupyterLab, in Debian's Chromium: opened, all cells run, and what it shows is there."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from browser import page
from conftest import REPOSITORY
from lab import jupyterlab, open_notebook, run_all, turn_to

from workbench.notebooks import load_index

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
INDEX = {entry.name: entry for entry in load_index(REPOSITORY / "notebooks")}
SHOWN = {  # what a person sees at the end of each, beside the absence of an error
    "01_quickstart": ".wbd table",
    "02_evalsets": ".wb table",
    "03_compare": ".wbd table",
    "04_quantization": ".wb table",
    "05_serving": ".jp-OutputArea-output img",
    "06_routing": ".wb table",
}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A project with our notebooks, each with the parameters that CI gives it; its JupyterLab's address."""
    root = tmp_path_factory.mktemp("browser")
    for name in ("evalsets", "notebooks"):
        shutil.copytree(REPOSITORY / name, root / name)
    for name in ("models.yaml", "models-quantized.yaml"):
        shutil.copy(REPOSITORY / name, root / name)
    for name, entry in INDEX.items():
        path = root / "notebooks" / f"{name}.ipynb"
        notebook = nbformat.read(path, 4)
        (cell,) = [each for each in notebook.cells if "parameters" in each.metadata.get("tags", [])]
        for key, value in entry.small.items():
            cell.source, changed = re.subn(rf"(?m)^({key}: \w+ = ).*$", lambda m, v=value: f"{m[1]}{v!r}", cell.source)
            assert changed == 1
        nbformat.write(notebook, path)
    with jupyterlab(root, tmp_path_factory.mktemp("settings")) as base:
        yield base


def test_what_each_notebook_shows_is_known() -> None:
    assert list(SHOWN) == list(INDEX)


@pytest.mark.parametrize("name", list(SHOWN))
def test_a_notebook_runs_in_jupyterlab_and_shows_what_it_found(lab: str, name: str, tmp_path: Path) -> None:
    with page() as tab:
        open_notebook(tab, lab, f"{name}.ipynb")
        assert run_all(tab, INDEX[name].budget_s) == []
        tab.locator(SHOWN[name]).first.wait_for(state="attached")
        if SHOWN[name].startswith(".wbd"):  # the dashboard is alive there
            turn_to(tab, "Trade-off")
            tab.locator(".wbd svg .point").first.wait_for(state="attached")
        tab.screenshot(path=str(tmp_path / f"{name}.png"))
