"""What `--fix` does: drops repeated items, marks others as restricted. All other lines stay as they are, byte by byte.

for line in apply_fixes(evalset, audit(evalset)): print(line)
"""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path

from workbench.audit.report import Audit, count_of, shortened
from workbench.evalset import EvalSet
from workbench.evalset.corrections import FILE as CORRECTIONS
from workbench.evalset.corrections import read_corrections
from workbench.files import json_line, text_lines, write_lines

_IDS_SHOWN = 20


def apply_fixes(evalset: EvalSet, report: Audit) -> list[str]:
    """Mend what can be mended without judgment, in the eval set's files, each whole or not at all.

    Returns:
        What was done, or left undone, in lines; none where there was nothing to do.
    """
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
        write_lines(path, _mended(path, set(dropped), set(marked)), mode=stat.S_IMODE(path.stat().st_mode))
        for what, ids in (("dropped", dropped), ("marked restricted", marked)):
            if ids:
                done.append(f"{name}: {count_of(ids)} {what}: {shortened(ids, at_most=_IDS_SHOWN)}")
    corrections = evalset.path / CORRECTIONS
    gone = {item.id for item in evalset.items if item.id in drop}
    if corrections.exists() and any(each.item in gone for _, each in read_corrections(corrections)):
        write_lines(corrections, _without(corrections, gone), mode=stat.S_IMODE(corrections.stat().st_mode))
        done.append(f"{CORRECTIONS}: those of dropped items removed")
    return done


def _without(path: Path, gone: set[str]) -> Iterator[str]:
    for number, _, line in text_lines(path):
        if json_line(path, number, line).get("item") not in gone:
            yield line.removesuffix("\n")


def _mended(path: Path, dropped: set[str], marked: set[str]) -> Iterator[str]:
    for number, _, line in text_lines(path):
        item = json_line(path, number, line)
        if item.get("id") in marked:
            yield json.dumps({**item, "sensitivity": "restricted"}, ensure_ascii=False)
        elif item.get("id") not in dropped:
            yield line.removesuffix("\n")
