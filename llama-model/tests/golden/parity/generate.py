"""Random Llama checkpoints and what Hugging Face transformers computes from them in float32.

Run by `cargo xtask golden` (needs torch, transformers, safetensors; several GB), never by `cargo xtask ci`.
Each case is a folder beside this file:

    config.json, model.safetensors      the checkpoint, in the form a Hub repository has it (or three shards and an index)
    golden.safetensors                  input_ids i64 [n], logits f32 [n, vocab] of every position,
                                        greedy i64 [64] continuation, greedy_margin f32 [64]: top-1 minus top-2 logit of each
    case.json                           the tolerances, relative to the largest logit, and what the case is for

Weights are rounded to the file's dtype first and the reference runs on the rounded values, so that only
arithmetic differs. Matrices have variance 1/columns, norms lie around 1: activations and logits are of order 1.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
GREEDY = 64

BASE = dict(
    hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=4, intermediate_size=160,
    vocab_size=320, max_position_embeddings=512, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
)

# name: (changes to BASE, file dtype, prompt length, shards, config form, what it is for)
CASES = {
    "mha-f32": ({}, "float32", 40, 1, "2023", "multi-head attention, plain shapes"),
    "gqa-8-to-1-f16": (dict(num_attention_heads=8, num_key_value_heads=1, head_dim=16, num_hidden_layers=3), "float16", 40, 1,
                       "2023", "eight query heads share one key and value head, as in 70B"),
    "mha-bf16": ({}, "bfloat16", 40, 1, "present", "bf16 file"),
    "tied": (dict(tie_word_embeddings=True, num_key_value_heads=2), "float32", 40, 1, "2023", "output matrix is the embedding"),
    "biases": (dict(attention_bias=True, mlp_bias=True, num_key_value_heads=2), "float32", 40, 1, "2023",
               "biases on every projection"),
    "head-dim-24": (dict(hidden_size=72, num_attention_heads=3, num_key_value_heads=1, intermediate_size=100), "float32", 40, 1,
                    "2023", "head_dim 24; hidden 72 and ffn 100 are no multiples of 32"),
    "head-dim-80": (dict(hidden_size=100, num_attention_heads=2, num_key_value_heads=2, head_dim=80, intermediate_size=90),
                    "float16", 40, 1, "present", "head_dim 80 given apart from hidden / heads; hidden 100"),
    "vocab-32003": (dict(hidden_size=24, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, intermediate_size=64,
                         vocab_size=32003, tie_word_embeddings=True), "float16", 6, 1, "2023",
                    "a fine-tune's added tokens: vocabulary 32003"),
    "rope-linear": (dict(rope=dict(rope_type="linear", factor=4.0)), "float32", 100, 1, "2023", "linear rope scaling"),
    "rope-dynamic": (dict(rope=dict(rope_type="dynamic", factor=2.0), max_position_embeddings=64), "float32", 100, 1, "2023",
                     "dynamic NTK, prompt beyond max_position_embeddings"),
    "rope-dynamic-crossing": (dict(rope=dict(rope_type="dynamic", factor=4.0), max_position_embeddings=64), "float32", 40, 1,
                              "present", "dynamic NTK, generation crosses max_position_embeddings"),
    "rope-llama3": (dict(rope=dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                   original_max_position_embeddings=128), head_dim=32), "float32", 100, 1, "present",
                    "llama3 rope scaling"),
    "three-shards": (dict(num_hidden_layers=4, num_key_value_heads=2), "float16", 40, 3, "2023", "index and three shards"),
    "long-3000": (dict(num_hidden_layers=2, num_key_value_heads=2, vocab_size=96, max_position_embeddings=4096), "float32", 3000, 1,
                  "2023", "a prompt of 3,000 tokens"),
}


def build(changes, dtype, seed):
    options = dict(BASE, **changes)
    rope = options.pop("rope", None)
    theta = 10000.0
    config = LlamaConfig(**options, attn_implementation="eager", rope_parameters=dict(rope or {"rope_type": "default"}, rope_theta=theta))
    generator = torch.Generator().manual_seed(seed)
    with torch.device("cpu"):
        model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if "norm" in name:
                value = 1.0 + 0.1 * noise
            elif weight.dim() == 1:
                value = 0.2 * noise
            elif "embed_tokens" in name:
                # A tied output matrix of variance 1 would only ever choose the token it was given.
                value = noise * (0.1 if config.tie_word_embeddings else 1.0)
            elif "q_proj" in name or "k_proj" in name:
                value = 1.5 * noise / weight.shape[1] ** 0.5
            else:
                value = noise / weight.shape[1] ** 0.5
            weight.copy_(value.to(getattr(torch, dtype)).float())
    return config, model, rope, theta


def file_config(config, rope, theta, dtype, form):
    """config.json as transformers 4.31 wrote it in 2023, or as transformers 5 writes it."""
    fields = dict(
        architectures=["LlamaForCausalLM"], model_type="llama", hidden_act="silu",
        attention_bias=config.attention_bias, mlp_bias=config.mlp_bias,
        bos_token_id=config.bos_token_id, eos_token_id=config.eos_token_id,
        hidden_size=config.hidden_size, intermediate_size=config.intermediate_size,
        max_position_embeddings=config.max_position_embeddings,
        num_attention_heads=config.num_attention_heads, num_hidden_layers=config.num_hidden_layers,
        num_key_value_heads=config.num_key_value_heads, rms_norm_eps=config.rms_norm_eps,
        tie_word_embeddings=config.tie_word_embeddings, use_cache=True, vocab_size=config.vocab_size,
    )
    if config.head_dim != config.hidden_size // config.num_attention_heads or form == "present":
        fields["head_dim"] = config.head_dim
    if form == "present":
        fields |= dict(dtype=dtype, rope_parameters=dict(rope or {"rope_type": "default"}, rope_theta=theta))
    else:
        scaling = None
        if rope:
            scaling = dict(rope)
            scaling["type"] = scaling.pop("rope_type")
        fields |= dict(torch_dtype=dtype, rope_theta=theta, rope_scaling=scaling, pretraining_tp=1)
        if config.num_key_value_heads == config.num_attention_heads:
            del fields["num_key_value_heads"]
    return fields


def save_weights(folder, model, dtype, shards, tied):
    tensors = {n: w.detach().to(getattr(torch, dtype)).contiguous() for n, w in model.named_parameters()}
    if tied:
        tensors.pop("lm_head.weight", None)
    if shards == 1:
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        return
    names = list(tensors)
    weight_map, total = {}, 0
    for shard in range(shards):
        part = {n: tensors[n] for n in names[shard::shards]}
        file = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        save_file(part, folder / file, metadata={"format": "pt"})
        weight_map |= {n: file for n in part}
        total += sum(w.numel() * w.element_size() for w in part.values())
    index = dict(metadata=dict(total_size=total), weight_map=dict(sorted(weight_map.items())))
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1) + "\n")


def main():
    torch.set_num_threads(2)
    for seed, (name, (changes, dtype, length, shards, form, purpose)) in enumerate(CASES.items(), start=7):
        folder = HERE / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        config, model, rope, theta = build(changes, dtype, seed)
        generator = torch.Generator().manual_seed(1000 + seed)
        ids = torch.randint(3, config.vocab_size, (length,), generator=generator)
        ids[0] = config.bos_token_id
        with torch.no_grad():
            out = model(ids[None], use_cache=True)
            logits, cache = out.logits[0].clone(), out.past_key_values
            greedy, margin, last = [], [], logits[-1]
            for _ in range(GREEDY):
                top = last.topk(2)
                greedy.append(int(top.indices[0]))
                margin.append(float(top.values[0] - top.values[1]))
                position = torch.tensor([[length + len(greedy) - 1]])
                out = model(torch.tensor([[greedy[-1]]]), past_key_values=cache, position_ids=position, use_cache=True)
                last = out.logits[0, -1]
        fields = file_config(config, rope, theta, dtype, form)
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
        save_weights(folder, model, dtype, shards, config.tie_word_embeddings)
        save_file(dict(input_ids=ids, logits=logits, greedy=torch.tensor(greedy), greedy_margin=torch.tensor(margin)),
                  folder / "golden.safetensors")
        case = dict(tolerance_f32=5e-4 if length >= 3000 else 2e-4, tolerance_f16=2e-3, purpose=purpose)
        (folder / "case.json").write_text(json.dumps(case, indent=2) + "\n")
        size = sum(f.stat().st_size for f in folder.iterdir())
        print(f"{name:24} {size / 1e6:6.2f} MB  max logit {logits.abs().max():.2f}  smallest margin {min(margin):.4f}  distinct greedy {len(set(greedy))}")


if __name__ == "__main__":
    main()
