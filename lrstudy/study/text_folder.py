"""A folder of texts as a TFDS data set: which files, in which split, and how they are written."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lrstudy.study.errors import ConfigError, StudyError

VERSION = "1.0.0"
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SNIFF_BYTES = 8192
_METADATA = "metadata.json"
_SHARD_BYTES = 2**28


class TextFile(NamedTuple):
    """A file of the folder.

    Attributes:
        path: where it is.
        name: its path below the folder, with slashes.
        sha256: of its bytes.
        size: in bytes.
    """

    path: Path
    name: bytes
    sha256: str
    size: int

    def text(self) -> bytes:
        """Its bytes.

        Raises:
            StudyError: they are others than they were.
        """
        found = self.path.read_bytes()
        if hashlib.sha256(found).hexdigest() != self.sha256:
            raise StudyError(f"'{self.path}' was changed while the data set was built")
        return found


class TextFolder(NamedTuple):
    """The texts of a folder in two splits, both in the order of their names.

    Attributes:
        train: files that are trained on.
        validation: files that are held out.
        left_out: files that are no texts, hidden ones and those of other suffixes not counted.
    """

    train: tuple[TextFile, ...]
    validation: tuple[TextFile, ...]
    left_out: int

    @classmethod
    def read(cls, source: Path, suffixes: tuple[str, ...] = (), validation_fraction: float = 0.1) -> "TextFolder":
        """Finds the texts below a folder: files that are not hidden, without a NUL byte in their first 8192.

        Which of them are held out is drawn by their names alone, so a file that is added moves hardly another.

        Args:
            source: the folder.
            suffixes: of the files, such as ``.txt``; empty: any.
            validation_fraction: share of the files that are held out, at least one, not all.

        Raises:
            ConfigError: it is no folder that can be read, or holds fewer than two texts; or the share is none.
        """
        if not source.is_dir():
            raise ConfigError(f"source must be a folder, got '{source}'")
        if not 0 < validation_fraction < 1:
            raise ConfigError(f"validation_fraction must be in (0, 1), got {validation_fraction!r}")
        wrong = [suffix for suffix in suffixes if not suffix.startswith(".")]
        if wrong:
            raise ConfigError(f"suffixes must each begin with a dot, got {wrong[0]!r}")
        texts, left_out = [], 0
        for path in _files(source, suffixes):
            data = path.read_bytes()
            if b"\0" in data[:_SNIFF_BYTES]:
                left_out += 1
                continue
            name = os.fsencode(path.relative_to(source).as_posix())
            texts.append(TextFile(path, name, hashlib.sha256(data).hexdigest(), len(data)))
        if len(texts) < 2:
            raise ConfigError(f"source must hold at least two text files, got '{source}' with {len(texts)}")
        count = min(max(1, round(validation_fraction * len(texts))), len(texts) - 1)
        drawn = sorted(texts, key=lambda text: (hashlib.sha256(text.name).digest(), text.name))
        held_out = {text.name for text in drawn[:count]}
        texts.sort(key=lambda text: text.name)
        train, validation = ([text for text in texts if (text.name in held_out) == out] for out in (False, True))
        return cls(tuple(train), tuple(validation), left_out)

    @property
    def known(self) -> int:
        """How many held-out texts are trained on too, under another name; empty ones not counted."""
        trained = {text.sha256 for text in self.train if text.size}
        return sum(text.sha256 in trained for text in self.validation)

    @property
    def sha256(self) -> str:
        """Of both splits: names and contents."""
        splits = [[[text.name.hex(), text.sha256] for text in split] for split in (self.train, self.validation)]
        return hashlib.sha256(json.dumps(splits).encode()).hexdigest()


def build(folder: TextFolder, data_dir: Path, name: str, *, overwrite: bool = False) -> str:
    """Writes the data set; what is there under its name is either this one, the one before, or this one anew.

    Args:
        folder: the texts.
        data_dir: folder of data sets.
        name: of this one.
        overwrite: whether another one of that name is replaced.

    Returns:
        what was done, in a line.

    Raises:
        ConfigError: the name cannot be one, or is another data set's.
        StudyError: another process builds it, or not all texts were written.
        OSError: the folder cannot be written.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"name must be lower-case letters, digits and underscores, a letter first, got {name!r}")
    if data_dir.exists() and not data_dir.is_dir():
        raise ConfigError(f"data_dir must be a folder, got '{data_dir}'")
    data_dir.mkdir(parents=True, exist_ok=True)
    final = data_dir / name / VERSION
    counts = f"{len(folder.train)} texts to train on and {len(folder.validation)} held out"
    if folder.left_out:
        counts += f" ({folder.left_out} files that are no texts left out)"
    if folder.known:
        counts += f", {folder.known} of which also stand among those to train on"
    with _alone(data_dir, name) as unfinished:
        if (data_dir / name).exists():
            if _digest(final) == folder.sha256 and _is_whole(data_dir, name):
                return f"'{final}' is there already: {counts}"
            if not overwrite and _digest(final) != folder.sha256:
                rule = "new, or --overwrite given"
                raise ConfigError(
                    f"name must be {rule}, got {name!r}, of which '{data_dir / name}' holds another data set"
                )
        _write(folder, unfinished / name / VERSION, name)
        if (data_dir / name).exists():
            # Beside the unfinished one, so that whatever happens next the following command clears it away.
            (data_dir / name).rename(unfinished / "replaced")
        (unfinished / name).rename(data_dir / name)
    train = f"--config.task=tfds --config.task.name={name} --config.task.data_dir={data_dir}"
    return f"'{final}' is built: {counts}; train with {train}"


