"""Small models in four bits, packed and dequantized by AutoGPTQ and AutoAWQ, and their logits by transformers.

Run by `cargo xtask golden`, never by `cargo xtask ci`. For each form it writes a directory FORM with the configuration and model.safetensors, and
FORM.safetensors with what must come of it:

    input_ids i64 [n], logits f32 [n, vocabulary]    of the dequantized weights, computed in f64
    NAME f32 [⌈rows / 11⌉, columns]                  every eleventh row of each matrix that is packed, by the packages' own functions
"""

import json
import shutil
from pathlib import Path

import torch
from auto_gptq.nn_modules.qlinear.qlinear_cuda import QuantLinear
from auto_gptq.quantization.quantizer import Quantizer
from awq.modules.linear.gemm import WQLinear_GEMM
from awq.utils.packing_utils import dequantize_gemm
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

HERE = Path(__file__).parent
EVERY = 11
HALF, BRAIN = torch.float16, torch.bfloat16

# order: None; "shared": matrices of one input have one order of groups, as GPTQ makes it; "apart": each has its own
FORMS = {
    "gptq-32": dict(group=32, order="shared", head=True, zero_biases=True),
    "gptq-64": dict(group=64, sym=True, beside=True),
    "gptq-128": dict(group=128, order="shared", hidden=128, ffn=256, v2=True),
    "gptq-all": dict(group=-1, dtype=BRAIN),
    "gptq-16": dict(group=16, order="shared"),
    "gptq-apart": dict(group=32, order="apart"),
    "awq-32": dict(awq=True, group=32, biases=True),
    "awq-64": dict(awq=True, group=64, beside=True),
    "awq-128": dict(awq=True, group=128, hidden=128, ffn=128),
}


def groups(columns, size, order, seed):
    """The group of each column: act-order numbers groups along a permutation of the columns."""
    g_idx = torch.arange(columns, dtype=torch.int32) // size
    if order is None:
        return g_idx
    permutation = torch.randperm(columns, generator=torch.Generator().manual_seed(seed))
    return g_idx[torch.argsort(permutation)]


def quantize(weight, g_idx, sym, dtype, least_zero):
    """Scales and zeros [rows, groups] of each group, and the nearest weights that they have."""
    scales, zeros = [], []
    quantized = torch.empty_like(weight)
    for group in range(int(g_idx.max()) + 1):
        columns = g_idx == group
        quantizer = Quantizer()
        quantizer.configure(4, perchannel=True, sym=sym)
        quantizer.find_params(weight[:, columns], weight=True)
        scale = quantizer.scale.to(dtype).float()
        zero = quantizer.zero.float().clamp(least_zero, 15)
        quants = (torch.round(weight[:, columns] / scale) + zero).clamp(0, 15)
        quantized[:, columns] = (quants - zero) * scale
        scales.append(scale)
        zeros.append(zero)
    return torch.cat(scales, 1), torch.cat(zeros, 1), quantized


def linear(weight, dtype):
    module = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=dtype)
    module.weight.data = weight.to(dtype)
    return module


def gptq(weight, size, order, seed, sym, v2, dtype):
    """The tensors of AutoGPTQ, and what it takes them for."""
    rows, columns = weight.shape
    g_idx = groups(columns, size, order, seed)
    # AutoGPTQ writes a zero of 0 over its neighbours.
    scales, zeros, quantized = quantize(weight, g_idx, sym, dtype, least_zero=1)
    module = QuantLinear(4, size, columns, rows, bias=False, weight_dtype=dtype)
    module.pack(linear(quantized, torch.float32), scales, zeros.clone(), g_idx)
    module.scales = module.scales.float()
    dequantized = module(torch.eye(columns)).t().contiguous()
    assert torch.equal(dequantized, quantized)
    # The second form of the format has the zeros as they are.
    qzeros = module.qzeros + (0x11111111 if v2 else 0)
    tensors = {"qweight": module.qweight, "qzeros": qzeros, "scales": module.scales.to(dtype), "g_idx": g_idx}
    return tensors, dequantized


