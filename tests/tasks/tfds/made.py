"""Data sets that tests make, offline."""

import atexit
import functools
import io
import shutil
import tempfile

import numpy as np
import tensorflow_datasets as tfds


def prepare(data_dir, name, features, splits, *, version="1.0.0", file_format="array_record", base=None):
    """Has TFDS write a data set.

    Args:
        data_dir: folder of data sets.
        name: of this one.
        features: by their names.
        splits: examples of every split.
        version: of it.
        file_format: of its files.
        base: builder of the catalogue that it passes for; ``None``: none.
    """

    class Builder(base or tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version(version)

        def _info(self):
            if base is not None:
                return super()._info()
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), disable_shuffling=True
            )

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(examples) for split, examples in splits.items()}

        def _generate_examples(self, examples):
            yield from enumerate(examples)

    Builder.name = name
    # Of a class in a package TFDS looks for files beside its source, with a library that it does not require.
    Builder.__module__ = "made"
    tfds.disable_progress_bar()
    builder = Builder(data_dir=str(data_dir), file_format=file_format)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(try_download_gcs=False))
    return builder


def texts(count, seed=0, longest=40):
    """Texts of lower-case letters, some of them empty."""
    rng = np.random.default_rng(seed)
    return [bytes(rng.integers(97, 123, rng.integers(0, longest), dtype=np.uint8)) for _ in range(count)]


def text_set(data_dir, name="made_texts", count=60, **options):
    """A data set of texts; returns them."""
    made = texts(count)
    prepare(data_dir, name, {"text": tfds.features.Text()}, {"train": [{"text": text} for text in made]}, **options)
    return made


def images(count, side=6, channels=3, seed=0):
    """Images whose red or grey is brighter where the label, below 4, is higher."""
    rng = np.random.default_rng(seed)
    made = rng.integers(0, 100, (count, side, side, channels), dtype=np.uint8)
    labels = rng.integers(0, 4, count)
    made[..., 0] += (50 * labels).astype(np.uint8)[:, None, None]
    return made, labels


def image_features(shape):
    return {
        "image": tfds.features.Tensor(shape=shape, dtype=np.uint8),
        "label": tfds.features.ClassLabel(num_classes=4),
    }


def image_set(data_dir, name="made_images", count=50, side=6, channels=3):
    """A data set of images that are stored as numbers; returns them and their labels."""
    made, labels = images(count, side, channels)
    examples = [{"image": image, "label": int(label)} for image, label in zip(made, labels, strict=True)]
    prepare(data_dir, name, image_features((side, side, channels)), {"train": examples})
    return made, labels


def encoded(image, kind="PNG"):
    """An image as the file that TFDS stores without TensorFlow: from bytes that are encoded already."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image).save(file, kind)
    return io.BytesIO(file.getvalue())


@functools.cache
def shared_folder():
    """A folder with ``made_texts`` and ``made_images``, of this process."""
    folder = tempfile.mkdtemp(prefix="lrstudy-tfds-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    text_set(folder)
    image_set(folder)
    return folder
