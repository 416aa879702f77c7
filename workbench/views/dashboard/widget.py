"""What the dashboard's browser parts have in common: a script and the style, and figures that a browser can read.

class Board(Part): _esm = script("leaderboard")
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anywidget

_STATIC = Path(__file__).with_name("static")


def script(name: str) -> str:
    """A part's script, behind what all parts share: a browser cannot import one from the other here."""
    return "".join((_STATIC / f"{each}.js").read_text(encoding="utf-8") for each in ("parts", name))


class Part(anywidget.AnyWidget):
    """A part of the dashboard that the browser draws. Its state holds figures and names only, no text of any item."""

    _css = _STATIC / "dashboard.css"


def plain(row: Mapping[Any, Any]) -> dict[str, Any]:
    """A row as JSON has it: a number that is none, or has no bound, is null."""
    return {str(name): _plain(value) for name, value in row.items()}


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
