"""Can a model run here, and if not, why, and what mends it? Nothing is started and nothing downloaded.

for diagnosis in examine(models):
    print(diagnosis)
"""

from __future__ import annotations

import math
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from workbench import project
from workbench.catalog import Model, Models
from workbench.client import preflight
from workbench.errors import InputError, WorkbenchError
from workbench.servers import engine_of, environments, fit, options, quantization, weights
from workbench.servers.gpus import Gpu, list_gpus
from workbench.servers.vllm import by_ray

_CONNECT_S = 1.0
_SPARE = 1.1  # times weights and cache: what an engine takes for itself
_VLLM_SHARE = 0.92  # gpu_memory_utilization of vLLM 0.32 where nobody sets it
_FP8, _BF16 = (8, 9), (8, 0)  # compute capabilities, as vLLM's documentation has them


@dataclass
class Diagnosis:
    """What was found of one model.

    Attributes:
        reason: why it cannot run, with the mend; None where nothing stands against it.
        warnings: what may go wrong.
        details: what it would run with.
    """

    model: Model
    reason: str | None = None
    warnings: list[str] = field(default_factory=list)
    details: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        model = self.model
        verdict = "can run here" if self.reason is None else "cannot run here"
        label = model.quantization or model.dtype or "-"
        lines = [f"{model.id:20} {model.engine:12} {label:10} {model.zone:8} {verdict}"]
        lines += [f"    {self.reason.removeprefix(f'{model.id}: ')}"] if self.reason else []
        lines += [f"    warning: {line}" for line in self.warnings]
        return "\n".join([*lines, *(f"    {line}" for line in self.details)])


def examine(models: Models, ports: dict[str, int] | None = None) -> list[Diagnosis]:
    """Examine models.

    Args:
        ports: where `workbench serve` would serve each; a taken one is a warning.
    """
    gpus = list_gpus()
    return [_examined(model, gpus, (ports or {}).get(model.id)) for model in models.values()]


def _examined(model: Model, gpus: list[Gpu], port: int | None) -> Diagnosis:
    found = Diagnosis(model)
    try:
        found.reason = engine_of(model).unavailable(model)
    except InputError as failure:
        found.reason = str(failure)
    if model.trust_remote_code:
        found.warnings.append("trust_remote_code: Python code that comes with its weights is run, as you")
    if model.managed:
        _managed(found, gpus, port)
    elif model.engine == "openai":
        _reached(found)
    return found


def _managed(found: Diagnosis, gpus: list[Gpu], port: int | None) -> None:
    model = found.model
    if model.engine != "llamacpp" and environments.missing(model) is None:
        python = environments.interpreter(model)
        version = environments.package_version(python, model.engine)
        found.details.append(f"{model.engine} {version} in {project.shown(python.parent.parent)}")
    if model.engine != "llamacpp" and weights.missing_folder(model) is None:
        folder = weights.folder_of(model)
        scheme = quantization.scheme(folder)
        found.details.append(f"weights: {project.shown(folder)}, {scheme.name if scheme else 'not quantized'}")
    rooms = fit.rooms_for(model, gpus)
    used = list({gpu.uuid: gpu for room in rooms for gpu in room.gpus}.values())
    if model.engine == "vllm" and by_ray(model):
        found.details.append("Ray places it, maybe on other machines: whether it fits there was not looked at")
    else:
        for room in {room.where: room for room in rooms}.values():
            _fits(found, room, sum(room.where == other.where for other in rooms))
        if model.engine == "vllm":
            _starts(found, rooms)
    _generation(found, used)
    for gpu in used:
        for process in gpu.used_by:
            found.details.append(f"GPU {gpu.index} is used by {process}")
    wanted = {name for entry in model.gpus for name in entry.split(",")}
    there = {gpu.index for gpu in gpus} | {name for name in wanted if any(gpu.uuid.startswith(name) for gpu in gpus)}
    if wanted - there:
        listed = ", ".join(gpu.index for gpu in gpus) or "none"
        found.reason = found.reason or f"gpus: there is no GPU {', '.join(sorted(wanted - there))} here, but {listed}."
    if port is not None and _answers("127.0.0.1", port):
        found.warnings.append(f"port {port} is taken: 'workbench serve {model.id}' needs another by --port")


