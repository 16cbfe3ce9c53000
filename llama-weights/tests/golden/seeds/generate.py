"""Small files of every format, written by the packages that write them for users: where the fuzz targets begin.

Run by `cargo xtask golden seeds`. A folder for each target of ../../../fuzz, and every file in it is one that opens:

    safetensors  model.safetensors in f32 and bf16, and the header of the first alone
    torch        archives with Hugging Face's names and with Meta's, and the pickles of both alone
    gguf         one file in f32 with a vocabulary, and files of every block format
    config       config.json, model.safetensors.index.json, params.json, generation_config.json
    fixed        what stands beside an input; no input itself

The shape is that of `SHAPES`; block formats need longer rows.
"""

import io
import json
import shutil
import zipfile
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import save_file

HERE = Path(__file__).parent
DIM, HEADS, KV_HEADS, FFN, VOCAB = 8, 2, 1, 24, 10
KV = DIM // HEADS * KV_HEADS
SHAPES = {
    "model.embed_tokens": (VOCAB, DIM),
    "model.layers.0.input_layernorm": (DIM,),
    "model.layers.0.self_attn.q_proj": (DIM, DIM),
    "model.layers.0.self_attn.k_proj": (KV, DIM),
    "model.layers.0.self_attn.v_proj": (KV, DIM),
    "model.layers.0.self_attn.o_proj": (DIM, DIM),
    "model.layers.0.post_attention_layernorm": (DIM,),
    "model.layers.0.mlp.gate_proj": (FFN, DIM),
    "model.layers.0.mlp.up_proj": (FFN, DIM),
    "model.layers.0.mlp.down_proj": (DIM, FFN),
    "model.norm": (DIM,),
    "lm_head": (VOCAB, DIM),
}
META = ["tok_embeddings", "layers.0.attention_norm", "layers.0.attention.wq", "layers.0.attention.wk", "layers.0.attention.wv",
        "layers.0.attention.wo", "layers.0.ffn_norm", "layers.0.feed_forward.w1", "layers.0.feed_forward.w3",
        "layers.0.feed_forward.w2", "norm", "output"]
CONFIG = {
    "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu",
    "hidden_size": DIM, "intermediate_size": FFN, "max_position_embeddings": 64, "model_type": "llama",
    "num_attention_heads": HEADS, "num_hidden_layers": 1, "num_key_value_heads": KV_HEADS, "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0, "tie_word_embeddings": False, "torch_dtype": "float32", "vocab_size": VOCAB,
}
PARAMS = {"dim": DIM, "n_layers": 1, "n_heads": HEADS, "n_kv_heads": KV_HEADS, "multiple_of": 8, "norm_eps": 1e-5,
          "vocab_size": -1}
PIECES = [b"<unk>", b"<s>", b"</s>", b"<0x0A>", "▁".encode(), b"a", b"b", "▁a".encode(), b"ab", "▁ab".encode()]


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def tensors(generator):
    return {f"{name}.weight": torch.randn(shape, generator=generator) for name, shape in SHAPES.items()}


def archive(state, folder, name):
    torch.save(state, folder / f"{name}.zip")
    with zipfile.ZipFile(folder / f"{name}.zip") as file:
        (folder / f"{name}.pkl").write_bytes(file.read(f"{name}/data.pkl"))


