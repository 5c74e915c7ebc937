import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

from lrstudy.tasks import TensorflowDataset
from lrstudy.tasks.ahead import Ahead
from tests.tasks.tfds.made import image_set, text_set


def task(tmp_path, name, **fields):
    return TensorflowDataset(name=name, data_dir=str(tmp_path), **{"context": 5, **fields})


def test_a_prepared_folder_is_found_without_its_builder(tmp_path):
    text_set(tmp_path)
    facts = task(tmp_path, "made_texts").facts()
    assert facts["dataset"] == "made_texts/1.0.0"
    assert "prepared" not in facts
    assert facts["examples"] == 54
    assert re.fullmatch("[0-9a-f]{64}", facts["sha256"])


def test_the_newest_version_is_taken_unless_one_is_named(tmp_path):
    text_set(tmp_path, version="1.0.0")
    text_set(tmp_path, version="1.1.0", count=30)
    found = {name: task(tmp_path, name).facts() for name in ("made_texts", "made_texts:1.0.0", "made_texts:1.1.0")}
    assert found["made_texts"] == found["made_texts:1.1.0"]
    assert found["made_texts"]["dataset"] == "made_texts/1.1.0"
    assert found["made_texts:1.0.0"]["examples"] == 54
    assert found["made_texts:1.0.0"]["sha256"] != found["made_texts"]["sha256"]


UNPREPARED = {
    "c4/en:3.1.0": "c4/en/3.1.0",
    "wiki40b/en": "wiki40b/en/1.3.0",
    "lm1b": "lm1b/1.1.0",
    "mnist": "mnist/3.0.1",
    "cifar10": "cifar10/3.0.2",
    "imagenet2012": "imagenet2012/5.1.0",
}


@pytest.mark.parametrize("name", UNPREPARED)
def test_a_plan_knows_a_set_of_the_catalogue_that_is_not_prepared_and_a_run_says_how_it_is(tmp_path, name):
    asked = task(tmp_path, name, side=32 if name == "imagenet2012" else 0, context=9, batch_size=4)
    facts = asked.facts()
    assert facts["dataset"] == UNPREPARED[name]
    assert facts["prepared"] is False
    abstract = asked.abstract_data()
    assert isinstance(abstract, Ahead)
    batch = jax.eval_shape(lambda data: asked.batch(data, jnp.int32(0), jnp.int32(0)), abstract)
    side = {"mnist": (28, 1), "cifar10": (32, 3), "imagenet2012": (32, 3)}.get(name)
    if side:
        images, labels = batch
        assert (images.shape, images.dtype) == ((4, side[0], side[0], side[1]), jnp.uint8)
        assert (labels.shape, labels.dtype) == ((4,), jnp.int32)
        assert asked.model_names == ("convnet", "resnet", "mlp")
        assert asked.model_arguments() == {"outputs": 1000 if name == "imagenet2012" else 10}
    else:
        assert (batch.shape, batch.dtype) == ((4, 10), jnp.uint16)
        assert asked.model_names == ("transformer",)
        assert asked.model_arguments() == {"vocabulary": 257, "context": 9}
    for refused in (asked.check_ready, asked.load, asked.reader):
        with pytest.raises(ValueError, match=r"^task\.name must be a prepared data set, got ") as error:
            refused()
        plain, version = name.split(":")[0], UNPREPARED[name].split("/")[-1]
        call = f"tfds.builder('{plain}:{version}', data_dir='{tmp_path}', file_format='array_record')"
        assert f'python -c "import tensorflow_datasets as tfds; {call}.download_and_prepare()"' in str(error.value)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", r"task.name must be name\[/config\]\[:version\], as TFDS spells data sets, got ''"),
        ("mnistt", r"task.name must be a data set of the TFDS catalogue or of '.*', got 'mnistt'; nearest: mnist, .*"),
        ("made_textz", r"task.name must be a data set of .*, got 'made_textz'; nearest: made_texts"),
        ("made_texts:2.0.0", r"task.name must be .*, got 'made_texts:2.0.0'; prepared: made_texts/1.0.0"),
        ("mnist/3.0.1", r"task.name must be mnist without a config, and a version after a colon, got 'mnist/3.0.1'"),
        ("c4/eng", r"task.name must name one of the \d+ configs of c4, got 'c4/eng'; nearest: en"),
        ("mnist:1.2.3", r"task.name must be a data set that TFDS can build, got 'mnist:1.2.3': .*only: 3.0.1.*"),
        ("no set", r"task.name must be name\[/config\]\[:version\], as TFDS spells data sets, got 'no set'"),
        ("huggingface:mnist", r"task.name must be name\[/config\]\[:version\], .* without a namespace .*"),
    ],
)
def test_what_is_no_data_set_is_refused_with_the_nearest(tmp_path, name, expected):
    text_set(tmp_path, count=20)
    with pytest.raises(ValueError, match=f"^{expected}$") as error:
        task(tmp_path, name).facts()
    assert "\n" not in str(error.value)


