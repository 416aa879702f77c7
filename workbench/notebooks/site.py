"""A small static site of executed notebooks: no script, no request to anywhere, light and dark.

page = build_site(load_index(), Path("exports/notebooks"), Path("exports/site"))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench import project
from workbench.errors import InputError
from workbench.files import write_atomic
from workbench.notebooks.execute import FAILED, read_notebook
from workbench.notebooks.index import Listed

if TYPE_CHECKING:
    from nbformat import NotebookNode

_WIDGET = "application/vnd.jupyter.widget-view+json"
_ACTIVE = (_WIDGET, "application/javascript", "application/vnd.jupyter.widget-state+json")
_ONLY_LIVE = "<p class=note>An interactive view stood here. It needs a kernel: open the notebook in JupyterLab.</p>"
# Whatever a notebook holds, its page runs no script and asks no other host.
_POLICY = "default-src 'none'; img-src data: 'self'; style-src 'unsafe-inline'"
_STYLE = """
:root{color-scheme:light dark;--ink:#1b1f24;--soft:#57606a;--ground:#fff;--raised:#f6f8fa;--line:#d0d7de;
--link:#0969da;--bad:#b3261e}
@media(prefers-color-scheme:dark){:root{--ink:#e2e6ea;--soft:#9aa4af;--ground:#14171b;--raised:#1d2127;--line:#353b43;
--link:#6cb6ff;--bad:#ff8a80}}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:78rem;margin:0 auto;padding:1.2rem 1.2rem 4rem}
main>nav{font-size:14px;color:var(--soft);margin-bottom:1rem}
a{color:var(--link)}main>p,main>ul,main>ol{max-width:62rem}
h1{font-size:1.75rem;line-height:1.25;margin:.4em 0}h2{font-size:1.25rem;margin:1.8em 0 .3em}
pre{background:var(--raised);padding:.7rem .9rem;border-radius:6px;overflow-x:auto;font-size:13.5px;line-height:1.45;
margin:.4rem 0}
code{font-size:.9em}.out{overflow-x:auto;margin:.6rem 0}.out img{max-width:100%;background:#fff;border-radius:6px}
.out pre{white-space:pre-wrap}.out table{border-collapse:collapse;font-size:13px}
.out caption{min-width:min(46rem,88vw);text-align:left}.out .dataframe{border:0}
.out .dataframe th,.out .dataframe td{padding:3px 9px;text-align:right;border:0;border-bottom:1px solid var(--line)}
details{margin:.5rem 0}summary{cursor:pointer;color:var(--soft);font-size:13px}
.error pre,.bad{color:var(--bad)}.note{color:var(--soft);font-style:italic}
ol{padding-left:1.3rem}ol li{margin:.9rem 0}li p{margin:.1rem 0;color:var(--soft);font-size:14px}
footer{margin-top:3rem;padding-top:.6rem;border-top:1px solid var(--line);color:var(--soft);font-size:13px}
"""
# The notebook's own cells, by nbconvert; code is folded away, since these pages are for whoever decides.
_CELLS = """{%- extends 'display_priority.j2' -%}
{% block input %}<details><summary>{{ 'Parameters' if 'parameters' in cell.metadata.get('tags', []) else
'Parameters of this run' if 'injected-parameters' in cell.metadata.get('tags', []) else 'Code' }}</summary>
{{ cell.source | highlight_code(metadata=cell.metadata) }}</details>{% endblock input %}
{% block output %}<div class="out">{{ super() }}</div>{% endblock output %}
{% block markdowncell %}{{ cell.source | markdown2html }}{% endblock markdowncell %}
{% block stream %}<pre>{{ output.text | ansi2html }}</pre>{% endblock stream %}
{% block error %}<div class="error"><pre>{{ super() }}</pre></div>{% endblock error %}
{% block traceback_line %}{{ line | ansi2html }}
{% endblock traceback_line %}
{% block data_html %}{{ output.data['text/html'] }}{% endblock data_html %}
{% block data_markdown %}{{ output.data['text/markdown'] | markdown2html }}{% endblock data_markdown %}
{% block data_png %}<img alt="{{ (output | get_metadata('alt', 'image/png')) or 'figure' | escape_html }}"
src="data:image/png;base64,{{ output.data['image/png'] | replace('\\n', '') }}">{% endblock data_png %}
{% block data_jpg %}<img alt="figure" src="data:image/jpeg;base64,{{ output.data['image/jpeg'] | replace('\\n', '') }}">
{% endblock data_jpg %}
{% block data_svg %}<img alt="figure" src="data:image/svg+xml;base64,{{ output.data['image/svg+xml'] | text_base64 }}">
{% endblock data_svg %}
{% block data_text %}<pre>{{ output.data['text/plain'] | ansi2html }}</pre>{% endblock data_text %}
"""


def build_site(index: Sequence[Listed], executed: Path, folder: Path) -> Path:
    """Make an HTML page of each executed notebook, and one that says what each answers.

    Args:
        index: the notebooks, in their order.
        executed: the folder with `NAME.ipynb`, or `NAME.failed.ipynb`, which is shown with its error.
        folder: where the pages go.

    Returns:
        The first page.

    Raises:
        InputError: no notebook of the index has been executed there.
    """
    found = {entry.name: path for entry in index if (path := _newest(executed, entry.name)) is not None}
    if not found:
        where = project.shown(executed)
        raise InputError(f"{where}: no executed notebook is there. Run 'workbench notebook --all --to {where}' first.")
    lines = []
    for entry in index:
        title, note = escape(entry.answers), "was not run"
        if path := found.get(entry.name):
            notebook, failed = read_notebook(path), path.name.endswith(FAILED)
            write_atomic(folder / f"{entry.name}.html", _page(entry, notebook, failed))
            title = f'<a href="{escape(entry.name)}.html">{title}</a>'
            note = f"{'<span class=bad>failed</span>, ' if failed else ''}{_ran(notebook)}"
        lines.append(f"<li>{title}<p>{escape(entry.name)}; {note}</p></li>")
    body = (
        "<h1>Which model should each task use, and how do we know?</h1>"
        "<p>Notebooks as they ran, with what they found. Each is a question; its page ends with the answer.</p>"
        f"<ol>{''.join(lines)}</ol>"
    )
    write_atomic(folder / "index.html", _html("Notebooks", body))
    return folder / "index.html"


def _newest(folder: Path, name: str) -> Path | None:
    """The last that was made of a notebook: a success, or a failure since."""
    paths = [path for path in (folder / f"{name}.ipynb", folder / f"{name}{FAILED}") if path.is_file()]
    return max(paths, key=lambda path: path.stat().st_mtime_ns, default=None)


def _page(entry: Listed, notebook: NotebookNode, failed: bool) -> str:
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(raw_template=_CELLS, template_name="basic", anchor_link_text="")
    body, _ = exporter.from_notebook_node(_static(notebook))
    note = "<p class=bad>This run failed; the error stands where it happened.</p>" if failed else ""
    top = f'<nav><a href="index.html">All notebooks</a> · {escape(entry.name)} · {_ran(notebook)}</nav>'
    return _html(entry.answers, f"{top}{note}{body}")


def _static(notebook: NotebookNode) -> NotebookNode:
    """A copy whose outputs all show something on a page without a kernel."""
    import nbformat

    kept = nbformat.from_dict(notebook)
    kept.metadata.pop("widgets", None)
    for cell in kept.cells:
        if cell.cell_type == "code":
            cell.outputs = _joined([output for output in map(_still, cell.outputs) if output is not None])
            if not cell.outputs and any(_is_live(output) for output in _outputs(notebook, cell.get("id"))):
                cell.outputs = [nbformat.v4.new_output("display_data", {"text/html": _ONLY_LIVE})]
    return kept


def _joined(outputs: Sequence[NotebookNode]) -> list[NotebookNode]:
    """Outputs with what a cell printed in a row as one."""
    kept: list[NotebookNode] = []
    for output in outputs:
        last = kept[-1] if kept else None
        if last is not None and output.output_type == last.output_type == "stream" and output.name == last.name:
            last.text += output.text
        else:
            kept.append(output)
    return kept


def _outputs(notebook: NotebookNode, cell_id: str | None) -> Iterable[NotebookNode]:
    return [output for cell in notebook.cells if cell.get("id") == cell_id for output in cell.get("outputs", ())]


def _is_live(output: NotebookNode) -> bool:
    return any(kind in output.get("data", {}) for kind in _ACTIVE)


def _still(output: NotebookNode) -> NotebookNode | None:
    """An output without what needs a script; None where nothing but a widget's name is left."""
    if output.output_type == "execute_result":  # shown as any other: nobody counts cells here
        output.output_type = "display_data"
        output.pop("execution_count", None)
    if not _is_live(output):
        return output
    data: dict[str, Any] = {kind: value for kind, value in output.data.items() if kind not in _ACTIVE}
    if not any(kind != "text/plain" for kind in data):
        return None
    output.data = data
    return output


def _ran(notebook: NotebookNode) -> str:
    """When a notebook was run, and how long it took."""
    noted = notebook.metadata.get("papermill", {})
    try:
        ended = datetime.fromisoformat(noted["end_time"]).astimezone(UTC)
        return f"run on {ended:%Y-%m-%d %H:%M} UTC in {noted['duration']:.0f} s"
    except (KeyError, TypeError, ValueError):
        return "run at an unknown time"


def _html(title: str, body: str) -> str:
    from pygments.formatters import HtmlFormatter

    light = HtmlFormatter(style="default").get_style_defs(".highlight")
    dark = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    ground = ".highlight,.highlight pre{background:var(--raised)!important}"
    colors = f"{light}\n@media(prefers-color-scheme:dark){{{dark}}}\n{ground}"
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{escape(title)}</title><style>{_STYLE}{colors}</style></head>"
        f"<body><main>{body}<footer>Texts of restricted items are replaced by their length. "
        "Made by 'workbench site' from executed notebooks.</footer></main></body></html>\n"
    )