def write_gguf(path, sizes, kind, generator, metadata=True):
    """`sizes`: hidden, head, ffn. Tensors whose rows are no whole blocks, and vectors, are F32."""
    dim, head, ffn = sizes
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(64)
    writer.add_embedding_length(dim)
    writer.add_block_count(1)
    writer.add_feed_forward_length(ffn)
    writer.add_head_count(1)
    writer.add_head_count_kv(1)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_layer_norm_rms_eps(1e-5)
    if metadata:
        writer.add_vocab_size(VOCAB)
        writer.add_rope_freq_base(10000.0)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(PIECES)
        writer.add_token_scores([0.0] * 4 + [-1.0, -2.0, -3.0, -4.0, -5.0, -6.0])
        writer.add_token_types([2, 3, 3, 6, 1, 1, 1, 1, 1, 1])
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        writer.add_add_space_prefix(True)
        writer.add_chat_template("{{ messages[0].content }}")
    else:
        writer.add_vocab_size(4)
    vocab = VOCAB if metadata else 4
    shapes = {
        "token_embd": (vocab, dim), "blk.0.attn_norm": (dim,), "blk.0.attn_q": (head, dim), "blk.0.attn_k": (head, dim),
        "blk.0.attn_v": (head, dim), "blk.0.attn_output": (dim, head), "blk.0.ffn_norm": (dim,), "blk.0.ffn_gate": (ffn, dim),
        "blk.0.ffn_up": (ffn, dim), "blk.0.ffn_down": (dim, ffn), "output_norm": (dim,), "output": (vocab, dim),
    }
    for name, shape in shapes.items():
        values = torch.randn(shape, generator=generator).numpy()
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        if len(shape) == 1 or shape[1] % elements:
            writer.add_tensor(f"{name}.weight", values)
            continue
        try:
            blocks = gguf.quants.quantize(values, kind)
        except NotImplementedError:
            # The package reads these formats and does not write them: scales of 2^-10, whatever they stand beside.
            blocks = torch.randint(256, (shape[0], shape[1] // elements, size), dtype=torch.uint8, generator=generator).numpy()
            for at in {gguf.GGMLQuantizationType.Q2_K: (80, 82), gguf.GGMLQuantizationType.Q3_K: (108,),
                       gguf.GGMLQuantizationType.Q6_K: (208,)}.get(kind, (0, 2)):
                blocks[..., at : at + 2] = np.frombuffer(np.float16(2**-10).tobytes(), np.uint8)
            blocks = blocks.reshape(shape[0], -1)
        writer.add_tensor(f"{name}.weight", blocks, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    generator = torch.Generator().manual_seed(20230718)
    state = tensors(generator)

    folder = fresh("safetensors")
    save_file(state, folder / "f32.safetensors", metadata={"format": "pt"})
    save_file({name: t.bfloat16() for name, t in state.items()}, folder / "bf16.safetensors")
    whole = (folder / "f32.safetensors").read_bytes()
    (folder / "header.json").write_bytes(whole[8 : 8 + int.from_bytes(whole[:8], "little")].rstrip())

    folder = fresh("torch")
    archive(state, folder, "huggingface")
    meta = dict(zip((f"{name}.weight" for name in META), state.values()))
    # Two tensors of one storage, a transposed one and one that is not used.
    norms = torch.randn(2 * DIM, generator=generator)
    meta["norm.weight"], meta["layers.0.ffn_norm.weight"] = norms[DIM:], norms[:DIM]
    meta["layers.0.attention.wo.weight"] = torch.randn((DIM, DIM), generator=generator).T
    meta["rope.freqs"] = torch.ones(DIM // HEADS // 2)
    archive(meta, folder, "meta")

    folder = fresh("gguf")
    Q = gguf.GGMLQuantizationType
    write_gguf(folder / "f32.gguf", (DIM, 4, FFN), Q.F32, generator)
    write_gguf(folder / "f16.gguf", (DIM, 4, FFN), Q.F16, generator, metadata=False)
    write_gguf(folder / "bf16.gguf", (DIM, 4, FFN), Q.BF16, generator, metadata=False)
    for kind in (Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1):
        write_gguf(folder / f"{kind.name.lower()}.gguf", (32, 2, 1), kind, generator, metadata=False)
    for kind in (Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K):
        write_gguf(folder / f"{kind.name.lower()}.gguf", (256, 2, 1), kind, generator, metadata=False)

    folder = fresh("config")
    first, second = "a.safetensors", "b.safetensors"
    names = list(state)
    index = {"metadata": {"total_size": sum(t.nbytes for t in state.values())},
             "weight_map": {name: first if number < 6 else second for number, name in enumerate(names)}}
    new = {key: value for key, value in CONFIG.items() if key not in ("rope_theta", "torch_dtype")}
    new.update(dtype="float32", head_dim=4, eos_token_id=[2, 3],
               rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 10000.0})
    llama3 = dict(CONFIG, rope_scaling={"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                        "original_max_position_embeddings": 32})
    dynamic = dict(CONFIG, rope_scaling={"type": "dynamic", "factor": 2.0})
    for name, value in {
        "config": CONFIG, "config-transformers-5": new, "config-llama3": llama3, "config-dynamic": dynamic, "index": index,
        "params": PARAMS, "params-ffn": dict(PARAMS, ffn_dim_multiplier=1.15, rope_theta=10000.0),
        "generation": {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "bos_token_id": 1, "eos_token_id": [2], "pad_token_id": 0},
    }.items():
        (folder / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n")

    folder = fresh("fixed")
    (folder / "config.json").write_text(json.dumps(CONFIG) + "\n")
    (folder / "params.json").write_text(json.dumps(PARAMS) + "\n")
    save_file(state, folder / "model.safetensors")
    save_file({name: state[name] for name in names[:6]}, folder / first)
    save_file({name: state[name] for name in names[6:]}, folder / second)
    torch.save(meta, folder / "consolidated.00.pth")


if __name__ == "__main__":
    main()
