"""Round a checkpoint's linear layers to int8 or int4: `quantize_checkpoint.py DIR OUT w8a8|w4a16` in .venv-vllm.

`make checkpoints` runs it. Round to nearest, nothing calibrated, in the format of compressed-tensors: w8a8 is int8 with
a scale a row and activations rounded a token at a time, w4a16 packed int4 with a scale for each 64 weights (SmolLM2's
rows of 576 are not whole groups of 128). Rounding and packing are that package's own; the same bytes each time. For a
model that is to be used, llmcompressor can calibrate: see docs/quantize.md.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from compressed_tensors.compressors.pack_quantized.helpers import pack_to_int32
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import quantize
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import load_file, save_file

_WEIGHTS: dict[str, dict[str, Any]] = {
    "w8a8": {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "channel"},
    "w4a16": {"num_bits": 4, "type": "int", "symmetric": True, "strategy": "group", "group_size": 64},
}
_PER_TOKEN = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "token", "dynamic": True}


def main(checkpoint: Path, out: Path, scheme: str) -> None:
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    shutil.copytree(checkpoint, part, ignore=shutil.ignore_patterns("*.safetensors", ".made"))
    weights = load_file(checkpoint / "model.safetensors")
    save_file(rounded(weights, scheme), part / "model.safetensors", {"format": "pt"})
    config = json.loads((part / "config.json").read_text())
    config["quantization_config"] = settings(scheme)
    (part / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    shutil.rmtree(out, ignore_errors=True)
    part.rename(out)


def rounded(weights: dict[str, torch.Tensor], scheme: str) -> dict[str, torch.Tensor]:
    """The tensors of a checkpoint, its linear layers' weights rounded; embeddings and norms stay as they are."""
    args = QuantizationArgs(**_WEIGHTS[scheme])
    found = {}
    for name, weight in weights.items():
        if not name.endswith("_proj.weight"):
            found[name] = weight
            continue
        layer = name.removesuffix("weight")
        groups = weight.float().unflatten(1, (-1, args.group_size or weight.shape[1]))
        scale, zero = calculate_qparams(groups.amin(-1), groups.amax(-1), args)
        scale = scale.to(weight.dtype)
        values = quantize(weight.float(), scale.float(), zero, args, torch.int8)
        if scheme == "w8a8":
            found[f"{layer}weight"] = values
        else:
            found[f"{layer}weight_packed"] = pack_to_int32(values, args.num_bits)
            found[f"{layer}weight_shape"] = torch.tensor(weight.shape)
        found[f"{layer}weight_scale"] = scale
    return found


def settings(scheme: str) -> dict[str, Any]:
    """What config.json says of it."""
    activations = _PER_TOKEN if scheme == "w8a8" else None
    group = {"targets": ["Linear"], "weights": _WEIGHTS[scheme], "input_activations": activations}
    return {
        "quant_method": "compressed-tensors",
        "format": "int-quantized" if scheme == "w8a8" else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": ["lm_head"],
    }


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
