"""Write a GGUF's weights in another type: `make_gguf.py FILE.gguf OUT.gguf F16|Q8_0|Q4_0`, with the package gguf.

`make ggufs` runs it. What was lost in FILE stays lost: F16 out of Q4_1 has Q4_1's weights, unpacked. So it stands in
for a reference, and Q8_0 and Q4_0 are roundings of it, to nearest, by that package. The same bytes each time.
"""

from __future__ import annotations

import sys
from pathlib import Path

import gguf
import numpy as np

_OWN = ("GGUF.", "general.architecture", "general.file_type")  # which the writer says itself, or we do


def main(file: Path, out: Path, kind: str) -> None:
    reader = gguf.GGUFReader(file)
    part = out.with_name(f"{out.name}.part")
    architecture = reader.get_field("general.architecture")
    assert architecture is not None
    writer = gguf.GGUFWriter(part, architecture.contents())
    writer.add_file_type(gguf.LlamaFileType[f"MOSTLY_{kind}"])
    for name, field in reader.fields.items():
        if not name.startswith(_OWN):
            writer.add_key_value(name, field.contents(), field.types[0], field.types[-1] if field.types[1:] else None)
    wanted = gguf.GGMLQuantizationType[kind]
    for tensor in reader.tensors:
        values = gguf.dequantize(tensor.data, tensor.tensor_type)
        if tensor.tensor_type == gguf.GGMLQuantizationType.F32:  # norms
            writer.add_tensor(tensor.name, np.ascontiguousarray(values))
        else:
            writer.add_tensor(tensor.name, gguf.quantize(values, wanted), raw_dtype=wanted)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    part.rename(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3])
