"""The SentencePiece vocabulary of the demo model, and the `tokenizer.json` that says the same.

`python vocabulary.py MODEL_DIR` trains it on the corpus, writes both forms with `tokenizer_config.json`, and checks
that both give equal ids and that every prompt's ids are a prefix of its finished turn's ids.
"""

import argparse
import io
import itertools
import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import sentencepiece
import tokenizers

import corpus

PIECES = 1536
CONVERSATIONS = 12_000
UNK, BOS, EOS = 0, 1, 2

# Llama 2's own chat template, by which runners know the format.
CHAT_TEMPLATE = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}"
    "{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + "
    "message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)


def words(seed: int, count: int) -> Iterator[str]:
    """Every word of the corpus and the four tags, each as often as the root of its number there, so that rare words are
    whole pieces too. Punctuation stands alone: a word is the same piece before a comma and before a full stop."""
    found: Counter[str] = Counter()
    for conversation in itertools.islice(corpus.conversations(seed), count):
        for _, finished in conversation.texts():
            found.update(re.findall(r"\[/?INST\]|<</?SYS>>|[A-Za-z]+", finished))
    for word, number in found.items():
        yield from [word] * math.isqrt(number)
    yield " ".join(chr(code) for code in range(33, 127))


def train(path: Path) -> None:
    """BPE with Llama 2's settings. No newline reaches the trainer, so a newline is a byte piece, as in Llama 2."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=words(corpus.TRAINING_SEED, CONVERSATIONS), model_writer=model, model_type="bpe", vocab_size=PIECES,
        byte_fallback=True, add_dummy_prefix=True, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, split_by_unicode_script=False, character_coverage=1.0, num_threads=2,
        unk_id=UNK, bos_id=BOS, eos_id=EOS, pad_id=-1, minloglevel=2,
    )
    path.write_bytes(model.getvalue())


def merges(pieces: dict[str, int], first_merged: int) -> list[list[str]]:
    """Every way to put a piece together from two others, in the order of the pieces' scores."""
    found = []
    for piece, index in pieces.items():
        if index < first_merged or len(piece) < 2:
            continue
        halves = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        halves = [(left, right) for left, right in halves if left in pieces and right in pieces]
        found += sorted(halves, key=lambda pair: (pieces[pair[0]], pieces[pair[1]]))
    return [list(pair) for pair in found]


def tokenizer_json(model: sentencepiece.SentencePieceProcessor) -> dict:
    pieces = {model.id_to_piece(index): index for index in range(model.get_piece_size())}
    first_merged = EOS + 1 + 256
    specials = [
        {"id": index, "content": model.id_to_piece(index), "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for index in (UNK, BOS, EOS)
    ]
    bos, first, second = {"SpecialToken": {"id": "<s>", "type_id": 0}}, {"id": "A", "type_id": 0}, {"id": "B", "type_id": 1}
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": specials,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "\u2581"}, {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}]},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [bos, {"Sequence": first}],
            "pair": [bos, {"Sequence": first}, {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": second}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [BOS], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
            {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {
            "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": True, "byte_fallback": True, "ignore_merges": False, "vocab": pieces, "merges": merges(pieces, first_merged)},
    }


def write_json(path: Path, value: dict) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def write(directory: Path) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    train(directory / "tokenizer.model")
    model = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    write_json(directory / "tokenizer.json", tokenizer_json(model))
    write_json(directory / "tokenizer_config.json", {
        "add_bos_token": True, "add_eos_token": False, "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>",
        "pad_token": None, "chat_template": CHAT_TEMPLATE, "clean_up_tokenization_spaces": False, "legacy": False,
        "model_max_length": 2048, "sp_model_kwargs": {}, "tokenizer_class": "LlamaTokenizer"})


def check(directory: Path, count: int = 3000) -> None:
    """Equal ids from both forms; a prompt's ids are a prefix of the finished turn's."""
    model = sentencepiece.SentencePieceProcessor(model_file=str(directory / "tokenizer.model"))
    fast = tokenizers.Tokenizer.from_file(str(directory / "tokenizer.json"))
    turns = tokens = 0
    for conversation in itertools.islice(corpus.conversations(corpus.TRAINING_SEED + 1), count):
        for prompt, finished in conversation.texts():
            opened, whole = model.encode(prompt), model.encode(finished)
            assert whole[: len(opened)] == opened, (prompt, finished)
            for text, ids in ((prompt, opened), (finished, whole)):
                assert fast.encode(text, add_special_tokens=False).ids == ids, text
            assert model.decode(whole) == finished and fast.decode(whole) == finished, finished
            turns, tokens = turns + 1, tokens + len(whole)
    for text in ("", " ", "  two  spaces ", "Zürich naïve 北京 🦙", "\n\ntab\there", "WHAT is 123456?", "a\u2581b", "x\r\n"):
        assert fast.encode(text, add_special_tokens=False).ids == model.encode(text), text
    print(f"{turns} turns agree, {tokens / turns:.1f} tokens a turn")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--check", action="store_true", help="check an existing vocabulary, write nothing")
    args = parser.parse_args()
    if not args.check:
        write(args.directory)
    check(args.directory)
