"""Make a Hugging Face checkpoint in bf16 out of SmolLM2's GGUF: `make_checkpoint.py FILE.gguf DIR` in .venv-vllm.

`make checkpoints` runs it. On a CPU vLLM loads a GGUF and dies at the first request, so it gets the weights unpacked.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import torch
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig


def main(gguf: Path, checkpoint: Path) -> None:
    part = checkpoint.with_name(checkpoint.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    where, file = str(gguf.parent), gguf.name
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=file)
    if not tokenizer.chat_template:
        sys.exit(f"{gguf} has no chat template")
    # The conversion forgets that SmolLM splits numbers into digits first: a fifth of our items got other tokens.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    model = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=file, quantization_config=GgufConfig(dequantize=True), dtype=torch.bfloat16
    )
    model.save_pretrained(part)
    tokenizer.save_pretrained(part)
    shutil.rmtree(checkpoint, ignore_errors=True)
    part.rename(checkpoint)


main(Path(sys.argv[1]), Path(sys.argv[2]))
