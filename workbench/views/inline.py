"""The style of a static view, on its elements: JupyterLab strips a `<style>` from a notebook that it does not trust.

inlined("<table><tr class=on><td class=t>…</td></tr></table>")

Cells have a class: `t` a name, `w` running text (`f` narrower), none a number; a row with the class `on` is bold. `<u>`
marks weakly. Colors come with opacity, or with their own ground, so that they read on light and on dark: JupyterLab
takes `color:inherit` away.
"""

from __future__ import annotations

import math
import re

_LINE = "1px solid rgba(128,128,128,0.35)"
_CELL = f"padding:3px 9px;border-bottom:{_LINE};text-align:"
_STYLES = {
    "table": "border-collapse:collapse;font-size:13px;margin:4px 0 12px",
    "caption": "caption-side:top;text-align:left;padding:4px 0;font-weight:600",
    "cell": f"{_CELL}right;white-space:nowrap",
    "t": f"{_CELL}left;white-space:nowrap;max-width:40em;overflow:hidden;text-overflow:ellipsis",
    "w": f"{_CELL}left;white-space:normal;max-width:52em;overflow-wrap:anywhere",
    "f": "max-width:26em;overflow-wrap:break-word",
    "pre": "white-space:pre-wrap;margin:0;padding:0;background:none;text-align:left;overflow-wrap:break-word",
    "summary": "cursor:pointer;opacity:0.75",
    "mark": "background:#f3cf7a;color:#000;border-bottom:2px solid #e69f00",
    "u": "text-decoration:none;border-bottom:1px dashed #e69f00",
}
# All text is escaped, so that what looks like a tag is one of ours.
_TAG = re.compile(r"<(/?)(table|caption|tr|td|th|pre|mark|u|summary)\b([^>]*)>")
_CLASS = re.compile(r"""\bclass=["']?((?<=["'])[\w ]+|\w+)""")
_STYLE = re.compile(r'\s*\bstyle="([^"]*)"')


def inlined(content: str) -> str:
    """The views' style written on the elements of a piece of HTML, and bold as `<strong>`, which every page keeps."""
    bold = False

    def tag(found: re.Match[str]) -> str:
        nonlocal bold
        closing, name, attributes = found[1], found[2], found[3]
        strong = name == "td" and bold
        if closing:
            return f"</strong></{name}>" if strong else found[0]
        named = _CLASS.search(attributes)
        kinds = named[1].split() if named else []
        if name == "tr":
            bold = "on" in kinds
            return found[0]
        if name in ("td", "th"):
            style = ";".join([_STYLES[each] for each in kinds if each in "twf"] or [_STYLES["cell"]])
        else:
            style = _STYLES[name]
        own = _STYLE.search(attributes)
        if own:
            style, attributes = f"{style};{own[1]}", _STYLE.sub("", attributes, count=1)
        return f'<{name}{attributes} style="{style}">{"<strong>" if strong else ""}'

    return _TAG.sub(tag, content)


_BAR_PX = 110
_PIECE = "display:inline-block;height:11px;vertical-align:middle;"


def bar(lo: float, at: float, hi: float) -> str:
    """An interval between 0 and 1 as a band with a line at the estimate, drawn by boxes that follow each other."""
    if math.isnan(lo + at + hi):
        return ""
    ends = [min(max(round(_BAR_PX * each), 0), _BAR_PX) for each in (lo, at, hi)]
    left, middle = min(ends[0], _BAR_PX - 2), min(max(ends[1] - 1, ends[0]), _BAR_PX - 2)
    right = max(ends[2], middle + 2)
    band, rest = "rgba(0,114,178,0.55)", "rgba(128,128,128,0.18)"
    pieces = (
        ("rest", left, rest),
        ("band", middle - left, band),
        ("at", 0, "none"),
        ("band", right - middle - 2, band),
        ("rest", _BAR_PX - right, rest),
    )
    drawn = "".join(
        f'<span class="{name}" style="{_PIECE}{_look(name, width, color)}"></span>'
        for name, width, color in pieces
        if width > 0 or name == "at"
    )
    return f'<span class="bar" style="display:inline-block;white-space:nowrap;font-size:0px">{drawn}</span>'


def _look(name: str, width: int, color: str) -> str:
    # The line at the estimate takes the text's color, whatever the theme's is.
    return "width:0px;border-left:2px solid" if name == "at" else f"width:{width}px;background:{color}"
