"""How texts become tokens: bytes, or the pieces of a SentencePiece model, with a token at every text's end."""

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Integer

BYTES = "bytes"
_SMALL = 2**16


@runtime_checkable
class Tokenizer(Protocol):
    """Makes tokens of texts; it can be pickled.

    Attributes:
        vocabulary: tokens are below it.
        end: the token that ends a text.
        sha256: of what decides about the tokens.
    """

    vocabulary: int
    end: int
    sha256: str

    def encode(self, texts: Sequence[bytes]) -> list[Integer[np.ndarray, " tokens"]]:
        """The tokens of every text, the one that ends it included."""
        ...


def token_type(tokenizer: Tokenizer) -> type[np.unsignedinteger[Any]]:
    """The least type that tokens fit into."""
    return np.uint16 if tokenizer.vocabulary <= _SMALL else np.uint32


def tokenizer_of(name: str) -> Tokenizer:
    """The tokenizer of a name.

    Args:
        name: ``bytes``, or the path of a SentencePiece model.

    Raises:
        ValueError: it is neither.
    """
    if name == BYTES:
        return ByteTokens()
    rule = "bytes, or the path of a SentencePiece model"
    try:
        model = Path(name).expanduser().read_bytes() if name else b""
    except (OSError, RuntimeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"task.tokenizer must be {rule}, got {name!r}: {reason}") from error
    if not model:
        raise ValueError(f"task.tokenizer must be {rule}, got {name!r}, which is empty")
    try:
        return _pieces(model)
    except (RuntimeError, OSError, TypeError) as error:
        raise ValueError(f"task.tokenizer must be {rule}, got {name!r}, which is none") from error
    except ValueError as error:
        raise ValueError(f"task.tokenizer must be {rule}, got {name!r}, which has no {error}") from error


class ByteTokens:
    """The 256 bytes, and one more token for the end of a text."""

    vocabulary = 257
    end = 256
    sha256 = hashlib.sha256(b"bytes, and 256 at the end").hexdigest()

    def encode(self, texts: Sequence[bytes]) -> list[Integer[np.ndarray, " tokens"]]:
        """The bytes, uint16."""
        found = []
        for text in texts:
            tokens = np.empty(len(text) + 1, np.uint16)
            tokens[:-1] = np.frombuffer(text, np.uint8)
            tokens[-1] = self.end
            found.append(tokens)
        return found


class PieceTokens:
    """The pieces of a SentencePiece model, and its own end of a sentence at the end of a text.

    Bytes that are not UTF-8 become the replacement character.

    Args:
        model: the bytes of the model's file.

    Raises:
        RuntimeError: they are none.
        ValueError: the model has no end of a sentence.
    """

    def __init__(self, model: bytes) -> None:
        self._model = model
        self.sha256 = hashlib.sha256(model).hexdigest()
        processor = self._processor
        self.vocabulary = int(processor.vocab_size())
        self.end = int(processor.eos_id())
        if self.end < 0:
            raise ValueError("piece that ends a sentence (eos_id)")

    @functools.cached_property
    def _processor(self) -> Any:
        import sentencepiece

        processor = sentencepiece.SentencePieceProcessor()
        processor.LoadFromSerializedProto(self._model)
        return processor

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_processor"}

    def encode(self, texts: Sequence[bytes]) -> list[Integer[np.ndarray, " tokens"]]:
        """The pieces, uint16 where they fit and uint32 else."""
        kind = token_type(self)
        pieces = self._processor.encode([text.decode(errors="replace") for text in texts], num_threads=1)
        return [np.asarray([*own, self.end], kind) for own in pieces]


@functools.lru_cache(maxsize=4)
def _pieces(model: bytes) -> PieceTokens:
    """One tokenizer for every time that a plan asks for it."""
    return PieceTokens(model)
