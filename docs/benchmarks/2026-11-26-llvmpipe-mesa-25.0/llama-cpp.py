"""llama.cpp on the CPU beside ours: pp512 and tg32 of a random model of the 110m shape with two threads, medians of seven.

    pip install llama-cpp-python gguf numpy      # built here, for the machine's own instructions
    python llama-cpp.py DIRECTORY                # for the models, 0.5 GB
"""

import statistics
import sys
import time
from pathlib import Path

import llama_cpp as llama
import numpy as np
from gguf import GGMLQuantizationType as Kind, GGUFWriter, quants

HIDDEN, LAYERS, HEADS, FFN, VOCABULARY = 768, 12, 12, 2048, 32000
FILE_TYPES = {Kind.F16: 1, Kind.Q8_0: 7, Kind.Q4_0: 2}
LAYER = {"attn_q": (HIDDEN, HIDDEN), "attn_k": (HIDDEN, HIDDEN), "attn_v": (HIDDEN, HIDDEN), "attn_output": (HIDDEN, HIDDEN),
         "ffn_gate": (FFN, HIDDEN), "ffn_up": (FFN, HIDDEN), "ffn_down": (HIDDEN, FFN)}


def make(path, kind):
    random = np.random.default_rng(1)
    w = GGUFWriter(path, "llama")
    w.add_context_length(2048)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(HEADS)
    w.add_rope_dimension_count(HIDDEN // HEADS)
    w.add_layer_norm_rms_eps(1e-5)
    w.add_vocab_size(VOCABULARY)
    w.add_tokenizer_model("no_vocab")
    w.add_file_type(FILE_TYPES[kind])

    def matrix(name, rows, columns):
        values = (0.02 * random.standard_normal((rows, columns))).astype(np.float32)
        if kind == Kind.F16:
            w.add_tensor(name, values.astype(np.float16))
        else:
            w.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)

    matrix("token_embd.weight", VOCABULARY, HIDDEN)
    for i in range(LAYERS):
        for name, (rows, columns) in LAYER.items():
            matrix(f"blk.{i}.{name}.weight", rows, columns)
        for name in ("attn_norm", "ffn_norm"):
            w.add_tensor(f"blk.{i}.{name}.weight", np.ones(HIDDEN, np.float32))
    w.add_tensor("output_norm.weight", np.ones(HIDDEN, np.float32))
    matrix("output.weight", VOCABULARY, HIDDEN)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


def measure(path):
    model_params = llama.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model = llama.llama_model_load_from_file(str(path).encode(), model_params)
    params = llama.llama_context_default_params()
    params.n_ctx, params.n_batch, params.n_ubatch, params.n_threads, params.n_threads_batch = 1024, 512, 512, 2, 2
    context = llama.llama_init_from_model(model, params)
    memory = llama.llama_get_memory(context)

    def decode(tokens, first):
        batch = llama.llama_batch_init(len(tokens), 0, 1)
        batch.n_tokens = len(tokens)
        for i, token in enumerate(tokens):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, first + i, 1, 0
            batch.logits[i] = int(i + 1 == len(tokens))
        assert llama.llama_decode(context, batch) == 0
        llama.llama_synchronize(context)
        llama.llama_batch_free(batch)

    prompts, answers = [], []
    for _ in range(8):
        llama.llama_memory_clear(memory, True)
        begin = time.perf_counter()
        decode([3 + i % 1000 for i in range(512)], 0)
        prompts.append(512 / (time.perf_counter() - begin))
        llama.llama_memory_clear(memory, True)
        decode([1], 0)
        begin = time.perf_counter()
        for i in range(32):
            decode([5 + i], 1 + i)
        answers.append(32 / (time.perf_counter() - begin))
    llama.llama_free(context)
    llama.llama_model_free(model)
    return {"pp512": prompts[1:], "tg32": answers[1:]}


def main():
    directory = Path(sys.argv[1])
    llama.llama_backend_init()
    print(llama.__version__, llama.llama_print_system_info().decode())
    for name, kind in [("f16", Kind.F16), ("q8_0", Kind.Q8_0), ("q4_0", Kind.Q4_0)]:
        path = directory / f"110m-{name}.gguf"
        if not path.exists():
            make(path, kind)
        for test, speeds in measure(path).items():
            print(f"{test:6} {name:5} {statistics.median(speeds):8.1f} ± {statistics.stdev(speeds):.1f} tokens/s")


main()
