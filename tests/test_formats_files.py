"""Files that a source names, and where an import cannot read or write: each time one clear error."""

from __future__ import annotations

import errno
import resource
import tempfile
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import InputError
from workbench.formats import import_evalset
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


def denied(*_: Any, **__: Any) -> None:
    raise PermissionError(errno.EACCES, "Permission denied")


def test_a_source_that_may_not_be_read_is_one_clear_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "a.csv").write_text("question,answer\nq,a\n")
    monkeypatch.setattr(Path, "open", denied)
    for named in (None, "table"):
        with pytest.raises(InputError, match=r"a\.csv: cannot be read \(Permission denied\)"):
            import_evalset("a.csv", "evalsets/s", format=named)
    assert not (project / "evalsets").exists()


def test_a_target_that_may_not_be_written_is_one_clear_error(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "a.csv").write_text("question,answer\n" + "".join(f"q{n},a{n}\n" for n in range(9)))
    with pytest.raises(InputError, match=r"a\.csv/s: cannot be written \(it lies below a file, not a folder\)"):
        import_evalset("a.csv", "a.csv/s")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryDirectory", denied)
        with pytest.raises(InputError, match=r"evalsets/s: cannot be written \(Permission denied\)"):
            import_evalset("a.csv", "evalsets/s")
    assert import_evalset("a.csv", "evalsets/s").items == 9


@pytest.mark.parametrize("room", [60_000, 100])  # in the midst of items, and where the file is closed
def test_a_full_disk_is_told_of_the_target(project: Path, room: int) -> None:
    rows = 3000 if room > 1000 else 9
    (project / "a.csv").write_text("question,answer\n" + "".join(f"question {n},a{n}\n" for n in range(rows)))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, before[1]))
    try:
        with pytest.raises(InputError, match=r"evalsets/s: cannot be written \(File too large\)"):
            import_evalset("a.csv", "evalsets/s")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list((project / "evalsets").iterdir()) == []
