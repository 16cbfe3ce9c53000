"""Makes the small vocabulary of the tests and what SentencePiece says about it.

    python make_golden.py            (sentencepiece 0.2.3, transformers 5.23, tokenizers 0.23.3)

Writes beside itself: `small.model` (714 pieces, Llama 2's settings, trained on `corpus.txt`),
`small.json` (the same as Hugging Face's converter makes it) and `small_cases.json` (pieces, ids and
texts by SentencePiece). Same input, same bytes: nothing is drawn without a seed.
"""

import io
import json
import random
from pathlib import Path

import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from transformers.convert_slow_tokenizer import generate_merges

HERE = Path(__file__).parent
PIECES = 700


def train() -> bytes:
    lines = (HERE / "corpus.txt").read_text(encoding="utf-8").splitlines()
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=out, model_type="bpe", vocab_size=PIECES,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True,
        split_digits=True, allow_whitespace_only_pieces=True, byte_fallback=True,
        character_coverage=0.9995, unk_id=0, bos_id=1, eos_id=2, pad_id=-1, num_threads=1,
        minloglevel=2,
    )
    proto = model_pb2.ModelProto()
    proto.ParseFromString(out.getvalue())
    # Llama 2's runs of spaces: all one score, below every other piece.
    taken = {piece.piece for piece in proto.pieces}
    for n in range(2, 17):
        if "▁" * n not in taken:
            proto.pieces.add(piece="▁" * n, score=-1e9, type=1)
    return proto.SerializeToString()


def converted(proto) -> dict:
    """tokenizer.json in the shape that transformers 4.31 wrote for Llama 2."""
    vocab = {piece.piece: i for i, piece in enumerate(proto.pieces)}
    scores = {piece.piece: piece.score for piece in proto.pieces}
    skipped = [piece.piece for piece in proto.pieces if piece.type != 1]
    merges = generate_merges(vocab, scores, skipped)
    special = [
        {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
        for i, text in enumerate(["<unk>", "<s>", "</s>"])
    ]
    return {
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]},
        "pre_tokenizer": None,
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}},
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
            {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]},
        "model": {"type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": True, "byte_fallback": True,
                  "vocab": vocab, "merges": [f"{a} {b}" for a, b in merges]},
    }


def texts(rng: random.Random, corpus: str) -> list[str]:
    fixed = ["", " ", "  ", "a", " a", "a ", "a  b", "\n", "\r\n", "\t", "\0", "▁", "▁▁a", "é", "e\u0301",
             "日本語", "😀", "👩\u200d💻", "مرحبا بالعالم", "\ufeffa", "\u200b", "<s>", "</s>", "<unk>", "<0x0A>",
             "[INST] a [/INST]", "<<SYS>>\nb\n<</SYS>>\n\n", "1234567890", "3.14", "Hello, world!"]
    fixed += [" " * n for n in range(3, 70)] + ["a" * n for n in range(2, 40)]
    fixed += ["the " * n for n in range(1, 5)] + ["x" + " " * n + "y" for n in range(1, 36)]
    alphabet = list("aeiounstrh  lp.,'\n") + ["▁", "é", "ß", "日", "本", "語", "😀", "the", "ing", " and", "<s>"]
    mixed = ["".join(rng.choices(alphabet, k=rng.randint(1, 40))) for _ in range(300)]
    cut = []
    for _ in range(100):
        begin = rng.randrange(len(corpus) - 80)
        cut.append(corpus[begin:begin + rng.randint(1, 80)])
    wild = ["".join(chr(rng.choice([rng.randrange(1, 0xD800), rng.randrange(0xE000, 0x110000), rng.randrange(32, 127)]))
            for _ in range(rng.randint(1, 12))) for _ in range(100)]
    return fixed + mixed + cut + wild


def main() -> None:
    rng = random.Random(2)
    blob = train()
    (HERE / "small.model").write_bytes(blob)
    proto = model_pb2.ModelProto()
    proto.ParseFromString(blob)
    text = json.dumps(converted(proto), ensure_ascii=False, indent=None, separators=(",", ":"))
    (HERE / "small.json").write_text(text, encoding="utf-8")

    sp = spm.SentencePieceProcessor(model_proto=blob)
    corpus = (HERE / "corpus.txt").read_text(encoding="utf-8")
    encoded = [{"text": t, "ids": sp.encode(t)} for t in texts(rng, corpus)]
    for case in encoded:
        case["decoded"] = sp.decode(case["ids"])
    lists = [[], [0], [1], [2], [1, 3], [29, 0, 300]]
    for n in range(300):
        # Mostly bytes, so that characters begin, break and end; then anything.
        span = (3, 259) if n % 2 else (0, sp.vocab_size())
        lists.append([rng.randrange(*span) for _ in range(rng.randint(1, 12))])
    space, letter = sp.piece_to_id("▁"), sp.piece_to_id("a")
    word = sp.piece_to_id("▁the")
    lists += [[space, 1, word], [space, space, word], [1, space, 2, word], [13, word], [0, word], [letter, word],
              [243, 162, 155, 131], [243, 162], [243, 162, word], [243, 162, 1, 155, 131], [229, 153, 132]]
    decoded = [{"ids": ids, "text": sp.decode(ids)} for ids in lists]
    lines = lambda cases: ",\n".join(json.dumps(case) for case in cases)
    (HERE / "small_cases.json").write_text(
        f'{{"pieces":[\n{lines([p.piece, p.score, p.type] for p in proto.pieces)}\n],\n"encode":[\n{lines(encoded)}\n],\n"decode":[\n{lines(decoded)}\n]}}\n')
    print(len(proto.pieces), "pieces,", len(encoded), "texts,", len(decoded), "id lists")


if __name__ == "__main__":
    main()
