"""Trains the demo model from nothing on the endless stream of `corpus.py` and writes it as a Hugging Face directory.

`python train.py MODEL_DIR --work DIR` needs the vocabulary of `vocabulary.py` in MODEL_DIR. Only answers carry loss.
A batch holds conversations of like length, so that little is padding and no conversation sees another.
The schedule follows the clock, since the machine may be shared: the rates warm up, stay, and fall linearly to nothing
when `--minutes` are over. A run resumed with fewer minutes lands earlier.
"""

import argparse
import itertools
import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import sentencepiece
import torch
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

import corpus
import turns
from muon import Muon
from vocabulary import BOS, EOS, PIECES

WARM_UP = 50  # steps
DECAY_SHARE = 0.85  # of the time
HIDDEN_RATE = 0.012  # Muon: the matrices of the layers
OTHER_RATE = 2e-3  # AdamW: embedding, norms
LONGEST = 1900  # tokens; longer conversations are dropped
POOL = 1500  # conversations sorted by length at a time
IGNORED = -100

CONFIG = LlamaConfig(
    vocab_size=PIECES, hidden_size=192, intermediate_size=640, num_hidden_layers=4, num_attention_heads=6, num_key_value_heads=2,
    head_dim=32, max_position_embeddings=2048, rms_norm_eps=1e-5, rope_theta=10000.0, tie_word_embeddings=True,
    bos_token_id=BOS, eos_token_id=EOS, pad_token_id=None, attention_bias=False, mlp_bias=False, hidden_act="silu",
)

Example = tuple[list[int], list[int]]


def example(vocabulary: sentencepiece.SentencePieceProcessor, conversation: corpus.Conversation, from_turn: int = 0) -> Example:
    """(ids, targets): the ids as a chat feeds them, the targets one ahead; only answers from `from_turn` on have targets."""
    ids, targets = [], []
    for index, (prompt, finished) in enumerate(conversation.texts()):
        opened = 1 + len(vocabulary.encode(prompt))
        turn = [BOS, *vocabulary.encode(finished), EOS]
        ids += turn
        shown = [IGNORED] * opened + turn[opened:] if index >= from_turn else [IGNORED] * len(turn)
        targets += shown
    return ids, targets[1:] + [IGNORED]


