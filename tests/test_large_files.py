"""Files larger than the memory that may be spent on them: read as they are asked for, right, by threads, at speed."""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import environment, item, write_evalset

from workbench.errors import InputError
from workbench.evalset import EvalSet, items, load_evalset, save_evalset
from workbench.evalset.items import FileItems
from workbench.prompts import render

MIB = 1 << 20
ODD = ["plain", "caf\u00e9 \U0001f408", "two\nlines", "\u2028\x85\x0b", "\ufeff", '"\\', "x" * 9000, ""]


@pytest.fixture(autouse=True)
def small_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of more than 4 kB count as large."""
    monkeypatch.setattr(items, "IN_MEMORY", 4096)


def rows(count: int = 200) -> list[dict[str, Any]]:
    labels = ["red", "green", "blue", "red"]
    made = [item(f"i{n}", ODD[n % len(ODD)] + str(n), labels[n % 4], slice={"n": str(n % 7)}) for n in range(count)]
    return [{**row, "sensitivity": "restricted"} if n % 3 else row for n, row in enumerate(made)]


def both(project: Path, lines: Sequence[str] | None = None, **changes: Any) -> tuple[EvalSet, EvalSet]:
    """The same eval set with its items in memory, and in their file."""
    folder = write_evalset(project, "mini", items=rows(), **changes)
    if lines is not None:
        (folder / "items.jsonl").write_text("".join(lines), encoding="utf-8", newline="")
    in_file = load_evalset(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(items, "IN_MEMORY", 1 << 30)
        in_memory = load_evalset(folder)
    assert isinstance(in_memory.items, tuple)
    assert isinstance(in_file.items, FileItems)
    return in_memory, in_file


def test_items_in_a_file_are_a_sequence_like_those_in_memory(project: Path) -> None:
    in_memory, in_file = (each.items for each in both(project))
    assert len(in_file) == len(in_memory) == 200
    assert list(in_file) == list(in_memory)
    assert list(reversed(in_file)) == list(reversed(in_memory))
    for index in (0, 1, 199, -1, -200):
        assert in_file[index] == in_memory[index]
    for part in (slice(3), slice(-3, None), slice(5, 150, 7), slice(None, None, -1), slice(190, 400), slice(9, 2)):
        assert in_file[part] == in_memory[part]
    for index in (200, -201):
        with pytest.raises(IndexError):
            in_file[index]
    assert in_memory[77] in in_file
    assert in_file.index(in_memory[77]) == 77
    assert repr(in_file) == "<200 items of evalsets/mini/items.jsonl>"


def test_eval_sets_are_equal_wherever_their_items_are(project: Path) -> None:
    in_memory, in_file = both(project)
    assert in_file == in_memory and in_memory == in_file and in_file == load_evalset(in_file.path)
    assert in_file.items != in_memory.items[:-1]
    assert in_file.items != (*in_memory.items[:-1], in_memory.items[0])
    assert in_file.items != list(in_memory.items)  # as with a tuple


ENDS = {"blank lines": "\n\n \t\n\r\n", "returns": "\r\n", "none at the end": "\n"}


@pytest.mark.parametrize("kind", ENDS)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lines_are_found_whatever_stands_between_them(project: Path, kind: str, mark: str) -> None:
    lines = [json.dumps(row, ensure_ascii=False) + ENDS[kind] for row in rows()]
    lines[0] = mark + lines[0]
    if kind == "none at the end":
        lines[-1] = lines[-1].rstrip()
    in_memory, in_file = both(project, lines)
    assert [entry.id for entry in in_file.items] == [row["id"] for row in rows()]
    assert [entry.inputs["thing"] for entry in in_file.items] == [row["inputs"]["thing"] for row in rows()]
    assert list(in_file.items) == list(in_memory.items)


@pytest.mark.parametrize("n", [1, 24, 79, 199])
def test_a_sample_is_the_same_wherever_the_items_are(project: Path, n: int) -> None:
    in_memory, in_file = both(project)
    sample = in_file.sample(n)
    assert sample == in_memory.sample(n)
    assert isinstance(sample.items, tuple)
    assert in_file.sample(200) is in_file


def test_examples_and_saving_work_from_files(project: Path) -> None:
    train = [{**row, "id": f"t{row['id']}"} for row in rows()]
    messages = [{"role": "user", "content": "{{ inputs.thing }}"}]
    in_memory, in_file = both(project, train=train, variants={"default": {"messages": messages, "examples": 3}})
    assert isinstance(in_file.train, FileItems)
    assert render(in_file, "default", in_file.items[5]) == render(in_memory, "default", in_memory.items[5])
    saved = load_evalset(save_evalset(in_file, project / "evalsets" / "again"))
    assert (saved.items, saved.train) == (in_memory.items, in_memory.train)
    assert load_evalset(save_evalset(in_file, in_file.path)).items == in_file.items  # over the file that it reads


def test_threads_may_read_at_once(project: Path) -> None:
    _, in_file = both(project)
    wrong: list[str] = []
    start = threading.Barrier(8)

    def read(first: int) -> None:
        start.wait()
        for step in range(600):
            index = (first * 31 + step * 17) % 200
            if in_file.items[index].id != f"i{index}":
                wrong.append(f"{index}: {in_file.items[index].id}")
        if [entry.id for entry in in_file.items] != [f"i{n}" for n in range(200)]:
            wrong.append("an iteration")

    threads = [threading.Thread(target=read, args=(first,)) for first in range(8)]
    switching = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(switching)
    assert wrong == []


def test_a_file_that_is_replaced_meanwhile_does_no_harm(project: Path) -> None:
    in_memory, in_file = both(project)
    path = in_file.path / "items.jsonl"
    (project / "new").write_text("{}\n")
    (project / "new").replace(path)
    assert list(in_file.items) == list(in_memory.items)
    path.unlink()
    assert in_file.items[-1] == in_memory.items[-1]


def later(path: Path, text: str) -> None:
    """Write a file as somebody would a moment later, whatever the clock of its file system."""
    path.write_text(text)
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 1))


@pytest.mark.parametrize("change", ["another label", "shorter", "empty", "longer"])
def test_a_file_that_is_changed_in_place_is_noticed(project: Path, change: str) -> None:
    _, in_file = both(project)
    path = in_file.path / "items.jsonl"
    text = path.read_text()
    changed = {"another label": text.replace('"red"', '"tan"'), "shorter": text[:5000], "empty": "", "longer": text * 2}
    later(path, changed[change])
    for read in (lambda: in_file.items[0], lambda: list(in_file.items), lambda: in_file.sample(3)):
        with pytest.raises(InputError) as caught:
            read()
        message = "evalsets/mini/items.jsonl: was changed while it was being read. Load the eval set again."
        assert str(caught.value) == message


def test_a_file_that_is_changed_while_it_is_loaded_is_noticed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_evalset(project, "mini", items=rows())
    path = folder / "items.jsonl"
    read = items.json_line

    def changing(*line: Any) -> Any:
        if line[1] == 150:
            later(path, path.read_text() + json.dumps(item("new")))
        return read(*line)

    monkeypatch.setattr(items, "json_line", changing)
    with pytest.raises(InputError, match="was changed while it was being read"):
        load_evalset(folder)


def open_files() -> int:
    gc.collect()
    return len(list(Path("/dev/fd").iterdir()))


def test_files_are_closed_with_the_last_who_needs_them(project: Path) -> None:
    before = open_files()
    in_memory, in_file = both(project)
    assert open_files() == before + 1
    sample = in_file.sample(5)
    copy = replace(in_file, digest="")
    del in_file
    assert copy.items[3] == in_memory.items[3]
    assert open_files() == before + 1
    del copy
    assert open_files() == before
    assert sample.items[0] in in_memory.items


@pytest.mark.parametrize("line", ["{", json.dumps(rows()[7])])
def test_files_are_closed_where_they_are_broken(project: Path, line: str) -> None:
    folder = write_evalset(project, "mini", items=rows())
    with (folder / "items.jsonl").open("a") as file:
        file.write("\n\n" + line)
    before = open_files()
    with pytest.raises(InputError, match=r"items\.jsonl:203: (not valid JSON|id 'i7' is already at .*items\.jsonl:8)"):
        load_evalset(folder)
    assert open_files() == before


def test_ids_that_stand_twice_are_found_in_files_too(project: Path) -> None:
    train = [{**row, "id": f"t{row['id']}"} for row in rows()]
    folder = write_evalset(project, "mini", items=rows(), train=[*train, rows()[9], rows()[8]])
    with pytest.raises(InputError) as caught:
        load_evalset(folder)
    assert str(caught.value).startswith(
        "evalsets/mini/train.jsonl:201: id 'i9' is already at evalsets/mini/items.jsonl:10."
    )


def test_a_line_over_the_limit_is_refused_before_it_is_read_whole(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench.files.LINE_LIMIT", MIB)
    folder = write_evalset(project, "mini", items=[*rows(3), item("long", "x" * MIB)])
    with pytest.raises(InputError, match=r"items\.jsonl:4: a line over 1 MiB\. Each line holds one JSON object\."):
        load_evalset(folder)


WORK = """
import json, sys, time
from pathlib import Path
import jsonschema, numpy
from workbench.evalset import load_evalset, save_evalset

