"""The files of a prepared data set: whether they are all there, what identifies them, and their records."""

import functools
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

from lrstudy.tasks.tfds.catalogue import Located, how_to_prepare

_DECLARATIONS = ("dataset_info.json", "features.json", "metadata.json")
FORMAT = "array_record"
_END_BYTES = 2**18


def check_format(located: Located) -> None:
    """Refuses a data set that is not stored for random access.

    Raises:
        ValueError: it is not; the message says how it is made so.
    """
    formats = sorted(each.value for each in located.builder.info.available_file_formats())
    if FORMAT in formats:
        return
    stored = " and ".join(formats) or "nothing that TFDS knows"
    if "parquet" in formats:
        reason = "TFDS 4.9 loses rows when it writes parquet"
        fix = f"remove '{located.folder}' and {how_to_prepare(located)}"
    else:
        reason = "it cannot be read at random places without TensorFlow"
        folder = located.folder
        fix = (
            f"convert it with: tfds convert_format --dataset_version_dir={folder} --out_file_format={FORMAT} "
            "--out_dir=OUT (which needs TensorFlow), OUT ending in the same folders, or remove it and "
            f"{how_to_prepare(located)}"
        )
    rule = f"a data set stored as {FORMAT}"
    raise ValueError(f"task.name must be {rule}, got {located.name!r} stored as {stored}: {reason}; {fix}")


def check_split(located: Located, split: str, field: str) -> int:
    """The number of examples of a split, every shard of which is there with the records that are declared of it.

    Args:
        located: a prepared data set.
        split: as TFDS writes it, such as ``train`` or ``train[:10%]``.
        field: what an error calls it.

    Raises:
        ValueError: there is no such split, it has no examples, or one of its files is missing or damaged.
    """
    splits = located.builder.info.splits
    try:
        chosen = splits[split]
        instructions, count = chosen.file_instructions, int(chosen.num_examples)
    except (KeyError, ValueError) as error:
        names = sorted(splits)
        raise ValueError(
            f"{field} must be one of {names}, or a slice such as {names[0]}[:10%], got {split!r}"
        ) from error
    if count < 1:
        raise ValueError(f"{field} must have an example, got {split!r} of {located.full_name} with none")
    for each in instructions:
        _check_shard(located, Path(each.filename), each.examples_in_shard)
    if len(source(located, split)) != count:
        raise ValueError(f"{field} must have the {count} examples that are declared, got {split!r}")
    return count


def source(located: Located, split: str) -> Any:
    """The serialized examples of a split, by their places; it can be pickled."""
    from tensorflow_datasets.core import decode

    raw = decode.DeserializeMethod.RAW_BYTES
    return located.builder.as_data_source(split, deserialize_method=raw, file_format=FORMAT)


def mean_bytes(located: Located, split: str) -> float:
    """What a record of a split weighs in its files."""
    instructions = located.builder.info.splits[split].file_instructions
    sizes = sum(Path(each.filename).stat().st_size for each in instructions)
    return sizes / max(1, sum(each.examples_in_shard for each in instructions))


def identity(located: Located, splits: Collection[str]) -> str:
    """sha256 of what identifies the data of some splits of a prepared data set.

    It is of what the data set declares (features, splits, files and their sizes) and of both ends of every file: all of
    a large one would take longer to read than to plan with, and two builds of a builder that was changed in between may
    declare the same.
    """
    digest = hashlib.sha256()
    for name in _DECLARATIONS:
        path = located.folder / name
        if path.is_file():
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    files = {str(each.filename) for split in splits for each in located.builder.info.splits[split].file_instructions}
    for name in sorted(files):
        status = Path(name).stat()
        digest.update(
            f"{Path(name).name} {status.st_size} {_ends(name, status.st_size, status.st_mtime_ns)}\0".encode()
        )
    return digest.hexdigest()


@functools.lru_cache(maxsize=65536)
def _ends(path: str, size: int, changed: int) -> str:
    """sha256 of both ends of a file of this size and time of change."""
    del changed
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        digest.update(file.read(_END_BYTES))
        file.seek(max(_END_BYTES, size - _END_BYTES))
        digest.update(file.read())
    return digest.hexdigest()


def _check_shard(located: Located, path: Path, declared: int) -> None:
    again = f"restore it, or remove '{located.folder}' and prepare the data set again"
    rule = f"a data set whose files are whole, got {located.name!r}"
    if not path.is_file():
        raise ValueError(f"task.name must be {rule}: '{path}' is missing; {again}")
    status = path.stat()
    records = _records(str(path), status.st_size, status.st_mtime_ns)
    if records != declared:
        found = "cannot be read, it is truncated or damaged" if records is None else f"has {records} records"
        raise ValueError(
            f"task.name must be {rule}: '{path}' of {status.st_size} bytes {found}, {declared} are declared; {again}"
        )


@functools.lru_cache(maxsize=65536)
def _records(path: str, size: int, changed: int) -> int | None:
    """The records of a file of this size and time of change; ``None`` where it cannot be opened."""
    del size, changed
    from array_record.python import array_record_module

    try:
        reader = array_record_module.ArrayRecordReader(path)
        records = reader.num_records()
        reader.close()
    except RuntimeError:
        return None
    return records
