"""What an entry of models.yaml means for each engine: its options, its quantization, its adapter, its identity."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from conftest import REPOSITORY, item, write_evalset, write_models
from stand_ins import checkpoint, engine, gguf_file

from workbench.catalog import Model, load_models
from workbench.cli import main
from workbench.errors import EngineError, InputError
from workbench.evalset import load_evalsets
from workbench.runner import planned
from workbench.servers import engine_of, options, quantization
from workbench.servers.fit import wide
from workbench.servers.vllm import by_ray

HELP = """usage: vllm serve [model_tag] [options]

options:
  --enforce-eager, --no-enforce-eager
                        Whether to always use eager-mode PyTorch. See --nothing-here.
  --max-num-batched-tokens MAX_NUM_BATCHED_TOKENS
                        Maximum number of tokens.
  --tensor-parallel-size TENSOR_PARALLEL_SIZE, -tp TENSOR_PARALLEL_SIZE
  --disable-log-stats   Disable logging statistics. (default: False)
  --kv-cache-dtype {auto,fp8}
  --distributed-executor-backend {external_launcher,mp,ray,uni}
"""
TYPER = """Options:
  --compile / --no-compile        Enable torch.compile.
  --attn-implementation TEXT      Attention implementation.
  --cb-num-blocks INTEGER         Number of blocks.
