"""LoRA adapters of small random Llama models, and what transformers with peft computes from them in float32.

Run by `cargo xtask golden` (needs torch, transformers, peft, safetensors; several GB), never by `cargo xtask ci`.
Beside this file it writes

    base/, base-biases/         checkpoints as Hugging Face directories
    a folder for each adapter   adapter_config.json and adapter_model.safetensors (or .bin), as peft saves them
    golden.safetensors          input_ids i64 [n]; for each case logits f32 [n, vocab] of every position
    cases.json                  for each case its base, its adapters with their scales, and what it is for

Both matrices of every adapter are noise, so that every one counts: peft begins with one of them zero. An adapter is
saved, loaded again as a user would, and its weights are not merged.
"""

import json
import shutil
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils.save_and_load import get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
LENGTH = 12
ATTENTION = ["q_proj", "v_proj"]
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

BASE = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, intermediate_size=48,
    vocab_size=64, max_position_embeddings=128, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
)
# name: (changes to BASE, the file's dtype)
BASES = {
    "base": ({}, "float16"),
    "base-biases": (dict(attention_bias=True, mlp_bias=True, num_hidden_layers=1), "float32"),
}
# name: (base, what LoraConfig is told)
ADAPTERS = {
    "query-value": ("base", dict(r=4, lora_alpha=8, target_modules=ATTENTION)),
    "all-linear": ("base", dict(r=3, lora_alpha=5, target_modules=LINEAR)),
    "rslora": ("base", dict(r=4, lora_alpha=3, target_modules=["k_proj", "up_proj"], use_rslora=True)),
    "patterns": ("base", dict(r=4, lora_alpha=6, target_modules=LINEAR, rank_pattern={"q_proj": 2, r"layers\.1\.mlp\.(up|gate)_proj": 5},
                              alpha_pattern={"model.layers.0.self_attn.q_proj": 11, r"mlp\..*": 2.5}, use_rslora=True)),
    "regex-last-layer": ("base", dict(r=2, lora_alpha=4, target_modules=r".*\.1\.(self_attn\.[ko]_proj|mlp\.down_proj)")),
    "layers-to-transform": ("base", dict(r=2, lora_alpha=4, target_modules=LINEAR, layers_to_transform=[1])),
    "embeddings": ("base", dict(r=4, lora_alpha=4, target_modules=["embed_tokens", "lm_head", "o_proj"])),
    "modules-to-save": ("base", dict(r=2, lora_alpha=4, target_modules=ATTENTION, modules_to_save=["lm_head", "norm"])),
    "bin": ("base", dict(r=2, lora_alpha=4, target_modules=["q_proj"])),
    "bias-none": ("base-biases", dict(r=2, lora_alpha=4, target_modules=LINEAR, bias="none")),
    "bias-all": ("base-biases", dict(r=2, lora_alpha=4, target_modules=ATTENTION, bias="all")),
    "bias-lora-only": ("base-biases", dict(r=2, lora_alpha=4, target_modules=["q_proj", "down_proj"], bias="lora_only")),
}
# name: adapters with their scales; every adapter is a case of its own, too
SUMS = {
    "scaled": [("all-linear", 0.5)],
    "negative": [("query-value", -1.0)],
    "two": [("query-value", 0.75), ("all-linear", -0.5)],
    "three": [("patterns", 0.5), ("rslora", 2.0), ("regex-last-layer", 1.0)],
}


def noise(shape, generator):
    return torch.randn(shape, generator=generator)


def write_base(name, seed):
    changes, dtype = BASES[name]
    config = LlamaConfig(**dict(BASE, **changes), attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter, weight in model.named_parameters():
            if "norm" in parameter:
                weight.copy_(1.0 + 0.1 * noise(weight.shape, generator))
            elif weight.dim() == 1:
                weight.copy_(0.2 * noise(weight.shape, generator))
            elif "embed_tokens" in parameter:
                weight.copy_(noise(weight.shape, generator))
            else:
                weight.copy_(noise(weight.shape, generator) / weight.shape[1] ** 0.5)
    shutil.rmtree(HERE / name, ignore_errors=True)
    model.to(getattr(torch, dtype)).save_pretrained(HERE / name)
    (HERE / name / "generation_config.json").unlink(missing_ok=True)


def read_base(name):
    return AutoModelForCausalLM.from_pretrained(HERE / name, dtype=torch.float32, attn_implementation="eager").eval()


def write_adapter(name, seed):
    base, options = ADAPTERS[name]
    model = get_peft_model(read_base(base), LoraConfig(task_type="CAUSAL_LM", **options))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter, weight in sorted(model.named_parameters()):
            if "lora_" in parameter:
                # Products of variance 1 over the rank, then 0.3 of a weight's own deviation.
                weight.copy_(0.4 * noise(weight.shape, generator) / weight.shape[-1 if "_A" in parameter else 0] ** 0.25)
            elif weight.requires_grad:
                weight.add_(0.2 * noise(weight.shape, generator))
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, safe_serialization=name != "bin")
    if name == "bin" and (folder / "adapter_model.safetensors").exists():
        (folder / "adapter_model.safetensors").unlink()
        torch.save(get_peft_model_state_dict(model), folder / "adapter_model.bin")
    (folder / "README.md").unlink(missing_ok=True)
    config = folder / "adapter_config.json"
    fields = json.loads(config.read_text())
    fields["base_model_name_or_path"] = base
    for field in ("target_modules", "modules_to_save"):
        if isinstance(fields[field], list):
            fields[field].sort()
    config.write_text(json.dumps(fields, indent=2) + "\n")


def logits(adapters, ids):
    """All of them at work at once, not merged."""
    names = [name for name, _ in adapters]
    model = read_base(ADAPTERS[names[0]][0])
    model = PeftModel.from_pretrained(model, HERE / names[0], adapter_name=names[0])
    for name in names[1:]:
        model.load_adapter(HERE / name, adapter_name=name)
    model.base_model.set_adapter(names)
    for module in model.modules():
        for name, scale in adapters:
            if isinstance(getattr(module, "scaling", None), dict) and name in module.scaling:
                module.scaling[name] *= scale
    model.eval()
    with torch.no_grad():
        return model(ids[None]).logits[0].clone()


def main():
    torch.set_num_threads(2)
    for seed, name in enumerate(BASES):
        write_base(name, seed)
    for seed, name in enumerate(ADAPTERS, start=100):
        write_adapter(name, seed)
    ids = torch.randint(3, BASE["vocab_size"], (LENGTH,), generator=torch.Generator().manual_seed(3))
    ids[0] = BASE["bos_token_id"]
    cases = {name: [(name, 1.0)] for name in ADAPTERS} | SUMS
    golden, listed = dict(input_ids=ids), []
    for name, adapters in cases.items():
        base = ADAPTERS[adapters[0][0]][0]
        golden[f"logits.{name}"] = logits(adapters, ids)
        plain = read_base(base)(ids[None]).logits[0].detach()
        moved = (golden[f"logits.{name}"] - plain).abs().max() / plain.abs().max()
        print(f"{name:20} moves the logits by {moved:.3f} of the largest")
        listed.append(dict(name=name, base=base, adapters=[dict(folder=folder, scale=scale) for folder, scale in adapters]))
    save_file(golden, HERE / "golden.safetensors")
    (HERE / "cases.json").write_text(json.dumps(listed, indent=1) + "\n")


if __name__ == "__main__":
    main()