def _files(source: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error  # a folder that cannot be read would be left out without a word

    for folder, below, names in os.walk(source, onerror=refuse):
        below[:] = sorted(name for name in below if not name.startswith("."))
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            if path.is_file() and (not suffixes or path.suffix in suffixes):
                yield path


def _digest(final: Path) -> str | None:
    """What a finished data set was built of; ``None`` where it is another's or damaged."""
    try:
        return json.loads((final / _METADATA).read_text())["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_whole(data_dir: Path, name: str) -> bool:
    """Whether all files of a finished data set are there with their records."""
    from lrstudy.tasks.tfds.parts import Source
    from lrstudy.tasks.tfds.storage import check_split

    try:
        located = Source(f"{name}:{VERSION}", str(data_dir)).ready()
        for split in ("train", "validation"):
            check_split(located, split, "split")
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _alone(data_dir: Path, name: str) -> Iterator[Path]:
    """A folder for what is not finished, of the one process that may build a data set of this name."""
    lock = os.open(data_dir / f".{name}.lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StudyError(f"another process builds {name!r} in '{data_dir}'") from error
        unfinished = data_dir / f".{name}.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)  # of a process that was killed
        unfinished.mkdir()
        try:
            yield unfinished
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    finally:
        os.close(lock)


def _write(folder: TextFolder, final: Path, name: str) -> None:
    """Writes the data set as TFDS reads it, and counts what was written.

    TFDS' own builders write the features of an example in an order that changes from process to process.

    Raises:
        StudyError: not every text was written.
    """
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict({"path": tfds.features.Text(), "text": tfds.features.Text()})
    final.mkdir(parents=True)
    splits = {"train": folder.train, "validation": folder.validation}
    infos = [_write_split(texts, final, (name, split), features) for split, texts in splits.items()]
    tfds.folder_dataset.write_metadata(
        data_dir=str(final),
        features=features,
        split_infos=infos,
        version=VERSION,
        check_data=False,  # it would be read through TensorFlow
        description="The text files of a folder.",
        metadata=tfds.core.MetadataDict(sha256=folder.sha256),
        disable_shuffling=True,
    )
    builder = tfds.builder_from_directory(str(final))
    for split, texts in splits.items():
        source = builder.as_data_source(split)
        if len(source) != len(texts) or source[len(texts) - 1]["path"] != texts[-1].name:
            raise StudyError(f"not all of the {len(texts)} texts of {split} were written to '{final}'")


def _write_split(texts: tuple[TextFile, ...], final: Path, names: tuple[str, str], features: Any) -> Any:
    """Writes the files of one split; returns its ``tfds.core.SplitInfo``."""
    import tensorflow_datasets as tfds
    from array_record.python import array_record_module
    from tensorflow_datasets.core.example_serializer import ExampleSerializer

    name, split = names
    serializer = ExampleSerializer(features.get_serialized_info())
    shards, weight = _shards(texts), 0
    for number, shard in enumerate(shards):
        path = final / f"{name}-{split}.array_record-{number:05}-of-{len(shards):05}"
        # One record a chunk: the way to read them at random places.
        writer = array_record_module.ArrayRecordWriter(str(path), "group_size:1")
        for text in shard:
            example = features.encode_example({"path": text.name, "text": text.text()})
            record = serializer.get_tf_example(example).SerializeToString(deterministic=True)
            writer.write(record)
            weight += len(record)
        writer.close()
    template = tfds.core.ShardedFileTemplate(
        data_dir=final, dataset_name=name, split=split, filetype_suffix="array_record"
    )
    lengths = [len(shard) for shard in shards]
    return tfds.core.SplitInfo(name=split, shard_lengths=lengths, num_bytes=weight, filename_template=template)


def _shards(texts: tuple[TextFile, ...]) -> list[list[TextFile]]:
    """Texts in a row for every file, each of about ``_SHARD_BYTES``."""
    shards: list[list[TextFile]] = [[]]
    weight = 0
    for text in texts:
        if weight >= _SHARD_BYTES:
            shards.append([])
            weight = 0
        shards[-1].append(text)
        weight += text.size
    return shards
