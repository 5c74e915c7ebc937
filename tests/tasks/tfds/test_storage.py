import os
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lrstudy.tasks import TensorflowDataset
from tests.tasks.tfds.made import prepare, text_set, texts


def task(tmp_path, **fields):
    return TensorflowDataset(name="made_texts", data_dir=str(tmp_path), context=5, batch_size=4, **fields)


def shard(tmp_path):
    (path,) = (tmp_path / "made_texts/1.0.0").glob("*train*")
    return path


def refused(tmp_path):
    with pytest.raises(ValueError, match=r"^task\.name must be a data set whose files are whole, got ") as error:
        task(tmp_path).facts()
    assert "made_texts-train.array_record-00000-of-00001" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kept", [0, 1, 1000, 2**16, 2**16 + 1, -1])
def test_a_truncated_file_is_refused_by_its_name_before_training(tmp_path, kept):
    text_set(tmp_path)
    task(tmp_path).facts()
    path = shard(tmp_path)
    path.write_bytes(path.read_bytes()[:kept])
    assert "60 are declared" in refused(tmp_path)


@pytest.mark.parametrize("count", [1, 60])
def test_a_file_that_is_truncated_while_it_is_read_is_an_error_that_says_so(tmp_path, count):
    text_set(tmp_path, count=2_000)
    reading = task(tmp_path).own().training_windows()
    os.truncate(shard(tmp_path), 2**16)
    late = np.arange(len(reading) - count, len(reading))
    with pytest.raises(OSError, match=r"^examples of made_texts/1\.0\.0 train cannot be read, a file is damaged: "):
        reading.rows(late)


def test_a_missing_file_is_refused_by_its_name(tmp_path):
    text_set(tmp_path)
    path = shard(tmp_path)
    path.unlink()
    assert f"'{path}' is missing" in refused(tmp_path)


def test_a_file_of_other_records_is_refused(tmp_path):
    text_set(tmp_path)
    text_set(tmp_path / "other", count=40)
    shutil.copy(shard(tmp_path / "other"), shard(tmp_path))
    assert "has 40 records, 60 are declared" in refused(tmp_path)


def test_only_the_files_of_the_split_are_asked_for(tmp_path):
    made = [{"text": text} for text in texts(30)]
    prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": made, "test": made})
    (path,) = (tmp_path / "made_texts/1.0.0").glob("*test*")
    path.unlink()
    assert task(tmp_path).facts()["examples"] == 27
    with pytest.raises(ValueError, match="is missing"):
        task(tmp_path, validation_split="test").facts()


def test_a_flipped_bit_is_never_read_as_data(tmp_path):
    """Every record has a hash: either the bit lies in what nobody reads, or reading it is an error."""
    text_set(tmp_path, count=40)
    path = shard(tmp_path)
    whole, expected = path.read_bytes(), task(tmp_path).load()
    rng = np.random.default_rng(0)
    used = np.flatnonzero(np.frombuffer(whole, np.uint8))
    noticed = 0
    for place in rng.choice(used, 40, replace=False):
        bad = bytearray(whole)
        bad[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        try:
            found = task(tmp_path).own().training_windows().flat()
        except (ValueError, OSError):
            noticed += 1
        else:
            np.testing.assert_array_equal(found, expected["train"])
    assert noticed > 10


def test_a_set_stored_as_parquet_is_refused_with_the_reason(tmp_path):
    text_set(tmp_path, file_format="parquet")
    with pytest.raises(ValueError, match=r"array_record, got 'made_texts' stored as parquet: .* loses rows") as error:
        task(tmp_path).load()
    assert "file_format='array_record'" in str(error.value)


def test_a_set_stored_as_tfrecord_is_refused_with_the_command_that_converts_it(tmp_path):
    text_set(tmp_path)
    folder = tmp_path / "made_texts/1.0.0"
    shard(tmp_path).rename(folder / "made_texts-train.tfrecord-00000-of-00001")
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(ValueError, match="stored as array_record, got 'made_texts' stored as tfrecord: ") as error:
        task(tmp_path).facts()
    assert f"tfds convert_format --dataset_version_dir={folder} --out_file_format=array_record" in str(error.value)


def test_another_content_is_another_identity(tmp_path):
    text_set(tmp_path)
    first = task(tmp_path).facts()
    shutil.rmtree(tmp_path / "made_texts")
    text_set(tmp_path, count=61)
    assert task(tmp_path).facts()["sha256"] != first["sha256"]
    shutil.rmtree(tmp_path / "made_texts")
    text_set(tmp_path)
    assert task(tmp_path).facts() == first


def test_the_same_declaration_of_other_texts_is_another_identity(tmp_path):
    made = texts(40, longest=20)
    facts = []
    for order in (1, -1):
        shutil.rmtree(tmp_path / "made_texts", ignore_errors=True)
        prepare(tmp_path, "made_texts", {"text": tfds.features.Text()}, {"train": [{"text": t} for t in made[::order]]})
        facts.append(((tmp_path / "made_texts/1.0.0/dataset_info.json").read_bytes(), task(tmp_path).facts()["sha256"]))
    assert facts[0][0] == facts[1][0]
    assert facts[0][1] != facts[1][1]