"""


MORE_Q4 = ["imatrix Q4_K_M", "GGUF Q4_K_M", "gguf", "int4", "4-bit", "our own mix", "Q4_K_L", "q4km", "i1-Q4_K_M"]


def vllm(project: Path, **more: Any) -> Model:
    engine(project / "env", "vllm", "9.9+cpu", HELP)
    checkpoint(project / "weights")
    entry = {"id": "m", "engine": "vllm", "model": "weights", "python": "env/bin/python", "where": "models.yaml:3"}
    return Model.model_validate({**entry, **more})


def transformers(project: Path, **more: Any) -> Model:
    engine(project / "env", "transformers", "9.9", TYPER)
    checkpoint(project / "weights")
    entry = {"id": "m", "engine": "transformers", "model": "weights", "python": "env/bin/python"}
    return Model.model_validate({**entry, **more})


def test_options_are_read_out_of_a_help() -> None:
    assert options.parsed(HELP) == {
        **{"enforce-eager": False, "no-enforce-eager": False, "disable-log-stats": False},
        **{"max-num-batched-tokens": True, "tensor-parallel-size": True, "kv-cache-dtype": True},
        "distributed-executor-backend": True,
    }
    assert options.parsed(TYPER) == {
        **{"compile": False, "no-compile": False, "attn-implementation": True, "cb-num-blocks": True}
    }


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"enforce_eagr": True}, "vLLM 9.9+cpu has no option 'enforce_eagr'. Nearest: enforce_eager"),
        ({"batched_tokens": 8}, "Nearest: max_num_batched_tokens"),
        ({"enforce_eager": 1}, "enforce_eager of vLLM 9.9+cpu is true or false, not 1"),
        ({"tensor_parallel_size": True}, "tensor_parallel_size of vLLM 9.9+cpu takes a value, not true"),
        ({"disable_log_stats": False}, "disable_log_stats of vLLM 9.9+cpu cannot be switched off"),
    ],
)
def test_an_option_that_vllm_does_not_have_is_told_with_its_place(
    project: Path, arguments: dict[str, Any], words: str
) -> None:
    model = vllm(project, engine_args=arguments)
    with pytest.raises(InputError) as failure:
        engine_of(model).unavailable(model)
    assert str(failure.value).startswith("models.yaml:3: m: engine_args: ") and words in str(failure.value)


def test_the_help_is_asked_once_an_environment(project: Path) -> None:
    for arguments in ({"enforce_eager": False}, {"tensor_parallel_size": 2}, {"tensor-parallel-size": 2}):
        model = vllm(project, engine_args=arguments)
        assert engine_of(model).unavailable(model) is None
    assert len((project / "env" / "asked").read_text().splitlines()) == 1


def test_transformers_options_are_checked_too(project: Path) -> None:
    good = transformers(project, engine_args={"attn_implementation": "sdpa", "cb_num_blocks": 9})
    assert engine_of(good).unavailable(good) is None
    with pytest.raises(InputError, match=r"has no option 'attn'\. Nearest: attn_implementation"):
        bad = transformers(project, engine_args={"attn": "sdpa"})
        engine_of(bad).unavailable(bad)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"n_bach": 512}, "has no option 'n_bach'. Nearest: n_batch"),
        ({"n_batch": True}, "n_batch of xllamacpp .* is a number, not True"),
        ({"n_batch": 0.5}, "is a whole number, not 0.5"),
        ({"no_perf": 1}, "is true or false, not 1"),
        ({"cache_type_k": "q9"}, "is one of .*f16.*q8_0.*, not 'q9'"),
        ({"tensor_split": 1}, "has no option 'tensor_split'"),
    ],
)
def test_llamacpp_options_are_checked_against_its_own_parameters(
    smollm2: Path, arguments: dict[str, Any], words: str
) -> None:
    model = Model(id="m", engine="llamacpp", model=str(smollm2), engine_args=arguments)
    with pytest.raises(InputError, match=words):
        engine_of(model).unavailable(model)
    good = Model(id="m", engine="llamacpp", model=str(smollm2), engine_args={"cache_type_k": "q8_0", "n_batch": 256})
    assert engine_of(good).unavailable(good) is None


@pytest.mark.parametrize("name", ["hostnames", "api_keys", "port", "verbosity", "media_path", "n_ctx", "ssl_file_key"])
def test_what_would_open_llamacpp_is_not_to_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="is not to be set in engine_args"):
        Model(id="m", engine="llamacpp", model="x", engine_args={name: "x"})


@pytest.mark.parametrize("name", ["config", "middleware", "host", "api_key", "uds", "lora_modules", "grpc", "hf_token"])
def test_what_would_open_vllm_is_not_to_be_set(name: str) -> None:
    with pytest.raises(ValueError, match="is not to be set in engine_args"):
        Model(id="m", engine="vllm", model="x", engine_args={name: "x"})


def test_quantization_is_the_entrys_own_key(project: Path) -> None:
    with pytest.raises(ValueError, match=r"engine_args\. Set `quantization` of the entry"):
        vllm(project, engine_args={"quantization": "mxfp8"})
    model = vllm(project, quantization="fp8", engine_args={"quantization_config": "{}"})
    assert model.engine_args == {"quantization_config": "{}"}


W8A8 = {"weights": {"num_bits": 8, "type": "int"}, "input_activations": {"num_bits": 8}}
SCHEMES: list[tuple[dict[str, Any], str, list[str], list[str]]] = [
    ({"quant_method": "awq", "bits": 4}, "AWQ", ["AWQ", "int4"], ["GPTQ", "fp8", "bf16"]),
    ({"quant_method": "gptq", "bits": 8}, "GPTQ", ["gptq", "int8", "w8a16"], ["AWQ", "int4"]),
    ({"quant_method": "fp8"}, "FP8", ["FP8", "w8a8"], ["w8a16", "bf16"]),
    ({"quant_method": "gptq_marlin", "bits": 4}, "GPTQ", ["GPTQ", "gptq_marlin", "w4a16"], ["AWQ", "fp8"]),
    ({"quant_method": "awq", "bits": 4}, "AWQ", ["awq_marlin"], ["gptq_marlin"]),
    ({"quant_method": "auto-round", "bits": 4}, "AUTO-ROUND", ["w4a16", "int4", "AutoRound"], ["int8", "fp8"]),
    ({"quant_method": "modelopt", "quant_algo": "FP8"}, "FP8 (modelopt)", ["FP8", "modelopt"], ["NVFP4", "int4"]),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "NVFP4 (modelopt)", ["NVFP4"], ["FP8"]),
    ({"quant_method": "quark"}, "quark", ["fp8", "quark"], ["AWQ"]),
    ({"quant_method": "torchao"}, "torchao", ["int8", "torchao"], ["nf4"]),
    ({"quant_method": "hqq"}, "hqq", ["int4", "HQQ"], ["GPTQ"]),
    (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
        "nf4 (bitsandbytes)",
        ["nf4"],
        ["int8"],
    ),
    ({"quant_method": "compressed-tensors", "config_groups": {"a": W8A8}}, "w8a8", ["W8A8", "w8a8"], ["w4a16", "fp8"]),
    (
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 4, "type": "int"}}}},
        "w4a16",
        ["w4a16", "GPTQ", "int4"],
        ["w8a8"],
    ),
    (
        {"quant_method": "compressed-tensors", "config_groups": {"a": {"weights": {"num_bits": 8, "type": "float"}}}},
        "FP8",
        ["fp8"],
        ["w8a8"],
    ),
]


@pytest.mark.parametrize(("config", "name", "right", "wrong"), SCHEMES, ids=[name for _, name, _, _ in SCHEMES])
def test_a_label_is_held_against_the_checkpoint(
    project: Path, config: dict[str, Any], name: str, right: list[str], wrong: list[str]
) -> None:
    folder = checkpoint(project / "q", quantization_config=config)
    found = quantization.scheme(folder)
    assert found is not None and found.name == name
    for label in right:
        model = Model(id="m", engine="vllm", model="q", quantization=label)
        assert quantization.check(model, folder) is None
    for label in [*wrong, "our own mix"]:
        with pytest.raises(InputError, match=f"contradicts the checkpoint, whose config.json says .*{name.split()[0]}"):
            quantization.check(Model(id="m", engine="vllm", model="q", quantization=label), folder)


FP4 = {"weights": {"num_bits": 4, "type": "float"}}
FP8_GROUP = {"weights": {"num_bits": 8, "type": "float"}, "input_activations": {"num_bits": 8}}


@pytest.mark.parametrize(
    ("config", "right", "wrong"),
    [
        (
            {"quant_method": "gptq", "bits": 4},
            ["GPTQ-Int4", "gptq-4bit", "GPTQ 4 bits", "int4-autoround", "gptq fp16"],
            ["GPTQ-Int8", "gptq-8bit", "AWQ-INT4", "bnb-4bit", "GPTQ-FP8", "GPTQ-Int3", "gptq unquantized"],
        ),
        ({"quant_method": "gptq", "bits": 8}, ["GPTQ-Int8", "8bit"], ["GPTQ-Int4"]),
        ({"quant_method": "awq", "bits": 4}, ["AWQ-INT4", "awq w4a16", "4-bit"], ["GPTQ-Int4", "AWQ-INT8"]),
        ({"quant_method": "auto-round", "bits": 4}, ["int4-autoround", "int4-AutoRound"], ["int8-autoround"]),
        (
            {"quant_method": "fp8"},
            ["FP8-block", "fp8 w8a8", "FP8-KV", "FP8-static", "8bit", "w8a8", "W8A8"],
            ["int8 w8a8", "FP4", "w8a16", "w8a8 gptq"],
        ),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, ["FP8", "w8a8"], ["w8a8-int8"]),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": FP8_GROUP}},
            ["FP8-block", "fp8 w8a8", "FP8-KV", "w8a8"],
            ["int8-block", "NVFP4", "int8 w8a8"],
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": W8A8}},
            ["w8a8-int8"],
            ["w8a8-fp8", "w8a8-int4"],
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": FP4}},
            ["NVFP4A16", "nvfp4", "4bit"],
            ["int4", "w8a8"],
        ),
        (
            {"quant_method": "compressed-tensors", "config_groups": {"a": FP4, "b": FP8_GROUP}},
            ["NVFP4", "FP8", "NVFP4 FP8 mix"],
            ["int4"],
        ),
        (
            {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
            ["4bit", "bnb-nf4", "unsloth bnb 4bit"],
            ["8bit", "fp4", "bf16"],
        ),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, ["8bit", "LLM.int8()"], ["nf4"]),
        ({"quant_method": "hqq"}, ["HQQ 3-bit", "3bit"], ["gptq 3bit", "none"]),
    ],
)
def test_a_label_of_several_words_is_right_where_none_is_another_schemes(
    project: Path, config: dict[str, Any], right: list[str], wrong: list[str]
) -> None:
    folder = checkpoint(project / "q", quantization_config=config)
    for label in right:
        assert quantization.check(Model(id="m", engine="vllm", model="q", quantization=label), folder) is None, label
    for label in wrong:
        with pytest.raises(InputError, match="contradicts the checkpoint, whose config"):
            quantization.check(Model(id="m", engine="vllm", model="q", quantization=label), folder)


def test_a_vllm_of_ones_own_may_have_other_words(project: Path) -> None:
    for label in ("bitsandbytes", "BitsAndBytes", "ptpc_fp8", "a_new_word"):
        model = vllm(project, quantization=label)
        assert quantization.check(model, project / "weights") == label.lower()
        with pytest.raises(InputError, match="Engine vllm quantizes while it loads to"):
            quantization.check(model.model_copy(update={"python": None}), project / "weights")


@pytest.mark.parametrize(("label", "name"), [("GPTQ-Int4", "quantize_config.json"), ("awq", "quant_config.json")])
def test_an_early_checkpoint_has_its_quantization_in_a_file_of_its_own(project: Path, label: str, name: str) -> None:
    model = vllm(project, quantization=label)
    with pytest.raises(InputError, match="contradicts the checkpoint"):
        engine_of(model).unavailable(model)
    (project / "weights" / name).write_text('{"bits": 4}')
    launched = engine_of(model).launch(model)
    assert launched is not None and f"--quantization={label[:4].lower().strip('-')}" in launched.argv
    with pytest.raises(InputError, match="contradicts the checkpoint"):
        quantization.check(model.model_copy(update={"quantization": f"{label[:4]} int8"}), project / "weights")


@pytest.mark.parametrize("method", [{"quant_method": "compressed-tensors"}, {}])
def test_the_earlier_name_of_compressed_tensors_is_read(project: Path, method: dict[str, Any]) -> None:
    said = {**method, "config_groups": {"a": W8A8}}
    for name, config in (
        ("own", {"compression_config": said}),
        ("inner", {"text_config": {"compression_config": said}}),
    ):
        folder = checkpoint(project / name, **config)
        model = Model(id="m", engine="vllm", model=name, quantization="w8a8")
        assert quantization.check(model, folder) is None
        with pytest.raises(InputError, match=r"whose config\.json says w8a8"):
            quantization.check(model.model_copy(update={"quantization": "fp8"}), folder)


def test_modelopts_own_file_is_read(project: Path) -> None:
    folder = checkpoint(project / "q")
    (folder / "hf_quant_config.json").write_text('{"quantization": {"quant_algo": "NVFP4"}}')
    model = Model(id="m", engine="vllm", model="q", quantization="NVFP4")
    assert quantization.check(model, folder) is None
    with pytest.raises(InputError, match=r"says NVFP4 \(modelopt\)"):
        quantization.check(model.model_copy(update={"quantization": "FP8"}), folder)


def test_plain_weights_are_quantized_at_load_or_not_at_all(project: Path) -> None:
    for label, word in (("FP8", "fp8"), ("fp8_per_tensor", "fp8_per_tensor"), ("bf16", None)):
        model = vllm(project, quantization=label)
        assert engine_of(model).unavailable(model) is None
        launched = engine_of(model).launch(model)
        assert launched is not None and (f"--quantization={word}" in launched.argv) == (word is not None)
    for label in ("BF16 (unquantized)", "not quantized, none"):
        assert quantization.check(vllm(project, quantization=label), project / "weights") is None
    for label in ("AWQ", "w4a16", "nf4", "our own mix", "AWQ (bf16)", "bnb-8bit", "awq_marlin", "fp8 awq"):
        model = vllm(project, quantization=label)
        with pytest.raises(InputError, match=r"which is not quantized by its config\.json\. Engine vllm quantizes"):
            engine_of(model).unavailable(model)
    for label, word in (("nf4", "nf4"), ("bnb-4bit", "nf4"), ("bnb-8bit", "int8")):
        model = transformers(project, quantization=label)
        launched = engine_of(model).launch(model)
        assert launched is not None and json.loads(launched.argv[-1])["quantization"] == word
        assert engine_of(model).identity(model)["arguments"]["quantization"] == word
    with pytest.raises(InputError, match=r"4bit contradicts .* quantizes while it loads to: int8, nf4\."):
        model = transformers(project, quantization="4bit")
        engine_of(model).unavailable(model)


@pytest.mark.parametrize(
    ("kind", "right", "wrong"),
    [
        (15, ["Q4_K_M", "q4-k-m", "Q4_K", "Q4", "UD-Q4_K_XL", "Q4_K_M-imat"], ["Q4_K_S", "Q4_0", "F16", "none"]),
        (15, MORE_Q4, ["int8", "8-bit", "AWQ", "GGUF Q4_0", "UD-Q8_K_XL", "bf16", "nf4"]),
        (7, ["UD-Q8_K_XL", "Q8_K_L", "int8", "8bit", "Q8_0", "Q8", "q8"], ["Q4_0", "fp8", "int4", "UD-Q4_K_XL"]),
        (2, ["QAT Q4_0", "q4_0", "GGUF"], ["QAT Q4_K_M", "Q4_1"]),
        (24, ["UD-IQ1_S 1.58bit", "IQ1_S", "UD-TQ1_0"], ["IQ1_M", "IQ2_XXS"]),
        (38, ["MXFP4", "MXFP4_MOE"], ["NVFP4", "Q4_0"]),
        (3, ["Q4_1"], ["Q4_0", "Q4_K_M", "F16"]),
        (1, ["F16", "fp16", "float16", "unquantized"], ["BF16", "Q8_0"]),
        (10, ["Q2_K"], ["Q2_K_S"]),
        (1024, ["anything"], []),
    ],
)
def test_a_label_is_held_against_a_gguf_file(project: Path, kind: int, right: list[str], wrong: list[str]) -> None:
    gguf_file(project / "m.gguf", **{"general.file_type": kind})
    for label in right:
        model = Model(id="m", engine="llamacpp", model="m.gguf", quantization=label)
        assert engine_of(model).unavailable(model) is None, label
    for label in wrong:
        model = Model(id="m", engine="llamacpp", model="m.gguf", quantization=label)
        with pytest.raises(InputError, match=f"^m: quantization: {label} contradicts the weights file, which says "):
            engine_of(model).unavailable(model)


def test_vllm_is_told_what_the_entry_says_and_its_key_in_secret(project: Path) -> None:
    adapter = project / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text('{"r": 20}')
    model = vllm(
        project,
        **{"dtype": "bfloat16", "lora": "adapter", "concurrency": 7, "trust_remote_code": True, "threads": 1},
        **{"engine_args": {"enforce_eager": True, "tensor_parallel_size": 2}, "env": {"A": "b", "VLLM_HOST_IP": "x"}},
    )
    launched = engine_of(model).launch(model)
    assert launched is not None and launched.key_variable == "VLLM_API_KEY" and launched.model == "adapter"
    assert {
        *("--host=127.0.0.1", "--port={port}", "--served-model-name=weights", "--max-model-len=2048"),
        *("--dtype=bfloat16", "--max-num-seqs=7", "--trust-remote-code", "--enable-lora", "--max-lora-rank=32"),
        *("--enforce-eager", "--tensor-parallel-size=2"),
    } <= set(launched.argv)
    assert launched.env["A"] == "b" and launched.env["VLLM_HOST_IP"] == "127.0.0.1"
    assert launched.env["TORCH_COMPILE_DISABLE"] == launched.env["HF_HUB_OFFLINE"] == "1"
    assert not any("key" in part for part in launched.argv)


@pytest.mark.parametrize("name", ["distributed_executor_backend", "distributed-executor-backend"])
def test_with_ray_the_entry_says_by_which_address_others_reach_this_machine(project: Path, name: str) -> None:
    def address(**more: Any) -> str:
        model = vllm(project, **more)
        launched = engine_of(model).launch(model)
        assert launched is not None
        return launched.env["VLLM_HOST_IP"]

    env = {"VLLM_HOST_IP": "10.0.0.5"}
    assert address(engine_args={name: "ray"}, env=env) == "10.0.0.5"
    assert address(engine_args={name: "ray"}) == address(engine_args={name: "mp"}, env=env) == "127.0.0.1"


def test_ray_that_is_not_there_is_told(project: Path) -> None:
    model = vllm(project, engine_args={"distributed_executor_backend": "ray"})
    assert engine_of(model).unavailable(model) is None
    engine(project / "other", "vllm", "9.9", HELP, lacks="ray")
    model = model.model_copy(update={"python": "other/bin/python"})
    reason = engine_of(model).unavailable(model) or ""
    assert "needs the package ray in the environment of vLLM" in reason and "Name a `python:`" in reason
    model = model.model_copy(update={"engine_args": {"distributed_executor_backend": "mp"}})
    assert engine_of(model).unavailable(model) is None


@pytest.mark.parametrize(
    ("entry", "package"), [({"quantization": "nf4"}, "bitsandbytes"), ({"lora": "adapter"}, "peft")]
)
def test_a_package_that_transformers_lacks_is_told(project: Path, entry: dict[str, Any], package: str) -> None:
    (project / "adapter").mkdir()
    (project / "adapter" / "adapter_config.json").write_text('{"r": 8}')
    model = transformers(project, **entry)
    assert engine_of(model).unavailable(model) is None
    engine(project / "other", "transformers", "9.9", TYPER, lacks=package)
    lacking = model.model_copy(update={"python": "other/bin/python"})
    assert f"m: what its entry asks for needs the package {package}" in (engine_of(lacking).unavailable(lacking) or "")
    plain = transformers(project, python="other/bin/python")
    assert engine_of(plain).unavailable(plain) is None


def test_hyphens_in_the_names_of_options_are_underscores(project: Path) -> None:
    hyphens = transformers(project, engine_args={"attn-implementation": "eager", "cb-num-blocks": 9})
    underscores = transformers(project, engine_args={"attn_implementation": "eager", "cb_num_blocks": 9})
    launched = engine_of(hyphens).launch(hyphens)
    assert launched is not None and engine_of(hyphens).unavailable(hyphens) is None
    assert json.loads(launched.argv[-1])["engine_args"] == {"attn_implementation": "eager", "cb_num_blocks": 9}
    assert engine_of(hyphens).identity(hyphens) == engine_of(underscores).identity(underscores)
    model = vllm(project, engine_args={"max-num-batched-tokens": 64})
    assert engine_of(model).identity(model)["arguments"]["max_num_batched_tokens"] == 64


@pytest.mark.parametrize("make", [vllm, transformers])
def test_builds_for_the_cpu_take_no_gpu(project: Path, make: Any) -> None:
    def gpu(**more: Any) -> bool:
        model = make(project, **more)
        launched = engine_of(model).launch(model)
        assert launched is not None
        return launched.gpu

    name = "vllm" if make is vllm else "transformers"
    for version, expected in (("2.13.0+cpu", False), ("2.13.0", True)):
        engine(project / version, name, version)
        assert gpu(python=f"{version}/bin/python") is expected
    if make is transformers:
        assert not gpu(python="2.13.0/bin/python", engine_args={"device": "cpu"})


@pytest.mark.parametrize("make", [vllm, transformers])
def test_answers_are_shared_only_by_entries_that_answer_alike(project: Path, make: Any) -> None:
    def of(**more: Any) -> str:
        model = make(project, **more)
        return json.dumps(engine_of(model).identity(model), sort_keys=True)

    (project / "adapter").mkdir()
    (project / "adapter" / "adapter_config.json").write_text('{"r": 8}')
    changes: list[dict[str, Any]] = [
        *({}, {"concurrency": 16}, {"dtype": "float16"}, {"lora": "adapter"}, {"env": {"A": "1"}}),
        *({"trust_remote_code": True}, {"max_model_len": 512}),
        {"quantization": "fp8" if make is vllm else "nf4"},
    ]
    assert len({of(**change) for change in changes}) == len(changes)
    assert of(gpus=["0"], timeout_s=5) == of() and of(quantization="bf16") == of()


def test_the_entries_of_the_documentation_are_valid(project: Path) -> None:
    text = (REPOSITORY / "docs" / "engines.md").read_text()
    [entries] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    (project / "models.yaml").write_text(entries)
    models = load_models()
    assert [len(models[name].gpus) for name in ("shared-out", "replicas")] == [1, 2]
    ray = models["over-machines"]
    assert by_ray(ray) and wide(ray) == 8 and models["served-elsewhere"].zone == "private"


def test_serve_takes_the_gpus_and_checks_the_entry(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    started: list[Any] = []

    def server(launch: Any, *_: Any) -> None:
        started.append(launch)
        raise EngineError("this far")

    engine(project / "env", "vllm", "9.9", HELP)
    checkpoint(project / "weights")
    entry = {"engine": "vllm", "model": "weights", "python": "env/bin/python", "gpus": ["1", "2"]}
    write_models(
        project, m=entry, typo={**entry, "engine_args": {"enforce_eagr": True}}, gone={**entry, "model": "gone"}
    )
    monkeypatch.setattr("workbench.servers.ManagedServer", server)
    for name in ("M", "TYPO", "GONE"):
        monkeypatch.setenv(f"WORKBENCH_{name}_API_KEY", "k")
    assert main(["serve", "typo", "--port", "1"]) == 2 and "Nearest: enforce_eager" in capsys.readouterr().err
    assert main(["serve", "gone", "--port", "1"]) == 2 and "there is no folder gone" in capsys.readouterr().err
    assert not started and main(["serve", "m", "--port", "1"]) == 1
    assert started[0].env["CUDA_VISIBLE_DEVICES"] == "1" and "on GPU 1, the first of gpus" in capsys.readouterr().err


def test_an_adapter_that_is_not_there_is_told(project: Path, smollm2: Path) -> None:
    for model in (
        vllm(project, lora="gone"),
        transformers(project, lora="gone"),
        Model(id="m", engine="llamacpp", model=str(smollm2), lora="gone.gguf"),
    ):
        assert "m: lora: there is no " in (engine_of(model).unavailable(model) or "")
        with pytest.raises(EngineError, match="lora: there is no"):
            engine_of(model).identity(model)


def test_a_missing_environment_says_how_to_install_it(project: Path) -> None:
    for name in ("vllm", "transformers"):
        model = Model(id="m", engine=name, model="weights")
        assert f"Install it with 'workbench engine install {name}" in (engine_of(model).unavailable(model) or "")
        checkpoint(project / "weights")
        engine(project / f".venv-{name}", name, "9.9")
        assert engine_of(model).unavailable(model) is None  # it came in the meantime


def test_the_plan_shows_whose_code_runs_and_stops_at_a_wrong_option(project: Path) -> None:
    engine(project / "env", "vllm", "9.9+cpu", HELP)
    checkpoint(project / "weights")
    write_evalset(project, "colors", [item("a")])
    entry = {"engine": "vllm", "model": "weights", "python": "env/bin/python"}
    write_models(project, own={**entry, "trust_remote_code": True}, plain=entry, gone={**entry, "model": "gone"})
    plan = planned(load_evalsets("evalsets"), load_models())
    said = {line.split()[1]: line for line in plan.describe().splitlines() if line.startswith("model ")}
    assert "trust_remote_code" in said["own:"] and "trust_remote_code" not in said["plain:"]
    assert list(plan.skipped) == ["gone"]
    write_models(project, plain=entry, typo={**entry, "engine_args": {"enforce_eagr": True}})
    with pytest.raises(InputError, match=r"^models\.yaml:\d+: typo: engine_args: .* Nearest: enforce_eager"):
        planned(load_evalsets("evalsets"), load_models())


def hub(home: Path, name: str, **config: Any) -> Path:
    base = home / "hub" / f"models--{name.replace('/', '--')}"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text("abc123")
    return checkpoint(base / "snapshots" / "abc123", **config)


def test_a_hub_id_is_taken_out_of_the_hubs_cache_and_never_downloaded(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HOME", str(project / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    model = vllm(project, model="org/tiny")
    reason = engine_of(model).unavailable(model) or ""
    assert "hf download org/tiny" in reason and "HF_TOKEN" in reason
    folder = hub(project / "hf", "org/tiny")
    assert engine_of(model).unavailable(model) is None and engine_of(model).served_name(model) == "tiny"
    launched = engine_of(model).launch(model)
    assert launched is not None and str(folder) in launched.argv
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "part-2.safetensors"}}')
    assert "lacks part-2.safetensors. Run 'hf download org/tiny' again" in (engine_of(model).unavailable(model) or "")
