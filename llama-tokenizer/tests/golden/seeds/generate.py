"""Small vocabularies in the two kinds of file: where the fuzz targets begin.

Run by `cargo xtask golden seeds`. Every file opens:

    sentencepiece  models with byte pieces and without, with user-defined and unused pieces, trained on one line
    json           the same idea as tokenizer.json, as `tokenizers` writes it: normalizers or Metaspace, merges in both forms
"""

import io
import json
import shutil
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2 as model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

HERE = Path(__file__).parent
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
PIECES = ["▁", "a", "b", "▁a", "ab", "▁ab", "▁▁"]
MERGES = [("▁", "a"), ("a", "b"), ("▁a", "b"), ("▁", "ab"), ("▁", "▁")]


def fresh(name):
    folder = HERE / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return folder


def proto(with_bytes):
    model = model_pb2.ModelProto()
    for text, kind in zip(SPECIAL, (2, 3, 3)):
        model.pieces.add(piece=text, score=0, type=kind)
    for text in BYTES if with_bytes else []:
        model.pieces.add(piece=text, score=0, type=6)
    for rank, text in enumerate(PIECES):
        model.pieces.add(piece=text, score=-float(rank), type=1)
    model.trainer_spec.model_type = 2
    model.normalizer_spec.name = "identity"
    model.normalizer_spec.remove_extra_whitespaces = False
    return model


def sentencepiece_models():
    folder = fresh("sentencepiece")
    (folder / "bytes.model").write_bytes(proto(True).SerializeToString())
    plain = proto(False)
    plain.normalizer_spec.add_dummy_prefix = False
    (folder / "plain.model").write_bytes(plain.SerializeToString())
    kinds = proto(False)
    kinds.pieces.add(piece="<user>", score=0, type=4)
    kinds.pieces.add(piece="unused", score=0, type=5)
    kinds.trainer_spec.bos_piece = "<user>"
    (folder / "kinds.model").write_bytes(kinds.SerializeToString())
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["the cat sat on the mat, the hat on the cat"]), model_writer=out, model_type="bpe", vocab_size=24,
        normalization_rule_name="identity", remove_extra_whitespaces=False, num_threads=1, minloglevel=2)
    (folder / "trained.model").write_bytes(out.getvalue())


def tokenizer(with_bytes, metaspace):
    texts = SPECIAL + (BYTES if with_bytes else []) + PIECES
    made = Tokenizer(models.BPE(vocab={text: i for i, text in enumerate(texts)}, merges=MERGES, unk_token="<unk>", fuse_unk=True,
                                byte_fallback=with_bytes))
    made.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    if metaspace:
        made.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
        made.add_tokens([AddedToken("<word>", single_word=True, lstrip=True, rstrip=True, normalized=False)])
    else:
        made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    made.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(),
                                      decoders.Strip(" ", 1, 0)])
    made.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)])
    return made.to_str()


def json_files():
    folder = fresh("json")
    (folder / "bytes.json").write_text(tokenizer(True, False), encoding="utf-8")
    (folder / "normalizers.json").write_text(tokenizer(False, False), encoding="utf-8")
    metaspace = json.loads(tokenizer(False, True))
    metaspace["model"]["merges"] = [" ".join(pair) for pair in MERGES]
    (folder / "metaspace.json").write_text(json.dumps(metaspace, ensure_ascii=False), encoding="utf-8")


sentencepiece_models()
json_files()
