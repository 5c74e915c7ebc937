import io
import pickle

import numpy as np
import pytest
import sentencepiece
import tensorflow_datasets as tfds

from lrstudy.tasks import TensorflowDataset
from lrstudy.tasks.tfds.tokens import ByteTokens, tokenizer_of
from tests.tasks.tfds.made import prepare

WORDS = ["river", "valley", "schedule", "warm", "stable", "decay", "größe"]


def sentences(count, words=WORDS):
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(words, rng.integers(3, 12))) for _ in range(count)]


def trained(path, words=WORDS, **options):
    model = io.BytesIO()
    settings = {"vocab_size": 60, "minloglevel": 2, "hard_vocab_limit": False, **options}
    texts = iter(sentences(300, words))
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=texts, model_writer=model, **settings)
    path.write_bytes(model.getvalue())
    return str(path)


def test_bytes_are_their_numbers_and_a_token_of_its_own_ends_a_text():
    first, second = ByteTokens().encode([b"a\xff", b""])
    assert (first.tolist(), second.tolist()) == ([97, 255, 256], [256])
    assert first.dtype == np.uint16


def test_pieces_are_the_models_own_with_its_end(tmp_path):
    path = trained(tmp_path / "pieces.model")
    tokenizer = tokenizer_of(path)
    plain = sentencepiece.SentencePieceProcessor(model_file=path)
    texts = sentences(20)
    for copy in (tokenizer, pickle.loads(pickle.dumps(tokenizer))):
        found = copy.encode([text.encode() for text in texts])
        for own, text in zip(found, texts, strict=True):
            assert own.tolist() == [*plain.encode(text), plain.eos_id()]
            assert own.dtype == np.uint16
    assert (tokenizer.vocabulary, tokenizer.end) == (plain.vocab_size(), plain.eos_id())


def test_what_is_no_utf8_is_still_made_tokens_of(tmp_path):
    path = trained(tmp_path / "pieces.model")
    (found,) = tokenizer_of(path).encode([b"river \xff\xfe valley"])
    plain = sentencepiece.SentencePieceProcessor(model_file=path)
    assert found.tolist() == [*plain.encode("river \ufffd\ufffd valley"), plain.eos_id()]


def test_a_task_of_pieces(tmp_path):
    path = trained(tmp_path / "pieces.model")
    texts = sentences(60)
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": [{"text": text} for text in texts]})
    given = {"name": "made_texts", "data_dir": str(tmp_path), "context": 5, "batch_size": 3}
    task = TensorflowDataset(tokenizer=path, validation_split="train", **given)
    plain = sentencepiece.SentencePieceProcessor(model_file=path)
    tokens = [token for text in texts for token in (*plain.encode(text), plain.eos_id())]
    train = task.load()["train"]
    assert train.tolist() == tokens[: len(train)]
    assert len(tokens) - len(train) < 5
    assert task.model_arguments() == {"vocabulary": plain.vocab_size(), "context": 5}
    other = TensorflowDataset(tokenizer=trained(tmp_path / "other.model", WORDS[:5]), **given)
    assert other.facts()["tokenizer_sha256"] != task.facts()["tokenizer_sha256"]
    streamed = TensorflowDataset(tokenizer=path, validation_split="train", input="stream", **given).reader()
    rows = np.lib.stride_tricks.sliding_window_view(train, 6)[::5].tolist()
    assert all(row in rows for row in pickle.loads(pickle.dumps(streamed))(0, 3).tolist())


@pytest.mark.parametrize("kind", ["missing", "folder", "empty", "text", "no end"])
def test_what_is_no_tokenizer_is_refused(tmp_path, kind):
    path = tmp_path / "model"
    if kind == "folder":
        path.mkdir()
    elif kind == "no end":
        trained(path, eos_id=-1)
    elif kind != "missing":
        path.write_text({"empty": "", "text": "no model at all"}[kind])
    rule = r"bytes, or the path of a SentencePiece model"
    with pytest.raises(ValueError, match=rf"^task\.tokenizer must be {rule}, got '.*model'") as error:
        TensorflowDataset("lm1b", tokenizer=str(path))
    assert "\n" not in str(error.value)
