"""What `--fix` does: drops repeated items, marks others as restricted.

All else stays as it is, byte by byte: other lines, and in a line that is marked what somebody wrote there.

for line in apply_fixes(evalset, audit(evalset)): print(line)
"""

from __future__ import annotations

import json
import stat
from codecs import BOM_UTF8
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from workbench import project
from workbench.audit.report import Audit, count_of, shortened
from workbench.errors import InputError
from workbench.evalset import EvalSet
from workbench.evalset.corrections import FILE as CORRECTIONS
from workbench.evalset.corrections import read_corrections
from workbench.files import json_line, opened, write_pieces

_IDS_SHOWN = 20
_DECODER = json.JSONDecoder()


def apply_fixes(evalset: EvalSet, report: Audit) -> list[str]:
    """Mend what can be mended without judgment, in the eval set's files, each whole or not at all.

    Returns:
        What was done, or left undone, in lines; none where there was nothing to do.

    Raises:
        InputError: something else than an eval set and its audit, or a file that was changed and cannot be read.
    """
    _refuse_other(evalset, report)
    drop = {name for finding in report.findings if finding.fix for name in finding.fix.drop}
    restrict = {name for finding in report.findings if finding.fix for name in finding.fix.restrict}
    done = []
    kept = sum(item.id not in drop for item in evalset.train)
    needed = max(variant.examples for variant in evalset.spec.variants.values())
    if kept < min(needed, len(evalset.train)):
        drop -= {item.id for item in evalset.train}
        done.append(
            f"train.jsonl: nothing dropped: {kept} would be left, and a prompt shows {needed}. Add others, then again"
        )
    for name, items in (("items.jsonl", evalset.items), ("train.jsonl", evalset.train)):
        dropped = [item.id for item in items if item.id in drop]
        marked = [item.id for item in items if item.id in restrict - drop and item.sensitivity != "restricted"]
        if not dropped and not marked:
            continue
        path = (evalset.path / name).resolve()
        if not path.is_file():
            raise InputError(f"{project.shown(evalset.path / name)}: there is no such file.")
        write_pieces(path, _mended(path, set(dropped), set(marked)), mode=stat.S_IMODE(path.stat().st_mode))
        for what, ids in (("dropped", dropped), ("marked restricted", marked)):
            if ids:
                done.append(f"{name}: {count_of(ids)} {what}: {shortened(ids, at_most=_IDS_SHOWN)}")
    corrections = evalset.path / CORRECTIONS
    gone = {item.id for item in evalset.items if item.id in drop}
    if corrections.exists() and any(each.item in gone for _, each in read_corrections(corrections)):
        write_pieces(corrections, _without(corrections, gone), mode=stat.S_IMODE(corrections.stat().st_mode))
        done.append(f"{CORRECTIONS}: those of dropped items removed")
    return done


def _refuse_other(evalset: object, report: object) -> None:
    if not isinstance(evalset, EvalSet) or not isinstance(report, Audit):
        given = f"{type(evalset).__name__} and {type(report).__name__}"
        raise InputError(f"apply_fixes takes an eval set and its audit, not {given}. Write apply_fixes(e, audit(e)).")
    if report.name != evalset.name:
        raise InputError(f"the audit is of '{report.name}', not of '{evalset.name}'. Audit '{evalset.name}' first.")


def _without(path: Path, gone: set[str]) -> Iterator[bytes]:
    for raw, entry in _lines(path):
        if entry.get("item") not in gone:
            yield raw


def _mended(path: Path, dropped: set[str], marked: set[str]) -> Iterator[bytes]:
    for raw, item in _lines(path):
        if item.get("id") in marked:
            yield _restricted(raw.decode()).encode()
        elif item.get("id") not in dropped:
            yield raw


def _lines(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    """A file's lines as they stand, with what each holds: nothing in a blank line, or a byte order mark."""
    with opened(path) as file:
        for number, written in enumerate(file, 1):
            raw = written
            if number == 1 and written.startswith(BOM_UTF8):
                yield BOM_UTF8, {}
                raw = written.removeprefix(BOM_UTF8)
            line = _text(path, number, raw)
            yield raw, json_line(path, number, line) if line.strip() else {}


def _text(path: Path, number: int, raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise InputError(f"{project.shown(path)}:{number}: not UTF-8 text. Save it as UTF-8.") from None


def _restricted(line: str) -> str:
    """An item's line with its sensitivity set; every other character stays as somebody wrote it."""
    at = line.index("{") + 1
    while True:
        name, at = _value(line, at)
        start = _behind_space(line, line.index(":", at) + 1)
        _, at = _value(line, start)
        if name == "sensitivity":
            return f'{line[:start]}"restricted"{line[at:]}'
        more = _behind_space(line, at)
        if line[more] != ",":
            return f'{line[:at]}, "sensitivity": "restricted"{line[at:]}'
        at = more + 1


def _value(line: str, at: int) -> tuple[Any, int]:
    """The JSON value at a place, behind white space, and where it ends."""
    found: tuple[Any, int] = _DECODER.raw_decode(line, _behind_space(line, at))
    return found


def _behind_space(line: str, at: int) -> int:
    while line[at] in " \t\r\n":
        at += 1
    return at
