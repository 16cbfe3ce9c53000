"""One random model in the files that torch writes: Meta's directory in one and two shards, and transformers' older .bin files.

Run by `cargo xtask golden` (needs torch, transformers, safetensors; several GB), never by `cargo xtask ci`. Beside this file:

    meta-1, meta-2     params.json, consolidated.NN.pth in bf16 and f16; as in Meta's files a layer's tensors are views of one storage
    hf                 config.json, model.safetensors in bf16, made from meta-2 by transformers' own converter
    bin-1, bin-2       the same model's state_dict as pytorch_model.bin in f16, and as shards with an index in bf16 by transformers
    golden.safetensors input_ids i64 [n], logits f32 [n, vocab] that transformers computes in f32 from hf

Every weight is a number of bf16 that f16 has too, so that all five hold equal values.
"""

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import LlamaForCausalLM
from transformers.models.llama.convert_llama_weights_to_hf import write_model

HERE = Path(__file__).parent
DIM, LAYERS, HEADS, KV_HEADS, VOCAB = 64, 2, 4, 2, 128
# int(0.6 * int(8 * 64 / 3)) is 102, and 112 the next multiple of 16.
PARAMS = dict(dim=DIM, n_layers=LAYERS, n_heads=HEADS, n_kv_heads=KV_HEADS, multiple_of=16, ffn_dim_multiplier=0.6, norm_eps=1e-5,
              vocab_size=-1)
FFN, KV = 112, DIM // HEADS * KV_HEADS

# The dimension that fairscale's parallel layers cut; None where every shard has all.
LAYER = {
    "attention.wq": ((DIM, DIM), 0), "attention.wk": ((KV, DIM), 0), "attention.wv": ((KV, DIM), 0), "attention.wo": ((DIM, DIM), 1),
    "feed_forward.w1": ((FFN, DIM), 0), "feed_forward.w2": ((DIM, FFN), 1), "feed_forward.w3": ((FFN, DIM), 0),
    "attention_norm": ((DIM,), None), "ffn_norm": ((DIM,), None),
}
REST = {"tok_embeddings": ((VOCAB, DIM), 1), "norm": ((DIM,), None), "output": ((VOCAB, DIM), 0)}


def random(shape, generator):
    noise = torch.randn(shape, generator=generator)
    value = 1 + 0.1 * noise if len(shape) == 1 else noise * (1 if shape == (VOCAB, DIM) else shape[1] ** -0.5)
    value = value.bfloat16()
    # 8 bits of mantissa fit f16 down to 2^-17.
    value[value.abs() < 2**-16] = 0
    assert torch.equal(value.half().float(), value.float())
    return value


def save_shard(folder, number, shards, groups, dtype):
    """Each group of tensors in one storage, as Meta's files have a layer."""
    state = {}
    for group in groups:
        parts = {n: w if cut is None else w.chunk(shards, cut)[number] for n, (w, cut) in group.items()}
        storage = torch.cat([part.reshape(-1) for part in parts.values()]).to(dtype)
        at = 0
        for name, part in parts.items():
            state[f"{name}.weight"] = storage[at : at + part.numel()].view(part.shape)
            at += part.numel()
    state["rope.freqs"] = 1 / 10000 ** (torch.arange(0, DIM // HEADS, 2) / (DIM // HEADS))
    torch.save(state, folder / f"consolidated.{number:02}.pth")


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def main():
    torch.set_num_threads(2)
    generator = torch.Generator().manual_seed(20230718)
    groups = []
    for layer in range(LAYERS):
        groups.append({f"layers.{layer}.{n}": (random(shape, generator), cut) for n, (shape, cut) in LAYER.items()})
    groups += [{n: (random(shape, generator), cut)} for n, (shape, cut) in REST.items()]
    for shards, dtype in [(1, torch.bfloat16), (2, torch.float16)]:
        folder = fresh(f"meta-{shards}")
        (folder / "params.json").write_text(json.dumps(PARAMS) + "\n")
        for number in range(shards):
            save_shard(folder, number, shards, groups, dtype)

    hf = fresh("hf")
    write_model(str(hf), str(HERE / "meta-2"), llama_version="2", vocab_size=VOCAB, num_shards=2)
    model = LlamaForCausalLM.from_pretrained(hf, torch_dtype=torch.bfloat16)
    # The path of this folder, which save_pretrained would write.
    del model.config._name_or_path
    model.save_pretrained(fresh("bin-2"), safe_serialization=False, max_shard_size="100KB")
    # As torch users save: an OrderedDict with attributes, its values Parameters.
    folder = fresh("bin-1")
    model.half().config.torch_dtype = torch.float16
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    torch.save(model.state_dict(keep_vars=True), folder / "pytorch_model.bin")

    ids = torch.randint(3, VOCAB, (40,), generator=generator)
    ids[0] = 1
    with torch.no_grad():
        logits = LlamaForCausalLM.from_pretrained(hf, torch_dtype=torch.float32, attn_implementation="eager")(ids[None]).logits[0]
    save_file(dict(input_ids=ids, logits=logits.contiguous()), HERE / "golden.safetensors")


if __name__ == "__main__":
    main()
