"""Blocks of every quantized ggml type that we only read, dequantized by the `gguf` Python package.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors), never by `cargo xtask ci`. Writes blocks.safetensors beside this file; of each
type, where NAME is q4_1 and so on:

    NAME u8 [n, bytes]             random bits, but for scales (and least values), which are f16 of every kind that is a number
    NAME_values f32 [n, 32 or 256] the blocks dequantized
"""

from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants
from safetensors.numpy import save_file

# Bytes of a block at which an f16 stands.
HALVES = {
    "Q4_1": [0, 2],
    "Q5_0": [0],
    "Q5_1": [0, 2],
    "Q2_K": [80, 82],
    "Q3_K": [108],
    "Q4_K": [0, 2],
    "Q5_K": [0, 2],
    "Q6_K": [208],
}
BYTES_OF_VALUES = 1 << 14


def main() -> None:
    random = np.random.default_rng(20261125)
    tensors = {}
    for name, places in HALVES.items():
        kind = GGMLQuantizationType[name]
        values, size = GGML_QUANT_SIZES[kind]
        n = BYTES_OF_VALUES // (4 * values)
        blocks = random.integers(0, 256, (n, size), dtype=np.uint8)
        for place in places:
            # From subnormal to 16, either sign; the first block has 0.
            scales = 2.0 ** random.uniform(-24, 4, n) * random.choice([-1, 1], n)
            scales[0] = 0
            blocks[:, place : place + 2] = scales.astype("<f2").view(np.uint8).reshape(n, 2)
        tensors[name.lower()] = blocks
        tensors[f"{name.lower()}_values"] = quants.dequantize(blocks, kind).astype(np.float32)
    save_file(tensors, Path(__file__).parent / "blocks.safetensors")


if __name__ == "__main__":
    main()