def collate(examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
    longest = max(len(ids) for ids, _ in examples)
    ids = torch.tensor([ids + [EOS] * (longest - len(ids)) for ids, _ in examples])
    targets = torch.tensor([targets + [IGNORED] * (longest - len(targets)) for _, targets in examples])
    return ids, targets


def batches(vocabulary: sentencepiece.SentencePieceProcessor, seed: int, tokens: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    stream, rng = corpus.conversations(seed), random.Random(seed)
    while True:
        pool = [example(vocabulary, conversation) for conversation in itertools.islice(stream, POOL)]
        pool = sorted((one for one in pool if len(one[0]) <= LONGEST), key=lambda one: len(one[0]))
        groups: list[list[Example]] = [[]]
        for one in pool:
            if groups[-1] and (len(groups[-1]) + 1) * len(one[0]) > tokens:
                groups.append([])
            groups[-1].append(one)
        rng.shuffle(groups)
        yield from map(collate, groups)


def logits_and_targets(model: LlamaForCausalLM, ids: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits of the positions that have a target alone."""
    hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
    chosen = targets != IGNORED
    return model.lm_head(hidden[chosen]), targets[chosen]


def schedule(step: int, progress: float) -> float:
    """The share of the peak learning rates, from the step and the share of the time that is over."""
    return min((step + 1) / WARM_UP, max(0.0, 1 - progress) / DECAY_SHARE, 1.0)


def held_out_examples(vocabulary: sentencepiece.SentencePieceProcessor, rows: list[dict]) -> dict[str, list[Example]]:
    """The dialogues as examples whose last answer alone has targets, by category."""
    found: dict[str, list[Example]] = {}
    for row in rows:
        messages = row["messages"]
        system = messages[0]["content"] if messages[0]["role"] == "system" else None
        talk = [m["content"] for m in messages if m["role"] != "system"] + [row["answers"][0]]
        pairs = [turns.Turn(q, answer, None, ()) for q, answer in zip(talk[::2], talk[1::2], strict=True)]
        found.setdefault(row["category"], []).append(example(vocabulary, corpus.Conversation(system, pairs), len(pairs) - 1))
    return found


@torch.inference_mode()
def exact(model: LlamaForCausalLM, by_category: dict[str, list[Example]]) -> dict[str, tuple[int, int]]:
    """(right, all) by category. An answer is right if every next token is the likeliest one, which is what greedy decoding gives."""
    found = {}
    for category, examples in by_category.items():
        right = 0
        for one in examples:
            logits, wanted = logits_and_targets(model, *collate([one]))
            right += bool((logits.argmax(-1) == wanted).all())
        found[category] = right, len(examples)
    return found


def report(scores: dict[str, tuple[int, int]]) -> str:
    right, count = (sum(column) for column in zip(*scores.values(), strict=True))
    missed = " ".join(f"{category}:{r}/{n}" for category, (r, n) in scores.items() if r < n)
    return f"{right}/{count} {missed}"


def export(model: LlamaForCausalLM, directory: Path) -> None:
    """f16 safetensors and config.json in the form that every release of transformers reads."""
    tensors = {name: tensor.to(torch.float16).contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})
    c = model.config
    config = {
        "architectures": ["LlamaForCausalLM"], "attention_bias": False, "bos_token_id": BOS, "eos_token_id": EOS, "head_dim": c.head_dim,
        "hidden_act": c.hidden_act, "hidden_size": c.hidden_size, "initializer_range": c.initializer_range,
        "intermediate_size": c.intermediate_size, "max_position_embeddings": c.max_position_embeddings, "mlp_bias": False,
        "model_type": "llama", "num_attention_heads": c.num_attention_heads, "num_hidden_layers": c.num_hidden_layers,
        "num_key_value_heads": c.num_key_value_heads, "pretraining_tp": 1, "rms_norm_eps": c.rms_norm_eps, "rope_scaling": None,
        "rope_theta": 10000.0, "tie_word_embeddings": True, "torch_dtype": "float16", "use_cache": True, "vocab_size": c.vocab_size,
    }
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "do_sample": False, "max_length": c.max_position_embeddings}
    for name, value in (("config.json", config), ("generation_config.json", generation)):
        (directory / name).write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="directory with tokenizer.model; the trained model is written here")
    parser.add_argument("--work", type=Path, required=True, help="directory for checkpoints")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--tokens", type=int, default=1280, help="tokens in a batch, padding included")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in --work")
    parser.add_argument("--seed", type=int, default=corpus.TRAINING_SEED)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    args.work.mkdir(parents=True, exist_ok=True)
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(args.model / "tokenizer.model"))
    model = LlamaForCausalLM(CONFIG)
    print(f"{model.num_parameters():,} parameters", flush=True)
    hidden = [p for name, p in model.named_parameters() if "proj" in name]
    others = [p for name, p in model.named_parameters() if "proj" not in name]
    optimizers = [Muon(hidden, HIDDEN_RATE), torch.optim.AdamW(others, OTHER_RATE, betas=(0.9, 0.98), weight_decay=0.0)]
    peaks = [HIDDEN_RATE, OTHER_RATE]
    step, seen, spent = 0, 0, 0.0
    checkpoint = args.work / "checkpoint.pt"
    if args.resume:
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimizer, saved in zip(optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        step, seen, spent = state["step"], state["seen"], state["spent"]
    committed = held_out_examples(vocabulary, corpus.dialogues())
    more = held_out_examples(vocabulary, [row for seed in range(4) for row in corpus.dialogues(seed)])
    began, window, finished = time.time() - spent, [], False
    # A resumed run draws other conversations than those already seen.
    for ids, targets in batches(vocabulary, args.seed + 1000 * step, args.tokens):
        if finished:
            break
        spent = time.time() - began
        share = schedule(step, spent / (60 * args.minutes))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = peak * share
        loss = cross_entropy(*logits_and_targets(model, ids, targets))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        step, seen, finished = step + 1, seen + ids.numel(), share <= 0.0
        window.append(loss.item())
        if step % 50 == 0:
            print(f"step {step} loss {sum(window) / len(window):.4f} rate {share:.3f} tokens {seen} seconds {spent:.0f}", flush=True)
            window.clear()
        if step % 200 == 0 or finished:
            print(f"  dialogues {report(exact(model, committed))}\n  more {report(exact(model, more))}", flush=True)
            state = {"model": model.state_dict(), "optimizers": [one.state_dict() for one in optimizers], "step": step, "seen": seen, "spent": spent}
            torch.save(state, checkpoint.with_suffix(".new"))
            shutil.move(checkpoint.with_suffix(".new"), checkpoint)
    export(model, args.model)


if __name__ == "__main__":
    main()
