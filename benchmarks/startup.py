"""How long `import workbench` takes, against an interpreter that imports nothing, in the same run.

.venv/bin/python benchmarks/startup.py
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

REPEATS = 11


def seconds(statement: str) -> float:
    """Wall time of a fresh interpreter that runs a statement, in seconds."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - started


def main() -> None:
    statements = {
        "nothing": "pass",
        "workbench": "import workbench",
        "load_evalsets": "import workbench as w; w.load_evalsets",
    }
    times: dict[str, list[float]] = {name: [] for name in statements}
    for _ in range(REPEATS):  # interleaved, so that other load on the machine meets all alike
        for name, statement in statements.items():
            times[name].append(seconds(statement))
    bare = statistics.median(times["nothing"])
    print(f"median of {REPEATS} fresh interpreters, Python {sys.version.split()[0]}")
    for name, measured in times.items():
        middle = statistics.median(measured)
        print(f"{name:14} {middle:6.3f} s   {middle / bare:5.2f} x an empty interpreter")


if __name__ == "__main__":
    main()
