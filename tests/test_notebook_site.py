"""The static site: complete without a kernel, a network or a script."""

from __future__ import annotations

import base64
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from workbench.cli import main

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WIDGET = "application/vnd.jupyter.widget-view+json"
VIEW = {"version_major": 2, "version_minor": 0, "model_id": "abc"}


class Tags(HTMLParser):
    """What a page loads, and its tags."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in ("src", "href", "data", "action", "srcset"):
                (self.links if tag == "a" else self.loaded).append(value or "")


def check_standalone(page: str, ours: bool = True) -> Tags:
    """Nothing is loaded but what is in the page; the page's own policy would block it anyway."""
    tags = Tags(page)
    assert "default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'" in page
    if ours:
        assert not [loaded for loaded in tags.loaded if not loaded.startswith("data:image/")]
        assert not {"script", "link", "iframe", "object", "embed"} & set(tags.tags)
        assert not re.search(r"url\(|@import", page)
    return tags


def shown(*outputs: Any, **metadata: Any) -> Any:
    return new_code_cell("the_code()", outputs=list(outputs), execution_count=1, metadata=metadata)


@pytest.fixture
def executed(project: Path) -> Path:
    """Two notebooks of an index, and the folder for executed ones."""
    folder = project / "notebooks"
    folder.mkdir()
    index = {name: {"answers": f"Why {name} & <co>?", "budget_s": 60} for name in ("one", "two")}
    (folder / "index.yaml").write_text(yaml.safe_dump({"schema": 1, "notebooks": index}))
    for name in index:
        nbformat.write(new_notebook(cells=[new_markdown_cell("# x")]), folder / f"{name}.ipynb")
    return project / "exports" / "notebooks"


def site(executed: Path, **notebooks: Any) -> dict[str, str]:
    executed.mkdir(parents=True, exist_ok=True)
    for name, cells in notebooks.items():
        made = new_notebook(cells=cells)
        made.metadata["papermill"] = {"end_time": "2026-11-28T14:11:02+00:00", "duration": 12.4}
        nbformat.write(made, executed / f"{name.replace('_failed', '.failed')}.ipynb")
    assert main(["site"]) == 0
    folder = executed.parent / "site"
    return {path.stem: path.read_text() for path in folder.iterdir()}


def test_a_page_shows_every_output_and_loads_nothing(executed: Path) -> None:
    cells = [
        new_markdown_cell("# A *title*\n\n**Purpose.** To see."),
        new_code_cell("sample: int = 3", metadata={"tags": ["parameters"]}),
        shown(new_output("stream", text="printed <b>as text</b>\n"), new_output("stream", text="and more\n")),
        shown(
            new_output("display_data", {"text/html": "<table><tr><td>in a table</td></tr></table>", "text/plain": "no"})
        ),
        shown(new_output("display_data", {"image/png": PIXEL, "text/plain": "<Figure>"})),
        shown(new_output("execute_result", {"text/plain": "'a <value>'"})),
        shown(new_output("display_data", {"image/svg+xml": "<svg><script>alert(1)</script></svg>"})),
    ]
    pages = site(executed, one=cells)
    assert set(pages) == {"index", "one"}
    page = pages["one"]
    check_standalone(page)
    check_standalone(pages["index"])
    for part in (
        "<em>title</em>",
        "printed &lt;b&gt;as text&lt;/b&gt;\nand more",
        "<td>in a table</td>",
        PIXEL,
        "a &lt;value&gt;",
    ):
        assert part in page
    assert "<summary>Parameters</summary>" in page and "<summary>Code</summary>" in page and "&lt;Figure" not in page
    svg = re.search(r"data:image/svg\+xml;base64,([^\"]+)", page)
    assert svg and b"<script>" in base64.b64decode(svg[1])  # an image: no browser runs it
    assert "run on 2026-11-28 14:11 UTC in 12 s" in page
    index = pages["index"]
    assert '<a href="one.html">Why one &amp; &lt;co&gt;?</a>' in index and "two; was not run" in index
    assert Tags(index).links == ["one.html"]
    assert "prefers-color-scheme:dark" in page


def test_a_widget_leaves_no_hole_and_no_error(executed: Path) -> None:
    static = {"text/html": "<p>the static table</p>", WIDGET: VIEW, "text/plain": "HBox(children=1)"}
    cells = [
        shown(new_output("display_data", {WIDGET: VIEW, "text/plain": "HBox(children=2)"})),
        shown(new_output("display_data", static)),
        shown(
            new_output("display_data", {WIDGET: VIEW, "text/plain": "HBox(children=3)"}),
            new_output("display_data", {"image/png": PIXEL}),
        ),
        shown(new_output("display_data", {"application/javascript": "alert(1)", "text/plain": "<Javascript>"})),
    ]
    page = site(executed, one=cells)["one"]
    check_standalone(page)
    assert "HBox" not in page and "alert(1)" not in page and "abc" not in page
    assert "the static table" in page and PIXEL in page
    assert page.count("It needs a kernel") == 2  # the first cell and the last


def test_a_failed_notebook_is_shown_with_its_error_unless_it_has_succeeded_since(executed: Path) -> None:
    error = new_output(
        "error", ename="ValueError", evalue="no <good>", traceback=["\x1b[31mValueError\x1b[0m: no <good>"]
    )
    pages = site(executed, one=[shown(new_output("stream", text="fine"))], two_failed=[shown(error)])
    assert "no &lt;good&gt;" in pages["two"] and "This run failed" in pages["two"] and "\x1b" not in pages["two"]
    assert "<span class=bad>failed</span>" in pages["index"]
    failed, good = executed / "two.failed.ipynb", executed / "two.ipynb"
    nbformat.write(new_notebook(cells=[shown(new_output("stream", text="mended"))]), good)
    os.utime(failed, ns=(0, good.stat().st_mtime_ns - 1))
    pages = site(executed)
    assert "mended" in pages["two"] and "failed" not in pages["two"] and "failed" not in pages["index"]


def test_what_a_notebook_brings_along_is_blocked_by_the_page(executed: Path) -> None:
    html = "<script src='https://cdn.example/x.js'></script><img src=https://example.com/i.png>"
    page = site(executed, one=[shown(new_output("display_data", {"text/html": html}))])["one"]
    check_standalone(page, ours=False)
    assert page.index("Content-Security-Policy") < page.index("cdn.example")


def test_without_an_executed_notebook_it_says_what_to_do(
    project: Path, executed: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["site"]) == 2
    assert "no executed notebook is there. Run 'workbench notebook --all" in capsys.readouterr().err
    assert not (project / "exports" / "site").exists()
