"""What a checkpoint says of its quantization, and whether an entry of models.yaml says the same.

check(model, folder)          # the engine's word where it is to quantize; raises InputError where the label is wrong
check_gguf(model, path)       # the same for a GGUF file, by what its head says
found = scheme(folder); found.name                     # 'w4a16'; None for weights that are not quantized
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.catalog import Model
from workbench.errors import InputError
from workbench.servers import gguf

PLAIN = {"none", "bf16", "bfloat16", "f16", "fp16", "float16", "f32", "fp32", "float32", "unquantized"}
# What an engine makes of plain weights while it loads them, by what an entry may call it: the engine's own word.
WHILE_LOADING: dict[str, dict[str, str]] = {
    "transformers": {"nf4": "nf4", "bnb4bit": "nf4", "int8": "int8", "bnb8bit": "int8"},
    "vllm": {
        word.replace("_", ""): word
        for word in (
            *("fp8", "fp8_per_tensor", "fp8_per_block", "fp8_per_channel", "mxfp8", "mxfp4"),
            *("nvfp4_per_token", "int8_per_channel_weight_only", "experts_int8"),
        )
    },
}
# What weights may be called by how they are stored, where their config does not say that plainly.
_STORED = {"w8a8", "w4a16", "w8a16", "int8", "int4", "fp8", "fp8dynamic", "fp4", "mxfp4", "mxfp8", "nvfp4"}
_FP8 = {"fp8", "fp8dynamic", "w8a8fp8"}
# `quant_method` of a config.json that says its `bits`, by the algorithm's name.
_WHOLE_NUMBERS = {
    **dict.fromkeys(("awq", "auto_awq", "awq_marlin"), "awq"),
    **dict.fromkeys(("gptq", "auto_gptq", "gptq_marlin"), "gptq"),
    **dict.fromkeys(("auto-round", "auto_round", "intel/auto-round"), "auto-round"),
}
# ModelOpt's `quant_algo`.
_ALGORITHMS = {"FP8": _FP8, "NVFP4": {"nvfp4", "fp4"}, "MXFP8": {"mxfp8"}, "W4A16_AWQ": {"awq", "int4", "w4a16"}}
# `general.file_type` of a GGUF file, as llama.cpp numbers it.
_GGUF = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S"},
    **{12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K"},
    **{19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S"},
    **{27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0"},
    **{38: "MXFP4_MOE", 39: "NVFP4"},
}
_FLOATS = {"float32": "f32", "fp32": "f32", "float16": "f16", "fp16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Scheme:
    """How weights are quantized.

    Attributes:
        name: for people.
        labels: what an entry may call it, in small letters and digits.
    """

    name: str
    labels: frozenset[str]


def read_config(folder: Path) -> dict[str, Any]:
    """A checkpoint's config.json; empty where it cannot be read."""
    return _read(folder / "config.json")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def scheme(folder: Path) -> Scheme | None:
    """A checkpoint's quantization; None where it has none."""
    config = read_config(folder)
    text = config.get("text_config")
    found = config.get("quantization_config") or (text.get("quantization_config") if isinstance(text, dict) else None)
    if not isinstance(found, dict):
        # NVIDIA's ModelOpt writes a file of its own.
        own = folder / "hf_quant_config.json"
        return _modelopt(_read(own).get("quantization")) if own.is_file() else None
    method = str(found.get("quant_method") or "unknown").lower()
    if method in _WHOLE_NUMBERS and "fp" not in str(found.get("data_type")):
        name, bits = _WHOLE_NUMBERS[method], found.get("bits") or found.get("w_bit") or 4
        same = {_plain(each) for each, known in _WHOLE_NUMBERS.items() if known == name}
        return Scheme(name.upper(), frozenset({*same, f"int{bits}", f"w{bits}a16"}))
    if method == "fp8" or method.startswith("fbgemm_fp8"):
        return Scheme("FP8", frozenset(_FP8))
    if method == "bitsandbytes":
        if found.get("load_in_8bit"):
            return Scheme("int8 (bitsandbytes)", frozenset({"int8", "bitsandbytes", "bnb8bit"}))
        kind = str(found.get("bnb_4bit_quant_type", "fp4"))
        return Scheme(f"{kind} (bitsandbytes)", frozenset({kind, "int4", "bitsandbytes", "bnb4bit"}))
    if method == "compressed-tensors":
        return _compressed(found)
    if method.startswith("modelopt"):
        return _modelopt(found)
    return Scheme(method, frozenset({_plain(method), *_STORED}))