def awq(weight, size):
    rows, columns = weight.shape
    scales, zeros, quantized = quantize(weight, groups(columns, size, None, 0), False, HALF, least_zero=0)
    scales, zeros = scales.t().contiguous(), zeros.t().contiguous()
    module = WQLinear_GEMM.from_linear(linear(quantized, torch.float32), 4, size, scales=scales, zeros=zeros)
    dequantized = dequantize_gemm(module.qweight, module.qzeros, module.scales.float(), 4, size).t().contiguous()
    assert torch.equal(dequantized, quantized)
    return {"qweight": module.qweight, "qzeros": module.qzeros, "scales": module.scales}, dequantized


def declaration(form, size):
    if form.get("awq"):
        if form.get("beside"):
            return {"zero_point": True, "q_group_size": size, "w_bit": 4, "version": "GEMM"}
        return {"quant_method": "awq", "bits": 4, "group_size": size, "version": "gemm", "zero_point": True,
                "modules_to_not_convert": None}
    declared = {"bits": 4, "group_size": size, "damp_percent": 0.01, "desc_act": form.get("order") is not None,
                "static_groups": False, "sym": form.get("sym", False), "true_sequential": True, "model_name_or_path": None,
                "model_file_base_name": "model"}
    if not form.get("beside"):
        declared["quant_method"] = "gptq"
    if form.get("v2"):
        declared["checkpoint_format"] = "gptq_v2"
    return declared


def make(name, form, seed):
    torch.manual_seed(seed)
    hidden, ffn, dtype = form.get("hidden", 64), form.get("ffn", 128), form.get("dtype", HALF)
    head = form.get("head", False)
    config = LlamaConfig(
        hidden_size=hidden, intermediate_size=ffn, num_attention_heads=4, num_key_value_heads=2, num_hidden_layers=1, vocab_size=96,
        max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=not head, torch_dtype=dtype,
        attention_bias=form.get("biases", False), mlp_bias=form.get("biases", False),
    )
    model = LlamaForCausalLM(config).double().eval()
    tensors, expected = {}, {}
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            is_norm = parameter.ndim == 1 and "norm" in key
            deviation = 0.1 if parameter.ndim == 1 else parameter.shape[1] ** -0.5
            value = (deviation * torch.randn(parameter.shape) + is_norm).to(dtype)
            module, _, kind = key.rpartition(".")
            if kind == "weight" and ("proj" in key or key == "lm_head.weight"):
                size = parameter.shape[1] if form["group"] == -1 else form["group"]
                if form.get("awq"):
                    parts, value = awq(value.float(), size)
                else:
                    # q, k and v see one input, gate and up another.
                    inputs = next(i for i, part in enumerate(["q_proj k_proj v_proj", "o_proj", "gate_proj up_proj", "down_proj", "lm_head"])
                                  if module.rpartition(".")[2] in part.split())
                    order = 1000 * seed + (len(expected) if form.get("order") == "apart" else 100 + inputs)
                    parts, value = gptq(value.float(), size, form.get("order"), order, form.get("sym", False), form.get("v2"), dtype)
                tensors |= {f"{module}.{part}": tensor for part, tensor in parts.items()}
                expected[key] = value[::EVERY].contiguous()
                if form.get("zero_biases"):
                    tensors[f"{module}.bias"] = torch.zeros(parameter.shape[0], dtype=dtype)
            else:
                tensors[key] = value
            parameter.copy_(value.double())
        ids = torch.randint(3, 96, (1, 24))
        logits = model(ids).logits[0].float()

    directory = HERE / name
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    config = config.to_diff_dict() | {"torch_dtype": str(dtype).removeprefix("torch.")}
    declared = declaration(form, form["group"])
    if form.get("beside"):
        file = "quant_config.json" if form.get("awq") else "quantize_config.json"
        (directory / file).write_text(json.dumps(declared, indent=2) + "\n")
    else:
        config["quantization_config"] = declared
    (directory / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, directory / "model.safetensors", {"format": "pt"})
    save_file({"input_ids": ids[0], "logits": logits.contiguous()} | expected, HERE / f"{name}.safetensors")


def main():
    for seed, (name, form) in enumerate(FORMS.items(), 1):
        make(name, form, seed)


if __name__ == "__main__":
    main()