def peak():  # of this process in MiB; ru_maxrss would begin with that of the process which started it
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024

folder = Path(sys.argv[1])
said = {"floor": peak()}
started = time.perf_counter()
evalset = load_evalset(folder)
said["load_s"] = time.perf_counter() - started
said["loaded"] = peak()
started = time.perf_counter()
said["count"] = sum(1 for item in evalset.items)
said["iterate_s"] = time.perf_counter() - started
sample = evalset.sample(40)
said["sample"] = [item.id for item in sample.items]
again = load_evalset(save_evalset(sample, folder.parent / "sample"))
said["saved"] = again.items == sample.items
said["middle"] = evalset.items[len(evalset.items) // 2].id
said["peak"] = peak()
print(json.dumps(said))
"""


def generated(root: Path, size: int) -> tuple[Path, int]:
    """An eval set whose items.jsonl has some size in bytes, of about 1 kB an item."""
    folder = write_evalset(root, "large", items=[], train=[item("t1"), item("t2", "grass", "green")])
    body = "It was a thing of some color, though nobody could say which. " * 15
    count = 0
    with (folder / "items.jsonl").open("w", encoding="utf-8") as file:
        while file.tell() < size:
            block = range(count, count + 2000)
            file.write("".join(f"{json.dumps(item(f'i{n}', f'{n} {body}', ('red', 'green')[n % 2]))}\n" for n in block))
            count += len(block)
    return folder, count


def measured(root: Path, folder: Path) -> dict[str, Any]:
    command = [sys.executable, "-c", WORK, str(folder)]
    done = subprocess.run(command, env=environment(root), capture_output=True, text=True, timeout=1500)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check(said: dict[str, Any], count: int) -> None:
    assert said["count"] == count
    assert said["middle"] == f"i{count // 2}"
    assert len(said["sample"]) == len(set(said["sample"])) == 40
    assert said["saved"]


def test_50_mb_are_read_in_a_few(project: Path) -> None:
    folder, count = generated(project, 50 * MIB)
    said = measured(project, folder)
    check(said, count)
    assert said["peak"] - said["floor"] < 20, said  # in memory they would take 140


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_gigabyte_is_read_in_bounded_memory(project: Path) -> None:
    folder, count = generated(project, 1024 * MIB)
    try:
        said = measured(project, folder)
    finally:
        (folder / "items.jsonl").unlink()
    print({**said, "items": count, "items_per_s": round(count / said["load_s"])})
    check(said, count)
    assert count > 1_000_000
    assert said["peak"] - said["floor"] < 120, said  # 20 bytes an item, and twice as many while ids are sorted
    assert said["peak"] < 250, said
    assert count / said["load_s"] > 4000, said  # some 25,000 on two cores of 2020


IMPORT = """
import sys
from workbench.cli import main
import jsonschema, workbench.evalset

def peak():  # of this process in MiB; ru_maxrss would begin with that of the process which started it
    (line,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
    return int(line.split()[1]) / 1024

floor = peak()
status = main(["evalset", "import", sys.argv[1], "--to", "evalsets/large", "--sensitivity", "internal", "--yes"])
print(status, peak() - floor)
"""


@pytest.mark.slow
def test_a_large_file_is_imported_in_bounded_memory(project: Path) -> None:
    source = project / "large.jsonl"
    body = "It was a thing of some color, though nobody could say which. " * 15
    with source.open("w") as file:
        for n in range(200_000):
            file.write(json.dumps({"question": f"{n} {body}", "answer": ("red", "green")[n % 2]}) + "\n")
    command = [sys.executable, "-c", IMPORT, str(source)]
    done = subprocess.run(command, cwd=project, env=environment(project), capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    status, grown = done.stdout.splitlines()[-1].split()
    assert status == "0", done.stdout + done.stderr
    assert float(grown) < 60  # MB, of 190
    assert len(load_evalset(project / "evalsets" / "large").items) == 200_000
