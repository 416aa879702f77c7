"""docs/scorers.md lists every scorer with all of its settings, and is what the code says today."""

from __future__ import annotations

import importlib.util
from types import ModuleType

import pytest
from conftest import REPOSITORY

from workbench.scorers.base import SCORERS

PAGE = REPOSITORY / "docs" / "scorers.md"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_scorers", PAGE.with_suffix(".py"))
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_of_today(script: ModuleType) -> None:
    assert PAGE.read_text("utf-8") == script.page(), "write it anew: .venv/bin/python docs/scorers.py"


def test_every_setting_of_every_scorer_is_told(script: ModuleType) -> None:
    text = PAGE.read_text("utf-8")
    common = {line.split("`")[1] for cls in script.COMMON for line in script.settings(cls)}
    assert {"label", "exact", "judge"} <= set(script.ours())
    for name in script.ours():
        cls = SCORERS.find(name)
        told = {line.split("`")[1] for line in script.settings(cls)}
        hidden = {field for field, info in cls.model_fields.items() if info.exclude}
        assert f"## `{name}`" in text and set(cls.model_fields) - hidden <= told | common, name
