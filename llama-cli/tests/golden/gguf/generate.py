"""A random model with the demo model's vocabulary, as a GGUF file written by the `gguf` Python package and as safetensors.

Run by `cargo xtask golden` (needs gguf, numpy, safetensors, sentencepiece), never by `cargo xtask ci`. Beside this file it writes

    model.gguf                       weights, vocabulary and chat template in one
    config.json, model.safetensors   the same weights; the tokenizer is the demo model's own files
"""

import json
from pathlib import Path

import numpy as np
import sentencepiece
from gguf import GGUFWriter, TokenType
from safetensors.numpy import save_file

HERE = Path(__file__).parent
DEMO = HERE.parents[2] / "demo" / "model"
HIDDEN, FFN, HEADS, KV_HEADS, LAYERS, CONTEXT = 32, 64, 4, 2, 1, 512
HEAD_DIM = HIDDEN // HEADS


def interleave(rows, heads):
    """Half-split rows of each head as llama.cpp has them: row i and row i + head_dim / 2 adjacent."""
    split = rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1)
    return np.ascontiguousarray(split.swapaxes(1, 2).reshape(rows.shape))


def kind(pieces, index):
    if pieces.is_unknown(index):
        return TokenType.UNKNOWN
    if pieces.is_control(index):
        return TokenType.CONTROL
    return TokenType.BYTE if pieces.is_byte(index) else TokenType.NORMAL


def main() -> None:
    random = np.random.default_rng(20261125)
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(DEMO / "tokenizer.model"))
    indices = range(pieces.vocab_size())
    template = json.loads((DEMO / "tokenizer_config.json").read_text())["chat_template"]

    w = GGUFWriter(HERE / "model.gguf", "llama")
    w.add_context_length(CONTEXT)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_rope_dimension_count(HEAD_DIM)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_tokenizer_model("llama")
    w.add_token_list([pieces.id_to_piece(i) for i in indices])
    w.add_token_scores([pieces.get_score(i) for i in indices])
    w.add_token_types([kind(pieces, i) for i in indices])
    w.add_bos_token_id(pieces.bos_id())
    w.add_eos_token_id(pieces.eos_id())
    w.add_unk_token_id(pieces.unk_id())
    w.add_add_bos_token(True)
    w.add_add_eos_token(False)
    w.add_chat_template(template)

    tensors = {}

    def add(gguf_name, name, *shape):
        matrix = len(shape) == 2
        value = (random.standard_normal(shape) * (shape[-1] ** -0.5 if matrix else 0.1) + (not matrix)).astype(np.float16)
        tensors[name] = value
        heads = {"attn_q": HEADS, "attn_k": KV_HEADS}.get(gguf_name.split(".")[-2])
        stored = interleave(value, heads) if heads else value
        # Vectors are f32, as llama.cpp's converter writes them.
        w.add_tensor(gguf_name, stored if matrix else stored.astype(np.float32))

    add("token_embd.weight", "model.embed_tokens.weight", len(indices), HIDDEN)
    for layer in range(LAYERS):
        blk, hf = f"blk.{layer}.", f"model.layers.{layer}."
        add(blk + "attn_norm.weight", hf + "input_layernorm.weight", HIDDEN)
        add(blk + "attn_q.weight", hf + "self_attn.q_proj.weight", HIDDEN, HIDDEN)
        add(blk + "attn_k.weight", hf + "self_attn.k_proj.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        add(blk + "attn_v.weight", hf + "self_attn.v_proj.weight", KV_HEADS * HEAD_DIM, HIDDEN)
        add(blk + "attn_output.weight", hf + "self_attn.o_proj.weight", HIDDEN, HIDDEN)
        add(blk + "ffn_norm.weight", hf + "post_attention_layernorm.weight", HIDDEN)
        add(blk + "ffn_gate.weight", hf + "mlp.gate_proj.weight", FFN, HIDDEN)
        add(blk + "ffn_up.weight", hf + "mlp.up_proj.weight", FFN, HIDDEN)
        add(blk + "ffn_down.weight", hf + "mlp.down_proj.weight", HIDDEN, FFN)
    add("output_norm.weight", "model.norm.weight", HIDDEN)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()

    save_file(tensors, HERE / "model.safetensors")
    config = {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": FFN,
        "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "num_hidden_layers": LAYERS, "vocab_size": len(indices),
        "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
        "bos_token_id": pieces.bos_id(), "eos_token_id": pieces.eos_id(), "torch_dtype": "float16",
    }
    (HERE / "config.json").write_text(json.dumps(config, indent=2) + "\n")


if __name__ == "__main__":
    main()
