"""The outcome table as it is written: in row groups, private, whole or not at all."""

from __future__ import annotations

import random
import stat
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from workbench.outcomes import COLUMNS
from workbench.outcomes.spool import Spool
from workbench.outcomes.table import read_outcomes


def row(n: int, **more: Any) -> dict[str, Any]:
    """An outcome as the runner makes it."""
    usual: dict[str, Any] = dict.fromkeys(name for name in COLUMNS if name != "judge_cost_usd")
    usual |= {"task": "t", "item_id": f"i{n:05}", "model": "m", "variant": "default", "repeat": 0, "split": "test"}
    usual |= {"score": n % 2, "accepted": bool(n % 2), "format_ok": True, "attempts": 1, "cost_usd": 0.001 * n}
    usual |= {
        "latency_s": 0.1,
        "asked_at": "2026-11-01T12:00:00.123+00:00",
        "sensitivity": "internal",
        "slice": {"b": "1"},
    }
    return usual | more


def written(folder: Path, rows: list[dict[str, Any]]) -> Spool:
    with Spool(folder, {"sample": {"t": {"n": 1, "of": 2}}}) as spool:
        for each in rows:
            spool.add(each)
    return spool


def test_a_table_comes_back_sorted_typed_and_private(tmp_path: Path) -> None:
    rows = [row(n) for n in range(50)]
    random.Random(1).shuffle(rows)
    spool = written(tmp_path, rows)
    table = read_outcomes(spool.path)
    assert table["item_id"].tolist() == [f"i{n:05}" for n in range(50)] and spool.rows == 50
    assert (
        table["slice"].iloc[0] == '{"b": "1"}' and str(table["asked_at"].iloc[0]) == "2026-11-01 12:00:00.123000+00:00"
    )
    assert table["accepted"].tolist() == [bool(n % 2) for n in range(50)] and table["error"].isna().all()
    assert stat.S_IMODE(spool.path.stat().st_mode) == 0o600 and list(tmp_path.glob("out*")) == [spool.path]
    assert "judge_cost_usd" not in pq.read_schema(spool.path).names


def test_columns_that_come_up_later_are_there_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.outcomes.spool._GROUP_ROWS", 10)
    rows = [row(n) for n in range(20)] + [row(n, **{"metric.f1": 0.5}) for n in range(20, 35)]
    rows += [row(n, judge_cost_usd=0.25, **{"metric.a": 1.0}) for n in range(35, 50)]
    spool = written(tmp_path, rows)
    assert pq.ParquetFile(spool.path).num_row_groups > 1
    table = read_outcomes(spool.path)
    assert table.attrs == {"sample": {"t": {"n": 1, "of": 2}}}
    assert len(table) == 50 and table["metric.f1"].notna().sum() == 15 and table["metric.a"].sum() == 15
    assert table["judge_cost_usd"].sum() == 15 * 0.25 and not list(tmp_path.glob("*part*"))


def test_nothing_to_write_is_an_empty_table(tmp_path: Path) -> None:
    table = pq.read_table(written(tmp_path, []).path)
    assert len(table) == 0 and {"task", "item_id", "model", "score"} <= set(table.column_names)


def test_a_run_that_breaks_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.outcomes.spool._GROUP_ROWS", 3)
    with pytest.raises(KeyError, match="broken"), Spool(tmp_path) as spool:
        for n in range(10):
            spool.add(row(n))
        raise KeyError("broken")
    assert list(tmp_path.glob("out*")) == []


def test_what_a_table_says_hangs_on_its_rows_and_not_on_their_order_or_times(tmp_path: Path) -> None:
    rows = [row(n, **{"metric.f1": n / 10}) for n in range(10)]
    said = written(tmp_path, rows).digest
    assert written(tmp_path, rows[::-1]).digest == said
    assert (
        written(tmp_path, [{**each, "latency_s": 9.0, "asked_at": "", "run_id": "x"} for each in rows]).digest == said
    )
    for change in ({"score": 0.25}, {"cost_usd": None}, {"error_class": "server"}, {"sensitivity": "restricted"}):
        assert written(tmp_path, [{**rows[0], **change}, *rows[1:]]).digest != said
    assert written(tmp_path, [{**rows[0], "metric.f1": 0.9}, *rows[1:]]).digest != said
    assert written(tmp_path, [*rows, rows[0]]).digest != said
