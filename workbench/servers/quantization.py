"""What a checkpoint says of its quantization, and whether an entry of models.yaml says the same.

check(model, folder, while_loading={"fp8": "fp8"})     # raises InputError where the label contradicts config.json
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

PLAIN = {"none", "bf16", "bfloat16", "f16", "fp16", "float16", "f32", "fp32", "float32", "unquantized"}
_LABELS = {
    *("awq", "gptq", "w8a8", "w4a16", "w8a16", "fp8", "fp4", "nf4", "int8", "int4", "mxfp4", "nvfp4", "bitsandbytes"),
    *("compressedtensors", "fp8dynamic"),
}


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
    try:
        found = json.loads((folder / "config.json").read_text())
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
        return (
            Scheme("modelopt", frozenset({"modelopt", "fp8", "nvfp4"}))
            if (folder / "hf_quant_config.json").is_file()
            else None
        )
    method = str(found.get("quant_method", "")).lower()
    bits = found.get("bits") or found.get("w_bit")
    if method in ("awq", "gptq"):
        bits = bits or 4
        return Scheme(method.upper(), frozenset({method, f"int{bits}", f"w{bits}a16"}))
    if method == "fp8" or method.startswith("fbgemm_fp8"):
        return Scheme("FP8", frozenset({"fp8", "fp8dynamic", "w8a8fp8"}))
    if method == "bitsandbytes":
        if found.get("load_in_8bit"):
            return Scheme("int8 (bitsandbytes)", frozenset({"int8", "bitsandbytes", "bnb8bit"}))
        kind = str(found.get("bnb_4bit_quant_type", "fp4"))
        return Scheme(f"{kind} (bitsandbytes)", frozenset({kind, "int4", "bitsandbytes", "bnb4bit"}))
    if method == "compressed-tensors":
        return _compressed(found)
    name = method or "unknown"
    return Scheme(name, frozenset({_plain(name)}))


def _compressed(found: Mapping[str, Any]) -> Scheme:
    groups = found.get("config_groups")
    group: Any = next(iter(groups.values()), {}) if isinstance(groups, dict) else {}
    weights, inputs = (group.get(key) if isinstance(group, dict) else None for key in ("weights", "input_activations"))
    if not isinstance(weights, dict):
        return Scheme("compressed-tensors", frozenset(_LABELS))  # nothing to hold a label against
    bits, kind = weights.get("num_bits"), weights.get("type")
    any_name = {"compressedtensors"}
    if kind == "float" and bits == 8:
        return Scheme("FP8", frozenset({"fp8", "fp8dynamic", "w8a8fp8"} | any_name))
    if kind == "float":
        return Scheme(f"FP{bits}", frozenset({f"fp{bits}", f"nvfp{bits}", f"mxfp{bits}"} | any_name))
    if isinstance(inputs, dict):
        acted = inputs.get("num_bits")
        return Scheme(f"w{bits}a{acted}", frozenset({f"w{bits}a{acted}", f"int{bits}"} | any_name))
    # Whatever algorithm rounded them, they are stored alike.
    return Scheme(f"w{bits}a16", frozenset({f"w{bits}a16", f"int{bits}", "gptq", "awq"} | any_name))


def check(model: Model, folder: Path, while_loading: Mapping[str, str]) -> str | None:
    """Hold an entry's `quantization` against what its weights are.

    Args:
        while_loading: what the engine can do to plain weights while it loads: label to the engine's own word.

    Returns:
        The engine's word where it is to quantize; None where the weights are what the entry says.

    Raises:
        InputError: the label contradicts the checkpoint.
    """
    if model.quantization is None:
        return None
    label, found = _plain(model.quantization), scheme(folder)
    here = f"{model.place}: quantization: {model.quantization}"
    if found is not None:
        if label in found.labels or (label not in _LABELS and label not in PLAIN):
            return None
        raise InputError(f"{here} contradicts the checkpoint, whose config.json says {found.name}. Mend one of them.")
    if label in while_loading:
        return while_loading[label]
    if label in _LABELS:
        able = f" Engine {model.engine} quantizes while it loads to: {', '.join(sorted(while_loading))}."
        raise InputError(f"{here} contradicts the checkpoint, which is not quantized by its config.json.{able}")
    return None


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower())