def _modelopt(found: Any) -> Scheme:
    said = str(found.get("quant_algo")).upper() if isinstance(found, dict) else ""
    labels = _ALGORITHMS.get(said, _STORED)
    return Scheme(f"{said} (modelopt)" if said in _ALGORITHMS else "modelopt", frozenset({"modelopt", *labels}))


def _compressed(found: Mapping[str, Any]) -> Scheme:
    groups = found.get("config_groups")
    group: Any = next(iter(groups.values()), {}) if isinstance(groups, dict) else {}
    weights, inputs = (group.get(key) if isinstance(group, dict) else None for key in ("weights", "input_activations"))
    if not isinstance(weights, dict):
        return Scheme(
            "compressed-tensors", frozenset({*_STORED, "compressedtensors", "gptq", "awq"})
        )  # nothing to hold a label against
    bits, kind = weights.get("num_bits"), weights.get("type")
    any_name = {"compressedtensors"}
    if kind == "float" and bits == 8:
        return Scheme("FP8", frozenset(_FP8 | any_name))
    if kind == "float":
        return Scheme(f"FP{bits}", frozenset({f"fp{bits}", f"nvfp{bits}", f"mxfp{bits}"} | any_name))
    if isinstance(inputs, dict):
        acted = inputs.get("num_bits")
        return Scheme(f"w{bits}a{acted}", frozenset({f"w{bits}a{acted}", f"int{bits}"} | any_name))
    # Whatever algorithm rounded them, they are stored alike.
    return Scheme(f"w{bits}a16", frozenset({f"w{bits}a16", f"int{bits}", "gptq", "awq"} | any_name))


def check(model: Model, folder: Path) -> str | None:
    """Hold an entry's `quantization` against what its weights are, and what its engine can make of them.

    Returns:
        The engine's word where it is to quantize; None where the weights are what the entry says.

    Raises:
        InputError: the label contradicts the checkpoint, or neither the weights nor the engine know it.
    """
    if model.quantization is None:
        return None
    label, found = _plain(model.quantization), scheme(folder)
    here = f"{model.place}: quantization: {model.quantization}"
    if found is not None:
        if label in found.labels:
            return None
        right = ", ".join(sorted(found.labels))
        raise InputError(
            f"{here} contradicts the checkpoint, whose config.json says {found.name} ({right}). Mend one of them."
        )
    words = WHILE_LOADING[model.engine]
    if label in words or label in PLAIN:
        return words.get(label)
    known = ", ".join(sorted(set(words.values())))
    raise InputError(
        f"{here} contradicts the checkpoint, which is not quantized by its config.json. Engine {model.engine} "
        f"quantizes while it loads to: {known}."
    )


def check_gguf(model: Model, path: Path) -> None:
    """Hold an entry's `quantization` against the type that a GGUF file says it has; where it says none, any will do.

    Raises:
        InputError: the label is another one.
    """
    try:
        name = _GGUF.get(gguf.read_head(path).get("general.file_type", -1))
    except (OSError, ValueError):
        return  # told elsewhere
    if model.quantization is None or name is None or _is_gguf(_plain(model.quantization), name):
        return
    raise InputError(
        f"{model.place}: quantization: {model.quantization} contradicts the weights file, which says {name}. Mend it."
    )


def _is_gguf(label: str, name: str) -> bool:
    """Whether a label means a type of GGUF: `Q4_K` is Q4_K_M too, and so is another mix of its kind (`UD-Q4_K_XL`)."""
    if label in ("none", "unquantized"):
        return name in ("F32", "F16", "BF16")
    label, said = _FLOATS.get(label, re.sub("^(ud|i1)", "", label)), _plain(name)
    kind = _plain("_".join(name.split("_")[:2]))
    known = label in {_plain(each) for each in _GGUF.values()} and label != kind
    return label == said or (len(label) > 1 and said.startswith(label)) or (not known and label.startswith(kind))


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower())
