"""GGUF files that `llama-cli quantize` writes, checked with the `gguf` Python package.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors, and cargo), never by `cargo xtask ci`. Beside this file it writes

    model/config.json, model/model.safetensors   a random model in f16, without a tokenizer; rows of 256 and of 64
    TYPE.gguf                                     the model as `llama-cli quantize` writes it, after every check below has passed

The checks: gguf reads the file; names, shapes, types and metadata are those that llama.cpp's converter writes; F16, Q8_0, Q5_0 and Q4_0 are byte for byte what
gguf makes of the same rows, in llama.cpp's order; Q4_K and Q6_K dequantize to values near the source. And the vocabulary of the built-in demo model
is written as ../gguf/generate.py writes it.
"""

import json
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, quants
from safetensors.numpy import save_file

HERE = Path(__file__).parent
ROOT = HERE.parents[3]
HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, CONTEXT, VOCABULARY = 256, 64, 4, 1, 1, 512, 64
HEAD_DIM = 16
PARTS = {
    "attn_norm": ("input_layernorm", (HIDDEN,)),
    "attn_q": ("self_attn.q_proj", (HEADS * HEAD_DIM, HIDDEN)),
    "attn_k": ("self_attn.k_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
    "attn_v": ("self_attn.v_proj", (KV_HEADS * HEAD_DIM, HIDDEN)),
    "attn_output": ("self_attn.o_proj", (HIDDEN, HEADS * HEAD_DIM)),
    "ffn_norm": ("post_attention_layernorm", (HIDDEN,)),
    "ffn_gate": ("mlp.gate_proj", (FFN, HIDDEN)),
    "ffn_up": ("mlp.up_proj", (FFN, HIDDEN)),
    "ffn_down": ("mlp.down_proj", (HIDDEN, FFN)),
}
# llama.cpp's llama_ftype; what the output matrix is; what rows of 64 are.
TYPES = {
    "f16": (1, "F16", "F16"),
    "q8_0": (7, "Q8_0", "Q8_0"),
    "q4_0": (2, "Q4_0", "Q4_0"),
    "q4_k": (14, "Q6_K", "Q5_0"),
    "q6_k": (18, "Q6_K", "Q8_0"),
}
# Relative root mean squared errors of normal values, a little above those of llama.cpp's own quantizers.
LIMITS = {"Q4_K": 0.08, "Q6_K": 0.025}


def interleave(rows, heads):
    """Half-split rows of each head as llama.cpp has them: row i and row i + head_dim / 2 adjacent."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def make_model():
    """The model's tensors by their names in GGUF, in llama.cpp's row order."""
    random = np.random.default_rng(20261127)
    stored, expected = {}, {}

    def add(gguf_name, name, shape):
        matrix = len(shape) == 2
        value = (random.standard_normal(shape) * (0.02 if matrix else 0.1) + (not matrix)).astype(np.float16)
        stored[name + ".weight"] = value
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(gguf_name.split(".")[-1])
        expected[gguf_name + ".weight"] = interleave(value, heads) if heads else value

    add("token_embd", "model.embed_tokens", (VOCABULARY, HIDDEN))
    for layer in range(LAYERS):
        for part, (name, shape) in PARTS.items():
            add(f"blk.{layer}.{part}", f"model.layers.{layer}.{name}", shape)
    add("output_norm", "model.norm", (HIDDEN,))
    add("output", "lm_head", (VOCABULARY, HIDDEN))
    folder = HERE / "model"
    folder.mkdir(exist_ok=True)
    save_file(stored, folder / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "num_hidden_layers": LAYERS,
        "vocab_size": VOCABULARY, "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
        "rope_scaling": {"type": "linear", "factor": 2.0}, "tie_word_embeddings": False, "bos_token_id": 1,
        "eos_token_id": [2, 3], "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    return expected


def quantize(source, out, dtype) -> None:
    command = ["cargo", "run", "--quiet", "--package", "llama-cli", "--", "quantize", source, out, "--dtype", dtype]
    subprocess.run([*map(str, command), "--force", "--quiet"], cwd=ROOT, check=True)


def check(path, dtype, expected) -> None:
    file_type, of_output, of_short_rows = TYPES[dtype]
    reader = GGUFReader(path)
    metadata = {key: field.contents() for key, field in reader.fields.items() if not key.startswith("GGUF.")}
    assert metadata == {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "model",
        "general.file_type": file_type,
        "general.quantization_version": 2,
        "llama.vocab_size": VOCABULARY,
        "llama.context_length": CONTEXT,
        "llama.embedding_length": HIDDEN,
        "llama.block_count": LAYERS,
        "llama.feed_forward_length": FFN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
        "llama.attention.key_length": HEAD_DIM,
        "llama.attention.value_length": HEAD_DIM,
        "llama.rope.dimension_count": HEAD_DIM,
        "llama.attention.layer_norm_rms_epsilon": float(np.float32(1e-5)),
        "llama.rope.freq_base": 10000.0,
        "llama.rope.scaling.type": "linear",
        "llama.rope.scaling.factor": 2.0,
        "tokenizer.ggml.model": "no_vocab",
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.eot_token_id": 3,
    }, metadata
    assert reader.data_offset % 32 == 0
    assert [tensor.name for tensor in reader.tensors] == list(expected)
    for tensor in reader.tensors:
        values = expected[tensor.name].astype(np.float32)
        # gguf has columns first.
        assert list(tensor.shape) == list(values.shape)[::-1], tensor
        assert tensor.data_offset % 32 == 0
        kind = tensor.tensor_type
        if values.ndim == 1:
            wanted = "F32"
        elif tensor.name == "output.weight":
            wanted = of_output
        else:
            wanted = of_short_rows if values.shape[1] == 64 else dtype.upper()
        assert kind.name == wanted, (tensor.name, kind, wanted)
        if kind.name in LIMITS:
            error = quants.dequantize(tensor.data, kind) - values
            relative = np.sqrt((error**2).mean() / (values**2).mean())
            assert relative < LIMITS[kind.name], (tensor.name, relative)
        elif kind in (GGMLQuantizationType.F32, GGMLQuantizationType.F16):
            assert np.array_equal(tensor.data, values.astype(tensor.data.dtype)), tensor.name
        else:
            assert np.array_equal(tensor.data, quants.quantize(values, kind)), tensor.name
    print(f"{path.name}: {len(reader.tensors)} tensors")


def check_vocabulary(folder) -> None:
    quantize("demo", folder / "demo.gguf", "q8_0")

    def tokenizer(path):
        fields = GGUFReader(path).fields
        return {key: (field.types, field.contents()) for key, field in fields.items() if key.startswith("tokenizer.")}

    found, expected = tokenizer(folder / "demo.gguf"), tokenizer(HERE.parent / "gguf" / "model.gguf")
    # What that generator leaves to the default.
    assert found.pop("tokenizer.ggml.add_space_prefix")[1] is True
    assert set(found) - set(expected) <= {"tokenizer.ggml.padding_token_id"}, set(found) ^ set(expected)
    for key, value in expected.items():
        assert found[key] == value, key
    print(f"demo.gguf: {len(expected)} keys of the tokenizer")


def main() -> None:
    expected = make_model()
    with tempfile.TemporaryDirectory() as folder:
        check_vocabulary(Path(folder))
        for dtype in TYPES:
            path = HERE / f"{dtype}.gguf"
            quantize(HERE / "model", path, dtype)
            check(path, dtype, expected)


if __name__ == "__main__":
    main()
