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
# What other versions of vLLM make of plain weights; an entry with a `python:` of its own may have one.
_OTHER_VLLM = {"bitsandbytes", "deepspeedfp", "ptpc_fp8", "tpu_int8", "rtn", "torchao", "quark"}
# Files beside config.json that vLLM reads where it is told the method: early checkpoints have no word in config.json.
_EARLY = {"gptq": "quantize_config.json", "awq": "quant_config.json"}
# What weights may be called by how they are stored, where their config does not say that plainly.
_STORED = {"w8a8", "w4a16", "w8a16", "int8", "int4", "fp8", "fp8dynamic", "fp4", "mxfp4", "mxfp8", "nvfp4"}
_FP8 = {"fp8", "fp8dynamic", "w8a8fp8", "8bit"}
# By its bits alone: whole numbers are called so too, see `told`.
_EIGHT_BITS = {"w8a8", "w8a16"}
_BESIDE_FP8 = frozenset(_EIGHT_BITS)
# `quant_method` of a config.json that says its `bits`, by the algorithm's name.
_WHOLE_NUMBERS = {
    **dict.fromkeys(("awq", "auto_awq", "awq_marlin"), "awq"),
    **dict.fromkeys(("gptq", "auto_gptq", "gptq_marlin"), "gptq"),
    **dict.fromkeys(("auto-round", "auto_round", "intel/auto-round"), "auto-round"),
}
# ModelOpt's `quant_algo`.
_ALGORITHMS = {
    **{"FP8": _FP8 | {"w8a8"}, "NVFP4": {"nvfp4", "fp4", "4bit"}, "MXFP8": {"mxfp8", "fp8", "8bit"}},
    "W4A16_AWQ": {"awq", "int4", "w4a16", "4bit"},
}
# `general.file_type` of a GGUF file, as llama.cpp numbers it.
_GGUF = {
    **{0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K", 11: "Q3_K_S"},
    **{12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S", 17: "Q5_K_M", 18: "Q6_K"},
    **{19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS", 23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S"},
    **{27: "IQ3_M", 28: "IQ2_S", 29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0"},
    **{38: "MXFP4_MOE", 39: "NVFP4"},
}
# Words of a label, by what they are called here.
_ALIASES = {"bnb": "bitsandbytes", "float8": "fp8", "none": "unquantized"}
_METHODS = {"awq", "gptq", "autoround", "bitsandbytes", "modelopt", "quark", "torchao", "hqq", "unquantized"}
_NUMBERS = re.compile(r"(?:int|fp|nf|nvfp|mxfp)\d+|w\d+a\d+|\d+bit")
_BITS = re.compile(r"(?:int|w)?(\d+)(?:bit|a\d+)?")
# A type of GGUF in a label whose words are joined by underscores: q4_k_m, q4km, ud_q8_k_xl, iq2_xxs, mxfp4_moe.
_TYPE = re.compile(
    r"(?<![a-z0-9])(?:[it]?q\d(?:_?[01](?!\d)|_?k(?:_?(?:x*[sl]|m)(?![a-z]))?|_?(?:x*s|m|nl)(?![a-z]))?"
    r"|mxfp4(?:_?moe)?|nvfp4)(?![a-z0-9])"
)
_FLOATS = {"float32": "f32", "fp32": "f32", "float16": "f16", "fp16": "f16", "bfloat16": "bf16"}


@dataclass(frozen=True)
class Scheme:
    """How weights are quantized.

    Attributes:
        name: for people.
        labels: what an entry may call it, in small letters and digits.
        beside: what may stand in a label beside one of those.
        vague: its config does not say plainly how the weights are stored, so that any numbers may be right.
    """

    name: str
    labels: frozenset[str]
    beside: frozenset[str] = frozenset()
    vague: bool = False

    def is_called(self, label: str) -> bool:
        """Whether a label has one of its names, and none of another scheme: `GPTQ-Int4`, not `GPTQ-Int8`."""
        if _plain(label) in self.labels:
            return True
        words = _words(label)
        own = {
            word for word in words if word in self.labels or (self.vague and _NUMBERS.fullmatch(word) and word != "nf4")
        }
        others = {word for word in words - own - self.beside if _known(word)}
        # A float of 16 bits beside a name is what it computes in.
        return bool(own) and not {word for word in others if word not in PLAIN or word == "unquantized"}


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
    # Earlier versions of compressed-tensors wrote `compression_config`.
    keys, places = ("quantization_config", "compression_config"), (config, text if isinstance(text, dict) else {})
    found = next((each for place in places for key in keys if (each := place.get(key))), None)
    if not isinstance(found, dict):
        # NVIDIA's ModelOpt writes a file of its own.
        own = folder / "hf_quant_config.json"
        return _modelopt(_read(own).get("quantization")) if own.is_file() else None
    method = str(found.get("quant_method") or ("compressed-tensors" if "config_groups" in found else "unknown")).lower()
    if method in _WHOLE_NUMBERS and "fp" not in str(found.get("data_type")):
        name, bits = _WHOLE_NUMBERS[method], found.get("bits") or found.get("w_bit") or 4
        same = {_plain(each) for each, known in _WHOLE_NUMBERS.items() if known == name}
        labels = frozenset({*same, f"int{bits}", f"w{bits}a16", f"{bits}bit"})
        return Scheme(name.upper(), labels, frozenset({"autoround"}))  # which writes the forms of the others too
    if method == "fp8" or method.startswith("fbgemm_fp8"):
        return Scheme("FP8", frozenset({*_FP8, "w8a8"}), _BESIDE_FP8)
    if method == "bitsandbytes":
        if found.get("load_in_8bit"):
            return Scheme("int8 (bitsandbytes)", frozenset({"int8", "8bit", "bitsandbytes", "bnb8bit"}))
        kind = str(found.get("bnb_4bit_quant_type", "fp4"))
        return Scheme(f"{kind} (bitsandbytes)", frozenset({kind, "int4", "4bit", "bitsandbytes", "bnb4bit"}))
    if method == "compressed-tensors":
        return _compressed(found)
    if method.startswith("modelopt"):
        return _modelopt(found)
    return Scheme(method, frozenset({_plain(method), *_STORED}), vague=True)


def _modelopt(found: Any) -> Scheme:
    said = str(found.get("quant_algo")).upper() if isinstance(found, dict) else ""
    if said not in _ALGORITHMS:
        return Scheme("modelopt", frozenset({"modelopt", *_STORED}), frozenset({"awq"}), vague=True)
    beside = {"NVFP4": frozenset({"w4a4", "w4a16"}), "FP8": _BESIDE_FP8, "MXFP8": _BESIDE_FP8}.get(said, frozenset())
    return Scheme(f"{said} (modelopt)", frozenset({"modelopt", *_ALGORITHMS[said]}), beside)


def _compressed(found: Mapping[str, Any]) -> Scheme:
    groups = found.get("config_groups")
    each = [_group(group) for group in groups.values()] if isinstance(groups, dict) and groups else [_group(None)]
    return Scheme(
        " and ".join(dict.fromkeys(scheme.name for scheme in each)),  # several where layers are stored differently
        frozenset[str]().union(*(scheme.labels for scheme in each)),
        frozenset[str]().union(*(scheme.beside for scheme in each)),
        any(scheme.vague for scheme in each),
    )


def _group(group: Any) -> Scheme:
    """How compressed-tensors stores one group of layers."""
    weights, inputs = (group.get(key) if isinstance(group, dict) else None for key in ("weights", "input_activations"))
    rounded = frozenset({"gptq", "awq", "autoround"})  # whatever algorithm rounded them, they are stored alike
    if not isinstance(weights, dict):  # nothing to hold a label against
        return Scheme("compressed-tensors", frozenset({*_STORED, "compressedtensors"}) | rounded, vague=True)
    bits, kind = weights.get("num_bits"), weights.get("type")
    acted = inputs.get("num_bits") if isinstance(inputs, dict) else 16
    any_name = {"compressedtensors", f"{bits}bit"}
    if kind == "float" and bits == 8:
        return Scheme("FP8", frozenset(_FP8 | any_name | {f"w8a{acted}"}), _BESIDE_FP8 | rounded)
    if kind == "float":
        names = {f"{name}{bits}{tail}" for name in ("fp", "nvfp", "mxfp") for tail in ("", f"a{acted}")}
        return Scheme(f"FP{bits}", frozenset(names | any_name), frozenset({f"w{bits}a{acted}"}) | rounded)
    labels = frozenset({f"w{bits}a{acted}", f"int{bits}"} | any_name)
    return Scheme(f"w{bits}a{acted}", labels if isinstance(inputs, dict) else labels | rounded, rounded)


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
        if found.is_called(model.quantization):
            return None
        right = ", ".join(sorted(found.labels))
        raise InputError(
            f"{here} contradicts the checkpoint, whose config.json says {found.name} ({right}). Mend one of them."
        )
    words = WHILE_LOADING[model.engine]
    if label in words or label in PLAIN:
        return words.get(label)
    parts = _words(model.quantization)
    if parts & PLAIN and not any(_known(part) and part not in PLAIN for part in parts):
        return None
    if model.engine == "vllm" and (word := _of_other_vllm(model, parts, folder)):
        return word
    known = ", ".join(sorted(set(words.values())))
    raise InputError(
        f"{here} contradicts the checkpoint, which is not quantized by its config.json. Engine {model.engine} "
        f"quantizes while it loads to: {known}."
    )


def told(model: Model, folder: Path) -> str | None:
    """An entry's `quantization`; where that leaves open whether eight bits are FP8, with what the checkpoint says."""
    label = model.quantization
    if label is None or model.engine not in WHILE_LOADING or _plain(label) not in _EIGHT_BITS:
        return label
    found = scheme(folder)
    return label if found is None or _plain(found.name) == _plain(label) else f"{label}, {found.name}"


def _of_other_vllm(model: Model, parts: set[str], folder: Path) -> str | None:
    """What vLLM is told of a checkpoint that config.json says nothing of, where another version may know it.

    An early checkpoint of GPTQ or AWQ has its bits in a file of its own; a vLLM of one's own may have further words.
    """
    for method, name in _EARLY.items():
        if method in parts and (folder / name).is_file():
            own = _read(folder / name)
            bits = own.get("bits") or own.get("w_bit") or 4
            early = Scheme(method, frozenset({method, f"int{bits}", f"{bits}bit", f"w{bits}a16"}))
            return method if early.is_called(str(model.quantization)) else None
    word = str(model.quantization).lower().replace("-", "_")
    if model.python is None or not re.fullmatch("[a-z][a-z0-9_]*", word):
        return None
    return word if word in _OTHER_VLLM or not any(_known(part) for part in parts) else None


def check_gguf(model: Model, path: Path) -> None:
    """Hold an entry's `quantization` against the type that a GGUF file says it has; where it says none, any will do.

    Raises:
        InputError: the label is another one.
    """
    try:
        said = gguf.read_head(path).get("general.file_type")
    except (OSError, ValueError):
        return  # told elsewhere
    name = _GGUF.get(said) if isinstance(said, int) else None  # a damaged head may have a list there
    if model.quantization is None or name is None or _is_gguf(model.quantization, name):
        return
    raise InputError(
        f"{model.place}: quantization: {model.quantization} contradicts the weights file, which says {name}. Mend it."
    )


def _is_gguf(label: str, name: str) -> bool:
    """Whether a label may mean a type of GGUF: it names no other one, no other number of bits and no other format."""
    words = _words(label)
    bits = int(re.findall(r"\d+", name)[0])
    types = [_plain(each) for each in _TYPE.findall("_".join(re.findall("[a-z0-9]+", label.lower())))]
    if types:
        # Unsloth's dynamic types are named by their bits; the file says what most of it is.
        near = "ud" in words and any(f"q{bits}" in each for each in types)
        return near or any(_is_type(each, name) for each in types)
    floats = {_FLOATS.get(word, word) for word in words} & {"f32", "f16", "bf16"}
    if floats:
        return _plain(name) in floats
    if "unquantized" in words:
        return name in ("F32", "F16", "BF16")
    numbers = {int(found[1]) for word in words if _NUMBERS.fullmatch(word) and (found := _BITS.fullmatch(word))}
    if numbers:
        return bits in numbers or (bits == 1 and 2 in numbers)
    return not any(_known(word) for word in words)


def _is_type(said: str, name: str) -> bool:
    """`Q4_K` is Q4_K_M too, and so is another mix of its kind (`Q4_K_XL`); `Q8_K_XL` is Q8_0."""
    whole, kind = _plain(name), _plain("_".join(name.split("_")[:2]))
    if whole == "q80" and said.startswith("q8k"):
        return True
    known = said in {_plain(each) for each in _GGUF.values()} and said != kind
    return whole.startswith(said) or (not known and said.startswith(kind))


def _known(word: str) -> bool:
    """Whether a word of a label says how weights are stored, or by which method they were quantized."""
    return word in _METHODS or word in PLAIN or _NUMBERS.fullmatch(word) is not None


def _words(label: str) -> set[str]:
    """The words of a label, one name for each: `GPTQ 4-bit` has gptq and 4bit."""
    joined = re.sub(r"(?<![\d.])(\d+)[^a-z0-9]*bits?(?![a-z])", r"\1bit", label.lower())
    # 1.58bit is a number of its own, no 58bit.
    joined = re.sub(r"\d+\.\d+[^a-z0-9]*(?:bits?|bpw)", "", joined)
    return {_ALIASES.get(word, word) for word in re.findall("[a-z0-9]+", joined)}


def _plain(label: str) -> str:
    return re.sub(r"[^a-z0-9]", "", label.lower())