def test_a_damaged_declaration_is_an_error_that_names_the_folder(tmp_path):
    text_set(tmp_path)
    (tmp_path / "made_texts/1.0.0/features.json").write_text("{")
    with pytest.raises(ValueError, match=r"^task\.data_dir must hold a data set 'made_texts' that can be read, got '"):
        task(tmp_path, "made_texts")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"split": "test"}, r"task\.split must be one of \['train'\], or a slice such as train\[:10%\], got 'test'"),
        ({"split": "train[:x]"}, r"task\.split must be one of .*, got 'train\[:x\]'"),
        (
            {"split": "train[:0]"},
            r"task\.split must have an example, got 'train\[:0\]' of made_texts/1\.0\.0 with none",
        ),
        (
            {"split": "train[:9]"},
            r"task\.validation_split must be a split where task\.split has fewer than 10 .*, got ''",
        ),
        ({"validation_split": "tset"}, r"task\.validation_split must be one of \['train'\], .*, got 'tset'"),
        ({"feature": "txt"}, r"task\.feature must be one of \['text'\] \(nearest: 'text'\), got 'txt'"),
        ({"batch_size": 10**6}, r"task\.batch_size must be in \[1, \d+\], which the windows of .* are, got 1000000"),
        ({"context": 10**6}, r"task\.context must be below the \d+ tokens of the validation part, got 1000000"),
        ({"input": "disk"}, r"task\.input must be one of \['auto', 'memory', 'stream'\].*, got 'disk'"),
        ({"side": 3}, r"task\.side must be 0 or an int in \[4, 4096\], got 3"),
        ({"batch_size": 0}, r"task\.batch_size must be an int of at least 1, got 0"),
    ],
)
def test_fields_that_do_not_fit_are_refused(tmp_path, fields, expected):
    (image_set if "side" in fields else text_set)(tmp_path)
    with pytest.raises(ValueError, match=f"^{expected}$"):
        task(tmp_path, "made_images" if "side" in fields else "made_texts", **fields).facts()


def test_reading_needs_no_tensorflow_and_starts_no_device_in_a_process_that_reads(tmp_path):
    text_set(tmp_path)
    image_set(tmp_path)
    code = f"""
import pickle, sys
from lrstudy.tasks import TensorflowDataset
for name in ("made_texts", "made_images"):
    reader = TensorflowDataset(name=name, data_dir={str(tmp_path)!r}, batch_size=4, input="stream").reader()
    pickle.loads(pickle.dumps(reader))(0, 3)
import jax
assert not jax._src.xla_bridge._backends
assert "tensorflow" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_without_the_package_the_task_says_so_and_nothing_else_needs_it(tmp_path):
    code = """
import sys
sys.modules["array_record"] = sys.modules["tensorflow_datasets"] = sys.modules["sentencepiece"] = None
from lrstudy.tasks import TensorflowDataset, Text
Text(path=sys.argv[1], context=5).load()
import importlib.util
importlib.util.find_spec = lambda name: None
try:
    TensorflowDataset(name="mnist")
except ValueError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code, __file__], capture_output=True, text=True, check=True)
    rule = "task must be another than tfds where tensorflow-datasets is not installed"
    assert done.stdout == f"{rule}: pip install tensorflow-datasets\n"


def test_the_row_names_all_models_and_a_task_those_of_its_data(tmp_path):
    text_set(tmp_path)
    assert TensorflowDataset.model_names == ("transformer", "convnet", "resnet", "mlp")
    assert task(tmp_path, "made_texts").model_names == ("transformer",)
    assert task(tmp_path, "mnist").model_names == ("convnet", "resnet", "mlp")
