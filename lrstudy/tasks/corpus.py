"""Bytes of any file or folder, cut into a fixed training and validation part."""

import dataclasses
import functools
import hashlib
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

STANDARD_LIBRARY = "stdlib"
CODE = "stdlib_code"
TOPICS = "topics"
NAMED = (STANDARD_LIBRARY, CODE, TOPICS)
BLOCK_BYTES = 4096
BLOCKS_PER_VALIDATION_BLOCK = 10
MAX_BYTES = 2**31 - 1
_SNIFF_BYTES = 8192
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idlelib", "__pycache__"}


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text in two parts.

    Attributes:
        train: bytes to learn from.
        validation: bytes that are never trained on.
        sha256: digest of the whole text.
    """

    train: UInt8[np.ndarray, " train"]
    validation: UInt8[np.ndarray, " validation"]
    sha256: str

    @property
    def size(self) -> int:
        """Bytes of both parts."""
        return self.train.size + self.validation.size


def _standard_library_files(left_out: frozenset[str] = frozenset()) -> Iterator[Path]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        if not (_LEFT_OUT | left_out).intersection(path.relative_to(root).parts):
            yield path


def _topics() -> bytes:
    """The texts behind ``help()``: the chapters of Python's language reference, as plain English."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name] for name in sorted(topics)).encode()


def _folder_files(root: Path) -> Iterator[Path]:
    """Text files below a folder in the order of their names.

    Left out are hidden ones and those with a NUL byte among their first 8192, which no text has.
    """
    for path in sorted(root.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(root).parts)
        if path.is_file() and not hidden:
            with path.open("rb") as file:
                if b"\0" not in file.read(_SNIFF_BYTES):
                    yield path


def _files(path: str) -> Iterator[Path]:
    if path == STANDARD_LIBRARY:
        yield from _standard_library_files()
    elif path == CODE:
        yield from _standard_library_files(frozenset({"pydoc_data"}))
    elif Path(path).expanduser().is_dir():
        yield from _folder_files(Path(path).expanduser())
    else:
        yield Path(path).expanduser()


def _read(path: str, field: str) -> bytes:
    if not path:
        raise ValueError(f"{field} must be a file, a folder, or one of {', '.join(NAMED)}, got ''")
    if path == TOPICS:
        return _topics()
    try:
        path.encode()  # records are UTF-8, and hold the path
        return b"\n".join(file.read_bytes() for file in _files(path))
    except (OSError, ValueError, RuntimeError) as error:
        # A name that no file can have is a ValueError, an unknown user's home a RuntimeError.
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{field} must be a readable file or folder, got {path!r}: {reason}") from error


@functools.cache
def read(path: str, field: str = "task.path") -> Corpus:
    """Reads a text and splits it: every tenth block of 4096 bytes (fewer for a short text) is for validation.

    A block split gives both parts the same mixture of files, which a cut at one place would not.

    Args:
        path: a file, a folder (all its text files, in the order of their names) or one of three texts that come with
            every Python: ``stdlib``, the source of the standard library without its tests; ``topics``, the English of
            its language reference (0.5 to 0.7 MB); ``stdlib_code``, ``stdlib`` without the files that hold ``topics``.
            What they say depends on the Python version.
        field: what an error calls the path.

    Raises:
        ValueError: unreadable, empty or too large.
    """
    text = np.frombuffer(_read(path, field), dtype=np.uint8)
    if not BLOCKS_PER_VALIDATION_BLOCK <= text.size <= MAX_BYTES:
        rule = f"a text of {BLOCKS_PER_VALIDATION_BLOCK} to {MAX_BYTES} bytes"
        raise ValueError(f"{field} must be {rule}, got {path!r} of {text.size} bytes")
    block = min(BLOCK_BYTES, text.size // BLOCKS_PER_VALIDATION_BLOCK)
    is_validation = np.arange(text.size) // block % BLOCKS_PER_VALIDATION_BLOCK
    held_out = is_validation == BLOCKS_PER_VALIDATION_BLOCK - 1
    return Corpus(text[~held_out], text[held_out], hashlib.sha256(text.tobytes()).hexdigest())
