"""`%%ask` and a run's progress in a real JupyterLab: what is on the screen, and what the saved notebook has of it."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from browser import page
from conftest import item, write_evalset, write_models
from lab import jupyterlab, open_notebook, run_all
from recording_server import RecordingServer

pytestmark = pytest.mark.slow
CANARY = "CANARY-77e0-Frieda"
CELLS = [
    "%load_ext workbench\nimport workbench as wb",
    "%%ask near far\nA secret.",
    "run = wb.run(wb.load_evalsets(), wb.load_models().select('near'), track=False)",
]


def test_restricted_answers_are_on_the_screen_and_in_no_saved_notebook(
    project: Path, tmp_path: Path, server: RecordingServer
) -> None:
    entry = {"engine": "openai", "base_url": server.base_url}
    write_models(project, near={**entry, "model": "m", "zone": "local"}, far={**entry, "model": "n", "zone": "hosted"})
    write_evalset(project, "colors", [item(f"i{n}") for n in range(9)])
    server.answer = lambda body: f"{CANARY} <b>bold</b>" if "secret" in str(body) else "red"
    (project / "notebooks").mkdir()
    path = project / "notebooks" / "asked.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(each) for each in CELLS])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(notebook, path)
    with jupyterlab(project, tmp_path / "settings") as base, page() as tab:
        open_notebook(tab, base, "asked.ipynb")
        assert run_all(tab, 120) == []
        card = tab.locator(".wbd .card pre")
        card.wait_for(state="visible")
        assert card.inner_text() == f"{CANARY} <b>bold</b>"  # as text
        assert "far is hosted" in tab.locator(".wb table").first.inner_text()
        progress = tab.locator("td", has_text="9/9")
        progress.wait_for(state="visible")
        tab.screenshot(path=str(tmp_path / "asked.png"))
        tab.evaluate("async () => await window.jupyterapp.commands.execute('docmanager:save')")
    saved = path.read_text()
    assert "[restricted]" in saved and "9/9" in saved and CANARY not in saved
    assert [request.body["model"] for request in server.requests].count("n") == 0
