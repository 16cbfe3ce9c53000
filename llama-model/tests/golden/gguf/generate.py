"""GGUF files written by the `gguf` Python package, and the logits of their models.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors), never by `cargo xtask ci`. Beside this file it writes, for checkpoints of
../parity and for the one that llama-weights has in PyTorch's forms, NAME.gguf with the same weights, q and k rows in llama.cpp's
interleaved order; and for weights that are quantized from the beginning, NAME.gguf and NAME.safetensors:

    input_ids i64 [n]            the prompt
    logits f32 [n, vocabulary]   of the weights as the package dequantizes them, computed in f64 with interleaved rotation
"""

import json
from pathlib import Path

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as Kind, GGUFWriter, quants
from safetensors.numpy import load_file, save_file

HERE = Path(__file__).parent
PARITY = HERE.parent / "parity"

TORCH = HERE.parents[3] / "llama-weights" / "tests" / "golden" / "torch"

# name -> (Hugging Face directory, type of the matrices)
SAME = {
    "gqa-8-to-1-f16": (PARITY / "gqa-8-to-1-f16", Kind.F16), "biases": (PARITY / "biases", Kind.F32),
    # Its weights are bf16, each a number that f16 has too.
    "torch-f16": (TORCH / "hf", Kind.F16),
}

LAYER = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}

WIDE = dict(hidden=256, ffn=256, heads=4, kv_heads=2, head_dim=64, layers=1, vocab=96)  # K types: blocks of 256
NARROW = dict(hidden=64, ffn=96, heads=4, kv_heads=2, head_dim=16, layers=2, vocab=96)

# name -> (shape, types by part of a tensor's name, the first that fits)
QUANTIZED = {
    "q8_0": (NARROW, {"": Kind.Q8_0}),
    "q4_0": (NARROW, {"": Kind.Q4_0}),
    "q5_0": (NARROW, {"": Kind.Q5_0}),
    "mixed": (NARROW, {"attn_q": Kind.Q4_1, "attn_k": Kind.Q5_1, "attn_v": Kind.Q8_0, "ffn_down": Kind.Q5_1, "ffn": Kind.Q4_1,
                       "": Kind.Q8_0}),
    "mixed-k": (WIDE, {"attn_q": Kind.Q4_K, "attn_k": Kind.Q5_K, "attn_v": Kind.Q6_K, "attn_output": Kind.Q3_K,
                       "ffn_gate": Kind.Q2_K, "ffn_up": Kind.Q4_K, "ffn_down": Kind.Q6_K, "token_embd": Kind.Q6_K,
                       "output": Kind.Q5_K}),
    # As llama.cpp mixes them for its types of the same names.
    "q4_k_m": (WIDE, {"attn_v": Kind.Q6_K, "ffn_down": Kind.Q6_K, "output": Kind.Q6_K, "": Kind.Q4_K}),
    "q2_k": (WIDE, {"attn_v": Kind.Q4_K, "attn_output": Kind.Q3_K, "ffn_down": Kind.Q3_K, "output": Kind.Q6_K, "": Kind.Q2_K}),
}

# K types cannot be made by the package: random bits with a scale (and a least value, in scales) at these bytes. The third number is the
# values' standard deviation where the scale is 1.
K_SCALES = {
    Kind.Q2_K: (80, 1.5, 13.9), Kind.Q3_K: (108, None, 43.3), Kind.Q4_K: (0, 7.5, 258.3), Kind.Q5_K: (0, 15.5, 526.9),
    Kind.Q6_K: (208, None, 1365.7),
}


def writer(path, hidden, ffn, heads, kv_heads, head_dim, layers, vocab, eps=1e-5, theta=10000.0):
    w = GGUFWriter(path, "llama")
    w.add_context_length(512)
    w.add_embedding_length(hidden)
    w.add_block_count(layers)
    w.add_feed_forward_length(ffn)
    w.add_head_count(heads)
    w.add_head_count_kv(kv_heads)
    w.add_key_length(head_dim)
    w.add_value_length(head_dim)
    w.add_rope_dimension_count(head_dim)
    w.add_rope_freq_base(theta)
    w.add_layer_norm_rms_eps(eps)
    w.add_vocab_size(vocab)
    return w


