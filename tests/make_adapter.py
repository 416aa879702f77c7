"""Make a LoRA adapter with random weights, so that it changes what a model says: `make_adapter.py CHECKPOINT DIR`.

It runs in .venv-transformers; nothing is trained. DIR gets peft's files, and the same as adapter.gguf for llama.cpp.
"""

import sys

import gguf
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

RANK, ALPHA = 8, 64
NAMES = {"q_proj": "attn_q", "v_proj": "attn_v"}

torch.manual_seed(0)
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
config = LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=list(NAMES), init_lora_weights=False)
adapted = get_peft_model(model, config)
adapted.save_pretrained(sys.argv[2])

writer = gguf.GGUFWriter(f"{sys.argv[2]}/adapter.gguf", "llama")
writer.add_string("general.type", "adapter")
writer.add_string("adapter.type", "lora")
writer.add_float32("adapter.lora.alpha", float(ALPHA))
for index, layer in enumerate(adapted.base_model.model.model.layers):
    for name, called in NAMES.items():
        part = getattr(layer.self_attn, name)
        for half, matrix in (("a", part.lora_A), ("b", part.lora_B)):
            values = matrix["default"].weight.detach().float().numpy()
            writer.add_tensor(f"blk.{index}.{called}.weight.lora_{half}", values)
writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
