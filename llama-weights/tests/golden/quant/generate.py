"""Q8_0 and Q4_0 blocks as the `gguf` Python package makes them, whose bytes equal llama.cpp's.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors), never by `cargo xtask ci`. Writes quant.safetensors beside this file:

    values f32 [n, 32]                       the input, a block a row
    q8_0 u8 [n, 34], q4_0 u8 [n, 18]         the blocks
    q8_0_values, q4_0_values f32 [n, 32]     the blocks dequantized
"""

from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, quants
from safetensors.numpy import save_file

BLOCK = 32


def blocks() -> np.ndarray:
    random = np.random.default_rng(20260713)
    rows = []
    for scale in [1e-7, 1e-5, 1e-3, 0.02, 1.0, 37.0, 5e4]:  # the first two have f16 scales that are subnormal or zero
        rows += [scale * random.standard_normal(BLOCK) for _ in range(24)]
        rows += [scale * random.uniform(-1, 1, BLOCK) for _ in range(8)]
    ramp = np.arange(BLOCK)
    rows += [
        np.zeros(BLOCK),
        -np.zeros(BLOCK),
        np.ones(BLOCK),
        -np.ones(BLOCK),
        np.where(ramp % 2, 1.0, -1.0),  # equal magnitudes: the first one, negative, gives Q4_0 its sign
        np.where(ramp % 2, -1.0, 1.0),
        np.eye(BLOCK)[0],
        -np.eye(BLOCK)[31],
        ramp - 16.0,
        16.0 - ramp,
        127.0 * np.eye(BLOCK)[5] + (ramp - 16) / 2,  # d = 1: every other value lies halfway between two quants
        -127.0 * np.eye(BLOCK)[5] + (ramp - 16) / 2,
        -8.0 * np.eye(BLOCK)[9] + (ramp - 16) / 2,  # the same for Q4_0
        8.0 * np.eye(BLOCK)[9] + (ramp - 16) / 2,
    ]
    return np.array(rows, dtype=np.float32)


def main() -> None:
    values = blocks()
    tensors = {"values": values}
    for name in ["Q8_0", "Q4_0"]:
        kind = GGMLQuantizationType[name]
        quantized = quants.quantize(values, kind)
        tensors[name.lower()] = quantized
        tensors[f"{name.lower()}_values"] = quants.dequantize(quantized, kind).astype(np.float32)
    save_file(tensors, Path(__file__).parent / "quant.safetensors")


if __name__ == "__main__":
    main()
