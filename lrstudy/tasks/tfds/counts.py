"""How many tokens every example has: counted once, and kept under the user's cache folder."""

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


class Counts:
    """The tokens of every example of a part, uint32; pickled as the path of a file where they are in one.

    Args:
        values: in memory, or mapped from the file.
        path: of the file; ``None``: there is none.
    """

    def __init__(self, values: UInt32[np.ndarray, " examples"], path: Path | None = None) -> None:
        self.values, self._path = values, path

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
    values = _count(examples, feature, tokenizer, what)
    try:
        _keep(path, values)
    except OSError:
        return Counts(values)  # a cache that cannot be written costs time, and nothing else
    return _mapped_counts(path, len(examples))


def _cache_folder() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lrstudy" / "tfds"


def _mapped_counts(path: Path, examples: int) -> Counts:
    return Counts(np.memmap(path, "<u4", "r", _DIGEST_BYTES, (examples,)), path)


def _is_whole(path: Path, examples: int) -> bool:
    """Whether a file holds the counts that were written into it."""
    if not path.is_file() or path.stat().st_size != _DIGEST_BYTES + 4 * examples:
        return False
    with path.open("rb") as file:
        digest = file.read(_DIGEST_BYTES)
        return hashlib.file_digest(file, "sha256").digest() == digest


def _keep(path: Path, values: UInt32[np.ndarray, " examples"]) -> None:
    """Writes counts behind their digest, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = values.astype("<u4").tobytes()
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


def _count(examples: Examples, feature: str, tokenizer: Tokenizer, what: str) -> UInt32[np.ndarray, " examples"]:
    from tqdm import tqdm

    found = np.empty(len(examples), np.uint32)
    often = 0.1 if sys.stderr.isatty() else _SAID_EVERY_SECONDS
    # What takes a moment needs no bar.
    with tqdm(total=len(examples), desc=f"tokens of {what}", unit="examples", delay=1.0, mininterval=often) as bar:
        for start in range(0, len(examples), examples.batch):
            stop = min(start + examples.batch, len(examples))
            read = examples.read(np.arange(start, stop))
            tokens = tokenizer.encode([example[feature] for example in read])
            found[start:stop] = [len(own) for own in tokens]
            bar.update(stop - start)
    return found
