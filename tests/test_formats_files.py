"""Files that a source names: what is no pattern means no file, and a folder that cannot be searched is told."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from workbench.errors import InputError
from workbench.formats.shared.files import inside


@pytest.mark.parametrize("name", ["**x/*", "/*", "a" * 300 + "/*", ""])
def test_what_is_no_pattern_means_no_file(tmp_path: Path, name: str) -> None:
    assert inside(tmp_path, name) == []


def test_a_folder_that_cannot_be_searched_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(folder: Path, pattern: str) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(Path, "glob", fails)
    with pytest.raises(InputError, match=r"cannot be searched \(Input/output error\)"):
        inside(tmp_path, "*.txt")
