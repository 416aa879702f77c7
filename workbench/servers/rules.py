"""The rules engine answers in this process: there is no server to start, and its answers cost nothing.

rules: {engine: rules, zone: local}
"""

from __future__ import annotations

from typing import Any

from workbench.catalog import Model

CAPABILITIES: frozenset[str] = frozenset()


def unavailable(model: Model, batch: bool = False) -> str | None:
    return None


def identity(model: Model) -> dict[str, Any]:
    return {"engine": "rules"}


def engine_id(model: Model) -> str:
    return "rules"


def served_name(model: Model) -> str:
    return "rules"


def launch(model: Model) -> None:
    return None
