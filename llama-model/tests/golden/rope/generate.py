"""Writes rope.json: rotary frequencies by Hugging Face transformers, for the tests of src/rope.rs.

Each case: theta, head_dim, max_position_embeddings, scaling (as config.json has it), length (of the sequence, for
dynamic scaling) and inverse_frequencies [head_dim / 2], which transformers computes in float32.
Run with the requirements of parity/requirements.txt.
"""

import json
from pathlib import Path

import torch
from transformers import LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
SMALL_LLAMA3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=2.0, high_freq_factor=3.0, original_max_position_embeddings=128)

# theta, head_dim, max_position_embeddings, scaling, length
CASES = [
    (10000.0, 128, 4096, None, 10),
    (10000.0, 24, 512, None, 10),
    (1000000.0, 128, 16384, None, 10),
    (10000.0, 80, 2048, dict(rope_type="linear", factor=4.0), 10),
    (10000.0, 64, 64, dict(rope_type="dynamic", factor=2.0), 64),
    (10000.0, 64, 64, dict(rope_type="dynamic", factor=2.0), 65),
    (10000.0, 64, 64, dict(rope_type="dynamic", factor=2.0), 100),
    (10000.0, 128, 4096, dict(rope_type="dynamic", factor=8.0), 30000),
    (500000.0, 128, 131072, LLAMA3, 10),
    (10000.0, 32, 512, SMALL_LLAMA3, 10),
]


def main():
    cases = []
    for theta, head_dim, max_position, scaling, length in CASES:
        parameters = dict(scaling or {"rope_type": "default"}, rope_theta=theta)
        config = LlamaConfig(
            hidden_size=2 * head_dim, num_attention_heads=2, head_dim=head_dim, max_position_embeddings=max_position,
            rope_parameters=parameters,
        )
        kind = parameters["rope_type"]
        if kind == "default":
            frequencies = LlamaRotaryEmbedding(config).inv_freq
        else:
            frequencies, attention_factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"), seq_len=length)
            assert attention_factor == 1.0
        cases.append(
            dict(
                theta=theta, head_dim=head_dim, max_position_embeddings=max_position, scaling=scaling, length=length,
                inverse_frequencies=[float(f) for f in frequencies],
            )
        )
    text = ",\n".join(json.dumps(case) for case in cases)
    Path(__file__).with_name("rope.json").write_text(f"[\n{text}\n]\n")


if __name__ == "__main__":
    main()