def _fits(found: Diagnosis, room: fit.Room, replicas: int) -> None:
    model, need = found.model, fit.need_of(found.model)
    if need is None:
        return
    free = room.bytes // replicas
    cache = "cache unknown" if need.cache is None else f"cache {_gb(need.cache)}"
    places = f"{model.concurrency} × {model.max_model_len} tokens"
    found.details.append(
        f"takes weights {_gb(need.weights)}, {cache} at most ({places}), and what the engine takes; "
        f"free: {_gb(room.bytes)} of {room.where}"
    )
    each = f" for each of {replicas} replicas" if replicas > 1 else ""
    if need.weights * _SPARE > free:
        busy = _users(room.gpus)
        what = f"End what uses it: {busy}" if busy else "Free memory, or take a smaller or quantized one"
        found.reason = found.reason or (
            f"its weights ({_gb(need.weights)}) do not fit into the {_gb(free)} that are free of {room.where}{each}. "
            f"{what}."
        )
    elif need.total * _SPARE > free:
        found.warnings.append(
            f"weights and a full cache do not fit into the {_gb(free)} that are free of {room.where}{each}. Lower "
            "concurrency or max_model_len"
        )


def _starts(found: Diagnosis, rooms: list[fit.Room]) -> None:
    """vLLM does not start where less is free of a GPU than the share that it is to take, whatever its weights are."""
    model, said, wide = found.model, options.named(found.model), fit.wide(found.model)
    for room in rooms:
        if room.gpus and len(room.gpus) < wide and "nnodes" not in said:
            found.reason = found.reason or (
                f"tensor_parallel_size × pipeline_parallel_size asks for {wide} GPUs, and it has {room.where}. Lower "
                "them, or name as many in each entry of gpus."
            )
    share = said.get("gpu_memory_utilization", _VLLM_SHARE)
    share = share if isinstance(share, float | int) else _VLLM_SHARE
    times = Counter(gpu for room in rooms for gpu in room.gpus)
    for gpu, replicas in times.items():
        if replicas * share * gpu.total_bytes > gpu.free_bytes:
            found.reason = found.reason or _too_much(model, gpu, replicas, share, wide)


def _too_much(model: Model, gpu: Gpu, replicas: int, share: float, wide: int) -> str:
    each = f"each of {replicas} replicas takes" if replicas > 1 else "vLLM takes"
    # Its process takes some of what is free now before it looks.
    fitting = math.floor(100 * (gpu.free_bytes / gpu.total_bytes - 0.04) / replicas) / 100
    need = fit.need_of(model)
    enough = fitting > 0 and (need is None or need.weights * _SPARE / wide < fitting * gpu.total_bytes)
    mends = [f"set engine_args: {{gpu_memory_utilization: {fitting:g}}}"] if enough else []
    busy = _users((gpu,))
    mends += [f"end what uses it: {busy}" if busy else "free its memory"]
    mend = ", or ".join(mends)
    return (
        f"{each} {share:g} of a GPU (gpu_memory_utilization), which is {_gb(int(share * gpu.total_bytes))} of GPU "
        f"{gpu.index} ({gpu.name}), and {_gb(gpu.free_bytes)} are free. {mend[0].upper()}{mend[1:]}."
    )


def _users(gpus: Iterable[Gpu]) -> str:
    return ", ".join(str(process) for gpu in gpus for process in gpu.used_by)


def _generation(found: Diagnosis, gpus: Iterable[Gpu]) -> None:
    """What a GPU's generation does not compute; only what vLLM's documentation says."""
    model = found.model
    for gpu in gpus:
        if gpu.capability is None or model.engine != "vllm":
            continue
        name = f"GPU {gpu.index} ({gpu.name}) has compute capability {gpu.capability[0]}.{gpu.capability[1]}"
        if "fp8" in (model.quantization or "").lower() and gpu.capability < _FP8:
            found.warnings.append(f"{name}: vLLM computes FP8 from 8.9 on; below, weights only are FP8, if at all")
        if model.dtype == "bfloat16" and gpu.capability < _BF16:
            found.reason = found.reason or f"{name}, and bfloat16 needs 8.0. Set dtype: float16."


def _reached(found: Diagnosis) -> None:
    model = found.model
    try:
        for destination in model.destinations():
            preflight(destination)  # a name of zone local that leads elsewhere is not knocked at
    except InputError as failure:
        found.reason = found.reason or str(failure)
        return
    for url in model.urls:
        parts = urlsplit(url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        if model.zone == "local" and not _answers(parts.hostname or "", port):
            found.reason = found.reason or f"nothing listens at {url}. Start the server, or mend base_url."
        found.details.append(f"at {url}")
    if model.api_key_env and not model.key_missing:
        found.details.append(f"key: {model.api_key_env} is set")


def _answers(host: str, port: int) -> bool:
    try:
        with socket.create_connection((host, port), timeout=_CONNECT_S):
            return True
    except OSError:
        return False


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.0f} MB"


def unavailable(model: Model) -> str | None:
    """`engine_of(model).unavailable`, with a wrong entry told in the same way."""
    try:
        return engine_of(model).unavailable(model)
    except WorkbenchError as failure:
        return str(failure)
