"""Q4_K and Q6_K blocks as llama.cpp's reference functions make them, and Q5_0 blocks by the `gguf` Python package.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors, and ctransformers 0.2.27 for the library in its wheel, which is ggml compiled; Linux on
x86-64), never by `cargo xtask ci`. Writes k_quant.safetensors beside this file:

    values f32 [n, 256]                              the input, a block a row
    q4_k u8 [n, 144], q6_k u8 [n, 210]               the blocks, by quantize_row_q4_K_reference and quantize_row_q6_K_reference
    q4_k_values, q6_k_values f32 [n, 256]            the blocks dequantized by gguf
    q5_0 u8 [n, 176]                                 by gguf, eight blocks a row
"""

import ctypes
import importlib.util
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, quants
from safetensors.numpy import save_file

BLOCK = 256


def blocks() -> np.ndarray:
    random = np.random.default_rng(20261126)
    rows = []
    for scale in [2e-3, 0.02, 1.0, 37.0, 1e3]:
        rows += [scale * random.standard_normal(BLOCK) for _ in range(6)]
        rows += [scale * random.uniform(-1, 1, BLOCK) for _ in range(2)]
        rows += [scale * random.standard_t(3, BLOCK) for _ in range(4)]
        # An outlier in every fourth block of a matrix, and groups of different sizes.
        rows += [scale * random.standard_normal(BLOCK) * (1 + 30 * (random.random(BLOCK) < 0.01)) for _ in range(2)]
        rows += [scale * random.standard_normal(BLOCK) * np.repeat(2.0 ** random.uniform(-6, 0, 16), 16) for _ in range(2)]
        rows += [scale * (random.standard_normal(BLOCK) + 3), scale * (random.standard_normal(BLOCK) - 3)]
    return np.array(rows, dtype=np.float32)


def reference(values: np.ndarray, function: str, block_bytes: int) -> np.ndarray:
    package = Path(importlib.util.find_spec("ctransformers").origin).parent
    library = ctypes.CDLL(str(package / "lib" / "basic" / "libctransformers.so"))
    out = np.zeros((len(values), block_bytes), dtype=np.uint8)
    library[function](
        values.ctypes.data_as(ctypes.c_void_p), out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int(values.size)
    )
    return out


def main() -> None:
    values = blocks()
    tensors = {"values": values}
    for name, size in [("Q4_K", 144), ("Q6_K", 210)]:
        found = reference(values, f"quantize_row_{name[0].lower()}{name[1:]}_reference", size)
        tensors[name.lower()] = found
        tensors[f"{name.lower()}_values"] = quants.dequantize(found, GGMLQuantizationType[name]).astype(np.float32)
    tensors["q5_0"] = quants.quantize(values, GGMLQuantizationType.Q5_0)
    save_file(tensors, Path(__file__).parent / "k_quant.safetensors")


if __name__ == "__main__":
    main()
