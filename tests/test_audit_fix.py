"""`workbench evalset check --fix`: what it mends, what it leaves as it is, and the command's exit status and words."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from audited import Rows, colors, found, says, tickets
from conftest import item, write_evalset

from workbench.audit import apply_fixes, audit
from workbench.cli import main
from workbench.errors import InputError, RunError
from workbench.evalset import load_evalset


def again(row: dict[str, Any], new: str, **changes: Any) -> dict[str, Any]:
    return {**row, "id": new, **changes}


def broken(items: Rows, train: Rows) -> None:
    """One of everything that can be mended without judgment."""
    items.insert(9, again(items[7], "twin"))
    train += [
        again(train[1], "t-twin"),
        again(items[8], "t-test"),
    ]
    says(items[12], "of jo@example.com")
    says(train[4], "of al@example.com")
    items.append(again(items[0], "bare", sensitivity="internal", expectations={"label": "red"}))


def lines(folder: Path, name: str = "items.jsonl") -> list[str]:
    return (folder / name).read_text().splitlines()


def check(*arguments: str) -> int:
    return main(["evalset", "check", *arguments])


def test_everything_that_can_be_mended_is(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evalset = colors(project, broken)
    before = {name: lines(evalset.path, name) for name in ("items.jsonl", "train.jsonl")}
    assert {finding.check for finding in audit(evalset).findings} == {
        *("duplicates", "contamination", "personal data", "sensitivity")
    }
    assert check("colors") == 1
    capsys.readouterr()
    assert check("colors", "--fix") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[:4] == [
        "colors: items.jsonl: 2 items dropped: twin, bare",
        "colors: items.jsonl: 1 item marked restricted: c-012",
        "colors: train.jsonl: 2 items dropped: t-twin, t-test",
        "colors: train.jsonl: 1 item marked restricted: t-005",
    ]
    assert out[4] == "colors: clean"
    assert found(audit(load_evalset(evalset.path))) == []

    for name, old in before.items():
        kept = [line for line in old if json.loads(line)["id"] not in ("twin", "bare", "t-twin", "t-test")]
        new = lines(evalset.path, name)
        changed = {json.loads(one)["id"]: other for one, other in zip(kept, new, strict=True) if one != other}
        assert list(changed) == (["c-012"] if name == "items.jsonl" else ["t-005"])
        for identifier, line in changed.items():
            source = next(json.loads(one) for one in kept if json.loads(one)["id"] == identifier)
            assert json.loads(line) == {**source, "sensitivity": "restricted"}


def test_a_second_fix_does_nothing(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evalset = colors(project, broken)
    assert check("colors", "--fix") == 0
    first = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in evalset.path.iterdir()}
    capsys.readouterr()
    assert check("colors", "--fix") == 0
    assert capsys.readouterr().out.startswith("colors: clean\n")
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in evalset.path.iterdir()} == first


def test_without_fix_nothing_is_written(project: Path) -> None:
    evalset = colors(project, broken)
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in evalset.path.iterdir()}
    assert check("colors") == 1
    assert {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in evalset.path.iterdir()} == before


def test_lines_keep_their_spelling_and_the_file_its_mode(project: Path) -> None:
    """A line that is not mended stays as somebody wrote it: order of keys, escapes, numbers, no sensitivity."""
    folder = colors(project).path
    path = folder / "items.jsonl"
    odd = '{"expectations":{"label":"red"},  "inputs":{"thing":"caf\\u00e9 awnings","n":1.50},"id":"odd"}'
    flagged = (
        '{"id": "f", "inputs": {"thing": "a hat of jo@example.com, 1.50, Café"}, "expectations": {"label": "red"}}'
    )
    path.write_text("\n".join([odd, flagged, *lines(folder), lines(folder)[5].replace("c-006", "twin")]))
    path.chmod(0o600)
    done = apply_fixes(load_evalset(folder), audit(load_evalset(folder)))
    assert done == ["items.jsonl: 1 item dropped: twin", "items.jsonl: 1 item marked restricted: f"]
    assert lines(folder)[0] == odd
    assert lines(folder)[1] == flagged.replace('"red"}}', '"red"}, "sensitivity": "restricted"}')
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_bytes().endswith(b"}\n")


ODD = (
    '{ "id":"odd",  "inputs":{"thing":"caf\\u00e9 \\ud83d\\ude00 of jo@example.com","n":1.10,"e":1E5,'
    '"big":12345678901234567890123,"note":"a { } , \\" : \u2028 b"}, "expectations":{"label":"red"}%s }'
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("stated", [None, ' , "sensitivity" :\t"public"', ', "sensitivity": null'])
def test_what_is_not_mended_stays_byte_by_byte(
    project: Path, end: str, last: bool, mark: str, stated: str | None
) -> None:
    """Ends of lines, a byte order mark, blank lines; in the line that is marked, numbers, escapes and spaces."""
    folder = colors(project).path
    odd = ODD % (stated or "")
    own = [*lines(folder)[:5], "", odd, *lines(folder)[5:], lines(folder)[5].replace("c-006", "twin"), "  ", "{}"]
    own[-1] = lines(folder)[6].replace("c-007", "c-999").replace('"thing": "', '"thing": "unlike ')
    written = mark + end.join(own) + (end if last else "")
    (folder / "items.jsonl").write_bytes(written.encode())
    done = apply_fixes(load_evalset(folder), audit(load_evalset(folder)))
    assert done == ["items.jsonl: 1 item dropped: twin", "items.jsonl: 1 item marked restricted: odd"]
    restricted = stated.replace('"public"', "null").replace("null", '"restricted"') if stated else None
    expected = written.replace(odd, ODD % (restricted or ', "sensitivity": "restricted"')).replace(own[-3] + end, "")
    assert (folder / "items.jsonl").read_bytes() == expected.encode()
    assert "odd" not in str(audit(load_evalset(folder)))


def test_a_fix_of_a_samples_audit_keeps_the_other_items(project: Path) -> None:
    evalset = colors(project, broken)
    apply_fixes(evalset.sample(20), audit(evalset.sample(20)))
    assert len(lines(evalset.path)) >= 60


def test_a_fix_leaves_the_examples_that_prompts_show(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plant(items: Rows, train: Rows) -> None:
        del train[3:]
        train[2] = again(items[8], "t-test")

    evalset = colors(project, plant)  # a prompt shows three examples
    before = lines(evalset.path, "train.jsonl")
    assert check("colors", "--fix") == 1
    out = capsys.readouterr().out
    assert out.startswith(
        "colors: train.jsonl: nothing dropped: 2 would be left, and a prompt shows 3. Add others, then again\n"
    )
    assert lines(evalset.path, "train.jsonl") == before
    load_evalset(evalset.path)


@pytest.mark.parametrize(
    "plant",
    [
        lambda items, train: items.append(again(items[7], "x", expectations={"label": "blue"})),
        lambda items, train: items.append(item("x", "The Golden Gate Bridge (from afar)")),
        lambda items, train: items.append(item("x", "the golden gate BRIDGE  from afar")),
        lambda items, train: train.append(item("x", "The Golden Gate Bridge (from afar)")),
        lambda items, train: train.append(item("x", "the golden gate BRIDGE  from afar")),
        lambda items, train: says(items[3], "\nLabel: red"),
    ],
)
def test_what_takes_judgment_is_left_alone(project: Path, plant: Callable[[Rows, Rows], None]) -> None:
    evalset = colors(project, plant)
    before = {name: lines(evalset.path, name) for name in ("items.jsonl", "train.jsonl")}
    assert check("colors", "--fix") == 1
    assert {name: lines(evalset.path, name) for name in before} == before


def test_a_fix_that_fails_in_the_middle_leaves_the_file_whole(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    evalset = colors(project, broken)
    report = audit(evalset)
    before = (evalset.path / "items.jsonl").read_bytes()

    def full(source: Any, target: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(RunError, match=r"items\.jsonl: cannot be written \(No space left on device\)"):
        apply_fixes(evalset, report)
    assert (evalset.path / "items.jsonl").read_bytes() == before
    assert sorted(path.name for path in evalset.path.iterdir()) == ["evalset.yaml", "items.jsonl", "train.jsonl"]


def test_a_link_inside_the_folder_stays_a_link(project: Path) -> None:
    folder = colors(project, broken).path
    (folder / "items.jsonl").rename(folder / "v2.jsonl")
    (folder / "items.jsonl").symlink_to("v2.jsonl")
    evalset = load_evalset(folder)
    apply_fixes(evalset, audit(evalset))
    assert (folder / "items.jsonl").is_symlink() and found(audit(load_evalset(folder))) == []


# The command.


def test_the_exit_status_is_that_of_all_sets(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    colors(project)
    tickets(project, lambda items, train: items.append(again(items[3], "x")))
    assert check("colors") == 0
    assert check("tickets") == 1
    assert check() == 1
    out = capsys.readouterr().out
    assert out.count("colors: clean") == 2 and out.count("tickets: 1 finding\n") == 2
    assert check("nowhere") == 2
    assert capsys.readouterr().err == (
        "workbench: there is no eval set 'nowhere' in evalsets. It has: colors, tickets.\n"
    )
    assert check("colors", "--detector", "presidio") == 2
    assert "pip install 'workbench[pii]'" in capsys.readouterr().err


@pytest.mark.parametrize(
    "option", [("--outcomes", "gone.parquet"), ("--models", "gone"), ("--models-file", "gone.yaml")]
)
def test_a_file_or_model_that_is_not_there_is_told_before_anything_is_mended(
    project: Path, capsys: pytest.CaptureFixture[str], option: tuple[str, str]
) -> None:
    evalset = colors(project, broken)
    before = lines(evalset.path)
    models = ("--models", "any") if option[0] == "--models-file" else ()
    assert check("colors", "--fix", *option, *models) == 2
    assert lines(evalset.path) == before
    assert capsys.readouterr().err.startswith("workbench: ")


def test_all_ids_are_named_where_that_is_asked_for(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def plant(items: Rows, train: Rows) -> None:
        for row in items[:12]:
            says(row, f"of {row['id']}@example.com")

    colors(project, plant)
    assert check("colors") == 1
    assert "c-006, c-007, c-008, c-009 and 3 more. Set" in capsys.readouterr().out
    assert check("colors", "--ids") == 1
    assert "c-009, c-010, c-011, c-012." in capsys.readouterr().out


def test_notes_do_not_fail_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    evalset = write_evalset(
        project,
        "notes",
        [item(f"i{n}", f"{'abcdefghij'[n]} {n * 77}", "red green blue".split()[n % 3]) for n in range(10)],
    )
    rows = [
        {"task": "notes", "item_id": f"i{n}", "model": model, "score": float(n > 0)}
        for model in ("one", "two", "three")
        for n in range(10)
    ]
    (project / "outcomes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert load_evalset(evalset).name == "notes"
    check("notes", "--outcomes", "outcomes.jsonl")
    out = capsys.readouterr().out
    assert "note [hardness] 1 of 10 items that none of 3 candidates gets right: i0. Look at their keys first" in out
    assert "note [hardness] 9 of 10 items that all 3 candidates get right" in out


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "items.jsonl: there is no such file"), (b"\xff\xfe\n", "items.jsonl:1: not UTF-8 text"), (b"x\n", "JSON")],
)
def test_a_file_that_was_spoiled_since_the_audit_is_told(project: Path, content: bytes | None, says: str) -> None:
    evalset = colors(project, broken)
    report, path = audit(evalset), evalset.path / "items.jsonl"
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        apply_fixes(evalset, report)
    assert not path.exists() if content is None else path.read_bytes() == content


def test_a_fix_takes_a_set_and_its_own_audit(project: Path) -> None:
    evalset = colors(project, broken)
    report = audit(evalset)
    before = (evalset.path / "items.jsonl").read_bytes()
    given: list[tuple[Any, Any]] = [(None, report), (evalset, None), (evalset, "x"), ("x", report)]
    for one, other in given:
        with pytest.raises(InputError, match="takes an eval set and its audit"):
            apply_fixes(one, other)
    with pytest.raises(InputError, match="the audit is of 'other', not of 'colors'"):
        apply_fixes(evalset, replace(report, name="other"))
    assert (evalset.path / "items.jsonl").read_bytes() == before
