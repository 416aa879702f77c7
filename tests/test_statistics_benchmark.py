"""The benchmark of the statistics itself: a part of its grid, and that the grid is as it was published."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_a_part_of_the_grid_passes_and_is_a_part_of_the_published_one() -> None:
    """Thirteen cells, 2,000 runs each, one of each kind."""
    done = subprocess.run(
        [sys.executable, "benchmarks/evidence.py", "--quick", "--workers", "1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    shown = [line for line in done.stdout.splitlines() if line.startswith(("PASS", "MISS"))]
    published = json.loads((ROOT / "benchmarks" / "results" / "evidence.json").read_text())["cells"]
    assert {line.split()[1] for line in shown} == {cell["part"] for cell in published if "," not in cell["part"]}
    assert len(shown) == 13
