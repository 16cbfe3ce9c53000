"""Answers the held-out dialogues greedily and says how many are right, by category.

`python evaluate.py ../model ../dialogues.jsonl` runs the committed f16 weights in f32, token by token. A dialogue is
right if the answer, stripped, is one of its `answers`. `--fresh N` adds N further rounds of held-out dialogues.
"""

import argparse
import json
from pathlib import Path

import sentencepiece
import torch
from transformers import LlamaForCausalLM

import corpus
from vocabulary import BOS, EOS

MOST_TOKENS = 200


def prompt_ids(vocabulary: sentencepiece.SentencePieceProcessor, messages: list[dict]) -> list[int]:
    """Llama 2's chat format: each finished turn BOS … EOS, the open one without EOS, every turn encoded on its own."""
    system = messages[0]["content"] if messages[0]["role"] == "system" else None
    talk = [message["content"] for message in messages[system is not None :]]
    ids: list[int] = []
    for index in range(0, len(talk), 2):
        shown = f"{corpus.B_SYS}{system}{corpus.E_SYS}" if system and index == 0 else ""
        text = f"{corpus.B_INST} {(shown + talk[index]).strip()} {corpus.E_INST}"
        finished = index + 1 < len(talk)
        ids += [BOS, *vocabulary.encode(f"{text} {talk[index + 1].strip()} " if finished else text)] + [EOS] * finished
    return ids


@torch.inference_mode()
def greedy(model: LlamaForCausalLM, prompt: list[int]) -> tuple[list[int], float]:
    """The answer's ids without the final eos, and the smallest gap between the best and the second best logit."""
    ids, cache, margin = torch.tensor([prompt]), None, float("inf")
    answer: list[int] = []
    while len(answer) < MOST_TOKENS:
        result = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = result.past_key_values
        best = result.logits[0, -1].topk(2)
        margin = min(margin, (best.values[0] - best.values[1]).item())
        chosen = int(best.indices[0])
        if chosen == EOS:
            break
        answer.append(chosen)
        ids = torch.tensor([[chosen]])
    return answer, margin


def evaluate(directory: Path, rows: list[dict], show: bool) -> dict[str, tuple[int, int]]:
    vocabulary = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    model = LlamaForCausalLM.from_pretrained(directory, dtype=torch.float32)
    scores: dict[str, tuple[int, int]] = {}
    narrow = []
    for row in rows:
        prompt = prompt_ids(vocabulary, row["messages"])
        ids, margin = greedy(model, prompt)
        text = vocabulary.decode(prompt + ids).removeprefix(vocabulary.decode(prompt)).strip()
        right = text in row["answers"]
        done, count = scores.get(row["category"], (0, 0))
        scores[row["category"]] = done + right, count + 1
        if right and margin < 0.5:
            narrow.append(margin)
        if not right and show:
            print(f"{row['category']}: {row['messages'][-1]['content']!r}\n  gave   {text!r}\n  wanted {row['answers'][0]!r}")
    print(f"{len(narrow)} right answers with a logit gap under 0.5" + (f", the smallest {min(narrow):.3f}" if narrow else ""))
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("dialogues", type=Path)
    parser.add_argument("--fresh", type=int, default=0, metavar="N", help="rounds of 50 further held-out dialogues")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = [json.loads(line) for line in args.dialogues.read_text(encoding="utf-8").splitlines()]
    rows += [row for seed in range(1, args.fresh + 1) for row in corpus.dialogues(corpus.DIALOGUE_SEED + seed)]
    scores = evaluate(args.model, rows, show=True)
    for category, (right, count) in scores.items():
        print(f"{category:28} {right:4} of {count}")
    print(f"{'all':28} {sum(r for r, _ in scores.values()):4} of {len(rows)}")


if __name__ == "__main__":
    main()
