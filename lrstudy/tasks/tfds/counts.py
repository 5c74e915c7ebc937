"""How many tokens every example has: counted once, and kept under the user's cache folder."""

import functools
import hashlib
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt32

from lrstudy.tasks.tfds.examples import Examples
from lrstudy.tasks.tfds.tokens import Tokenizer

_DIGEST_BYTES = 32
_SAID_EVERY_SECONDS = 10.0
_SECTION = 2**18


class Counts:
    """The tokens of every example of a part, uint32; pickled as the path of a file where they are in one.

    Args:
        values: in memory, or mapped from the file.
        path: of the file; ``None``: there is none.
    """

    def __init__(self, values: UInt32[np.ndarray, " examples"], path: Path | None = None) -> None:
        self.values, self._path = values, path

    @property
    def where(self) -> str:
        """The file, for errors."""
        return f"'{self._path}'" if self._path else "nothing"

    def __reduce__(self) -> tuple[Any, ...]:
        return (Counts, (self.values,)) if self._path is None else (_mapped_counts, (self._path, len(self.values)))


def counts_of(examples: Examples, feature: str, tokenizer: Tokenizer, identity: str, what: str) -> Counts:
    """The counts, from the cache where they are there and whole.

    Args:
        examples: of the part.
        feature: that holds the text.
        tokenizer: of the text.
        identity: of the data set, its split and the part of it.
        what: is counted, for the bar.

    Raises:
        OSError: a record is damaged.
    """
    asked = "\0".join((identity, feature, tokenizer.sha256, str(len(examples))))
    path = _cache_folder() / f"{hashlib.sha256(asked.encode()).hexdigest()[:32]}.counts"
    if _is_whole(path, len(examples)):
        return _mapped_counts(path, len(examples))
    values = np.empty(len(examples), np.uint32)
    with _bar(len(examples), what) as bar:
        sections = [
            _section(examples, feature, tokenizer, (path, start), values, bar)
            for start in range(0, len(examples), _SECTION)
        ]
    if not _kept(path, values):
        return Counts(values)  # a cache that cannot be written costs time, and nothing else
    for section in sections:
        section.unlink(missing_ok=True)
    return _mapped_counts(path, len(examples))


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrstudy" / "tfds"


def _mapped_counts(path: Path, examples: int) -> Counts:
    return Counts(np.memmap(path, "<u4", "r", _DIGEST_BYTES, (examples,)), path)


def _is_whole(path: Path, examples: int) -> bool:
    """Whether a file holds the counts that were written into it."""
    if not path.is_file():
        return False
    status = path.stat()
    return status.st_size == _DIGEST_BYTES + 4 * examples and _is_intact(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=1024)
def _is_intact(path: Path, size: int, changed: int) -> bool:
    """Whether a file of this size and time of change has the digest that it begins with."""
    del size, changed
    with path.open("rb") as file:
        digest = file.read(_DIGEST_BYTES)
        return hashlib.file_digest(file, "sha256").digest() == digest


def _kept(path: Path, values: UInt32[np.ndarray, " examples"]) -> bool:
    """Writes counts behind their digest, whole or not at all; whether that could be done."""
    data = values.astype("<u4").tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
            temporary = Path(file.name)
            try:
                file.write(hashlib.sha256(data).digest())
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _bar(examples: int, what: str) -> Any:
    from tqdm import tqdm

    often = 0.1 if sys.stderr.isatty() else _SAID_EVERY_SECONDS
    # What takes a moment needs no bar.
    return tqdm(total=examples, desc=f"tokens of {what}", unit="examples", delay=1.0, mininterval=often)


def _section(
    examples: Examples,
    feature: str,
    tokenizer: Tokenizer,
    place: tuple[Path, int],
    values: UInt32[np.ndarray, " examples"],
    bar: Any,
) -> Path:
    """Counts the examples from a place on, so many that a count which is stopped loses seconds; returns their file."""
    path, first = place
    last = min(first + _SECTION, len(examples))
    own = path.with_suffix(f".{first}")
    if _is_whole(own, last - first):
        values[first:last] = _mapped_counts(own, last - first).values
        bar.update(last - first)
        return own
    for start in range(first, last, examples.batch):
        stop = min(start + examples.batch, last)
        read = examples.read(np.arange(start, stop))
        values[start:stop] = [len(tokens) for tokens in tokenizer.encode([example[feature] for example in read])]
        bar.update(stop - start)
    if len(examples) > _SECTION:
        _kept(own, values[first:last])
    return own