def finish(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def interleave(rows, heads):
    """Half-split rows of each head as llama.cpp has them: row i and row i + head_dim / 2 adjacent."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, *rows.shape[1:])
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def load(path):
    """As load_file, and bf16 as f32, which numpy has no type for."""
    file = path.read_bytes()
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    if all(entry.get("dtype") != "BF16" for entry in header.values()):
        return load_file(path)
    tensors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = (np.frombuffer(file[begin:end], "<u2").astype("<u4") << 16).view("<f4").reshape(entry["shape"])
    return tensors


def convert(name, folder, kind):
    config = json.loads((folder / "config.json").read_text())
    tensors = load(folder / "model.safetensors")
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    hidden, layers = config["hidden_size"], config["num_hidden_layers"]
    w = writer(HERE / f"{name}.gguf", hidden, config["intermediate_size"], heads, kv_heads, config.get("head_dim", hidden // heads),
               layers, config["vocab_size"], config["rms_norm_eps"], config["rope_theta"])
    w.add_bos_token_id(config["bos_token_id"])
    w.add_eos_token_id(config["eos_token_id"])

    def add(to, tensor):
        # Vectors are f32, as llama.cpp's converter writes them.
        w.add_tensor(to, tensor.astype(np.float16 if kind == Kind.F16 and tensor.ndim == 2 else np.float32))

    add("token_embd.weight", tensors["model.embed_tokens.weight"])
    for layer in range(layers):
        for to, of in LAYER.items():
            for end in ["weight", "bias"]:
                tensor = tensors.get(f"model.layers.{layer}.{of}.{end}")
                if tensor is None:
                    continue
                if to in ("attn_q", "attn_k"):
                    tensor = interleave(tensor, heads if to == "attn_q" else kv_heads)
                add(f"blk.{layer}.{to}.{end}", tensor)
    add("output_norm.weight", tensors["model.norm.weight"])
    add("output.weight", tensors["lm_head.weight"])
    finish(w)


def quantized(random, kind, rows, columns, deviation):
    if kind not in K_SCALES:
        return quants.quantize((deviation * random.standard_normal((rows, columns))).astype(np.float32), kind)
    values, size = GGML_QUANT_SIZES[kind]
    n = rows * columns // values
    blocks = random.integers(0, 256, (n, size), dtype=np.uint8)
    at, least, spread = K_SCALES[kind]
    scale = deviation / spread * random.choice([-1, 1], n)
    blocks[:, at : at + 2] = scale.astype("<f2").view(np.uint8).reshape(n, 2)
    if least is not None:
        blocks[:, at + 2 : at + 4] = (least * scale).astype("<f2").view(np.uint8).reshape(n, 2)
    return blocks.reshape(rows, -1)


def make(name, shape, kinds, seed):
    random = np.random.default_rng(seed)
    hidden, ffn, vocab = shape["hidden"], shape["ffn"], shape["vocab"]
    q, kv = shape["heads"] * shape["head_dim"], shape["kv_heads"] * shape["head_dim"]
    w = writer(HERE / f"{name}.gguf", **shape)
    weights = {}

    def matrix(to, rows, columns, deviation):
        kind = next(kind for part, kind in kinds.items() if part in to)
        blocks = quantized(random, kind, rows, columns, deviation)
        w.add_tensor(to, blocks, raw_dtype=kind)
        weights[to] = quants.dequantize(blocks, kind).astype(np.float64).reshape(rows, columns)

    def norm(to):
        value = (1 + 0.1 * random.standard_normal(hidden)).astype(np.float32)
        w.add_tensor(to, value)
        weights[to] = value.astype(np.float64)

    matrix("token_embd.weight", vocab, hidden, 1.0)
    for layer in range(shape["layers"]):
        part = lambda to: f"blk.{layer}.{to}.weight"
        norm(part("attn_norm"))
        matrix(part("attn_q"), q, hidden, 1.5 / hidden**0.5)
        matrix(part("attn_k"), kv, hidden, 1.5 / hidden**0.5)
        matrix(part("attn_v"), kv, hidden, 1 / hidden**0.5)
        matrix(part("attn_output"), hidden, q, 1 / q**0.5)
        norm(part("ffn_norm"))
        matrix(part("ffn_gate"), ffn, hidden, 1 / hidden**0.5)
        matrix(part("ffn_up"), ffn, hidden, 1 / hidden**0.5)
        matrix(part("ffn_down"), hidden, ffn, 1 / ffn**0.5)
    norm("output_norm.weight")
    matrix("output.weight", vocab, hidden, 1 / hidden**0.5)
    finish(w)
    ids = random.integers(3, vocab, 40)
    logits = forward(weights, shape, ids)
    save_file(dict(input_ids=ids.astype(np.int64), logits=logits.astype(np.float32)), HERE / f"{name}.safetensors")
    print(f"{name:10} max logit {np.abs(logits).max():.2f}")


def rms(x, weight):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + np.float64(np.float32(1e-5))) * weight


def rotate(x):
    """Adjacent values turn together; [positions, heads, head_dim]."""
    n, _, head_dim = x.shape
    angle = np.arange(n)[:, None] * 10000.0 ** (-np.arange(0, head_dim, 2) / head_dim)
    turned = (x[..., 0::2] + 1j * x[..., 1::2]) * np.exp(1j * angle)[:, None, :]
    out = np.empty_like(x)
    out[..., 0::2], out[..., 1::2] = turned.real, turned.imag
    return out


def forward(weights, shape, ids):
    heads, kv_heads, head_dim, n = shape["heads"], shape["kv_heads"], shape["head_dim"], len(ids)
    x = weights["token_embd.weight"][ids]
    mask = np.triu(np.full((n, n), -np.inf), 1)
    for layer in range(shape["layers"]):
        w = lambda to: weights[f"blk.{layer}.{to}.weight"]
        h = rms(x, w("attn_norm"))
        q = rotate((h @ w("attn_q").T).reshape(n, heads, head_dim))
        k = rotate((h @ w("attn_k").T).reshape(n, kv_heads, head_dim)).repeat(heads // kv_heads, 1)
        v = (h @ w("attn_v").T).reshape(n, kv_heads, head_dim).repeat(heads // kv_heads, 1)
        scores = np.einsum("ihd,jhd->hij", q, k) / head_dim**0.5 + mask
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        x = x + np.einsum("hij,jhd->ihd", scores, v).reshape(n, -1) @ w("attn_output").T
        h = rms(x, w("ffn_norm"))
        gate = h @ w("ffn_gate").T
        x = x + (gate / (1 + np.exp(-gate)) * (h @ w("ffn_up").T)) @ w("ffn_down").T
    return rms(x, weights["output_norm.weight"]) @ weights["output.weight"].T


def main() -> None:
    for name, (folder, kind) in SAME.items():
        convert(name, folder, kind)
    for seed, (name, (shape, kinds)) in enumerate(QUANTIZED.items(), start=20261125):
        make(name, shape, kinds, seed)


if __name__ == "__main__":
    main()
