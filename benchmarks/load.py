"""Whether a load test measures what is there: against a server of known times that counts for itself.

    python benchmarks/load.py                 # one minute

The server (tests/null_server.py) is a process of its own; it answers with a first token after 20 ms and 15 more, 10 ms
apart, however many are in flight, and counts how many are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parent.parent
TTFT_S, GAP_S, TOKENS = 0.02, 0.01, 16


def told(what: str, value: str, claim: str, holds: bool) -> None:
    print(f"{'ok  ' if holds else 'MISS'} {what:62} {value:>14}   claimed: {claim}", flush=True)


def main() -> None:
    command = [sys.executable, str(ROOT / "tests" / "null_server.py"), str(TTFT_S), str(GAP_S), str(TOKENS)]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_ROOT"] = folder
        for level in (1, 16, 64):
            process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
            assert process.stdout is not None
            try:
                measure(Path(folder), int(process.stdout.readline()), level)
            finally:
                process.kill()
                process.wait()


def measure(folder: Path, port: int, level: int) -> None:
    from workbench.catalog import load_models
    from workbench.load import load_test, plan_load

    (folder / "models.yaml").write_text(
        "{schema: 1, models: {m: {engine: openai, model: m, zone: local, "
        f"base_url: 'http://127.0.0.1:{port}/v1'}}}}}}"
    )
    models = load_models(folder / "models.yaml")
    plan = plan_load(models["m"], models, synthetic_tokens=(32, TOKENS), levels=[level], duration_s=4)
    step = load_test(plan, save=False).steps[0]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/stats") as response:
        server = json.load(response)
    assert step.itl_s is not None and step.client is not None
    told(
        f"at {level}: in flight at most, as the server counts", f"{server['most']}", f"{level}", server["most"] == level
    )
    mean = step.in_flight.number
    told(f"at {level}: in flight on average", f"{mean:.2f}", f">= {0.95 * level:g}", mean >= 0.95 * level)
    for name, found, true_s in (
        ("first token", step.ttft_s.p50.number, TTFT_S),
        ("between tokens", step.itl_s.p50.number, GAP_S),
        ("end to end", step.latency_s.p50.number, TTFT_S + (TOKENS - 1) * GAP_S),
    ):
        off_ms = (found - true_s) * 1000
        claim_ms = (2 if level < 64 else 10) + true_s * 50
        what = f"at {level}: {name}, beyond its {true_s * 1000:.0f} ms, at the median"
        told(what, f"{off_ms:+.1f} ms", f"within {claim_ms:.1f} ms", abs(off_ms) <= claim_ms)
    most = level / (TTFT_S + (TOKENS - 1) * GAP_S)
    share = step.requests_per_s.number / most
    told(f"at {level}: requests/s, of what these times allow", f"{share:.2f}", ">= 0.9", share >= 0.9)
    print(f"       its own share: {step.client.lag_s * 1000:.1f} ms late, its thread {step.client.busy:.0%} busy")


if __name__ == "__main__":
    main()
