import pickle
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lrstudy.tasks import TensorflowDataset
from lrstudy.tasks.tfds import counts, tokens
from tests.tasks.tfds.made import prepare, text_set


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache/lrstudy/tfds"


@pytest.fixture
def passes(monkeypatch):
    """How often texts were counted."""
    seen = []
    plain = counts._bar

    def counted(*args):
        seen.append(args[-1])
        return plain(*args)

    monkeypatch.setattr(counts, "_bar", counted)
    return seen


def task(tmp_path, **fields):
    return TensorflowDataset(name="made_texts", data_dir=str(tmp_path), **{"context": 5, "batch_size": 4, **fields})


def test_texts_are_counted_once_for_all_contexts_and_counted_anew_when_the_data_change(tmp_path, cache, passes):
    text_set(tmp_path)
    first = task(tmp_path).facts()
    assert len(passes) == 2  # both parts
    assert task(tmp_path).facts() == first
    task(tmp_path, context=7, batch_size=3).load()
    assert len(passes) == 2
    task(tmp_path, split="train[:50%]").facts()
    assert len(passes) == 4
    text_set(tmp_path, count=50, version="1.0.1")
    task(tmp_path).facts()
    assert len(passes) == 6
    assert len(list(cache.iterdir())) == 6


@pytest.mark.parametrize("damage", ["bit", "digest", "shorter", "longer", "empty"])
def test_a_damaged_file_is_made_again(tmp_path, cache, passes, damage):
    text_set(tmp_path)
    first, expected = task(tmp_path).facts(), task(tmp_path).load()
    for path in cache.iterdir():
        data = bytearray(path.read_bytes())
        data[{"bit": 40, "digest": 3}.get(damage, 0)] ^= damage in ("bit", "digest")
        cut = {"shorter": data[:-1], "longer": data + b"\0", "empty": b""}
        path.write_bytes(cut.get(damage, data))
    again = task(tmp_path)
    assert again.facts() == first
    assert len(passes) == 4
    np.testing.assert_array_equal(again.load()["train"], expected["train"])
    assert len(passes) == 4


def test_a_count_that_was_stopped_goes_on_where_it_was(tmp_path, cache, monkeypatch):
    text_set(tmp_path, count=100)
    monkeypatch.setattr(counts, "_SECTION", 20)
    expected, seen = task(tmp_path).load()["train"], []
    shutil.rmtree(cache)
    plain = tokens.ByteTokens.encode

    def stopped(self, texts):
        seen.append(len(texts))
        if len(seen) == 3:
            raise KeyboardInterrupt
        return plain(self, texts)

    monkeypatch.setattr(tokens.ByteTokens, "encode", stopped)
    with pytest.raises(KeyboardInterrupt):
        task(tmp_path).facts()
    assert len(list(cache.iterdir())) == 2
    facts = task(tmp_path).facts()
    # Two sections of 20 before the stop, the third anew, and the rest; ten are held out.
    assert seen == [20] * 3 + [20, 20, 10, 10]
    assert sorted(path.suffix for path in cache.iterdir()) == [".counts", ".counts"]
    monkeypatch.setattr(tokens.ByteTokens, "encode", plain)
    assert task(tmp_path).facts() == facts
    np.testing.assert_array_equal(task(tmp_path).load()["train"], expected)


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path, monkeypatch, passes):
    text_set(tmp_path)
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    facts = task(tmp_path).facts()
    reader = task(tmp_path, input="stream").reader()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(reader))(0, 1), reader(0, 1))
    assert len(passes) == 4
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert task(tmp_path).facts() == facts


def test_a_reader_is_pickled_without_the_counts(tmp_path, cache):
    text_set(tmp_path, count=3000)
    assert len(pickle.dumps(task(tmp_path, input="stream").reader())) < 8000


def test_long_texts_are_read_a_few_at_a_time(tmp_path, cache, monkeypatch):
    rng = np.random.default_rng(0)
    made = [{"text": rng.bytes(20_000)} for _ in range(60)]
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": made})
    monkeypatch.setattr("lrstudy.tasks.tfds.examples._BATCH_BYTES", 100_000)
    seen, plain = [], tokens.ByteTokens.encode

    def encode(self, texts):
        seen.append(len(texts))
        return plain(self, texts)

    monkeypatch.setattr(tokens.ByteTokens, "encode", encode)
    task(tmp_path).facts()
    assert sum(seen) == 60
    # Files have some bytes beside the records.
    assert 3 <= max(seen) <= 5


@pytest.mark.parametrize("given", ["memory", "stream"])
def test_texts_that_are_not_those_that_were_counted_are_noticed(tmp_path, cache, monkeypatch, given):
    text_set(tmp_path, count=200)
    asked = task(tmp_path, input=given)
    asked.facts()
    plain = tokens.ByteTokens.encode
    monkeypatch.setattr(tokens.ByteTokens, "encode", lambda self, texts: plain(self, [text + b"." for text in texts]))
    with pytest.raises(
        OSError, match=r"^texts have other tokens than were counted; remove '.*\.counts', and count them "
    ):
        asked.load() if given == "memory" else asked.reader()(0, 0)
