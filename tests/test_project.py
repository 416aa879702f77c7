"""Paths as a user means them, from the project's root and from a notebook's folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import write_models

from workbench import project as places
from workbench.cli import main


def test_a_path_is_meant_from_here_where_it_is_there_else_from_the_root(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "notebooks" / "examples").mkdir(parents=True)
    (project / "evalsets").mkdir()
    monkeypatch.chdir(project / "notebooks")
    assert places.resolve("examples") == project / "notebooks" / "examples"
    assert places.resolve("evalsets") == project / "evalsets"
    assert places.resolve("evalsets/new") == project / "evalsets" / "new"


def test_what_goes_upward_stays_in_the_project_though_it_is_not_there_yet(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "notebooks").mkdir()
    monkeypatch.chdir(project / "notebooks")
    assert places.resolve("../exports/evalsets/new") == project / "exports" / "evalsets" / "new"
    assert places.target("../exports/new.yaml") == project / "exports" / "new.yaml"


def test_reading_makes_no_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_models(project, rules={"engine": "rules"})
    assert main(["models"]) == 0 and main(["engine", "list"]) == 0 and main(["leaderboard"]) == 2
    assert not (project / ".workbench").exists()
