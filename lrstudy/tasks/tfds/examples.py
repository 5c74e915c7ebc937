"""The examples of one part of a split, any of them at once."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Int

from lrstudy.tasks.shuffling import mixed
from lrstudy.tasks.tfds.catalogue import Located
from lrstudy.tasks.tfds.storage import mean_bytes, source

TENTH = 10
WHOLE, KEPT, HELD_OUT = "whole", "kept", "held out"
_FEW = 64
_MOST, _BATCH_BYTES = 1024, 2**24


@dataclasses.dataclass(frozen=True)
class Places:
    """Which examples of a split belong to a part of it.

    Where a tenth is held out, it is one of every ten examples in a row, and which of the ten, is drawn by a fixed rule:
    in a set that is sorted by class both parts have the same mixture, in one whose classes take turns too.

    Attributes:
        split_size: examples of the split.
        part: all of them, those that are kept when a tenth is held out, or those that are held out.
    """

    split_size: int
    part: str = WHOLE

    def __len__(self) -> int:
        """Examples of the part."""
        held_out = self.split_size // TENTH
        return {WHOLE: self.split_size, KEPT: self.split_size - held_out, HELD_OUT: held_out}[self.part]

    def of(self, examples: Int[np.ndarray, " examples"]) -> Int[np.ndarray, " examples"]:
        """The places in the split of examples of the part, in the same order."""
        if self.part == WHOLE:
            return examples
        if self.part == HELD_OUT:
            return TENTH * examples + _drawn(examples)
        ten, place = np.divmod(examples, TENTH - 1)
        # What is left over at the end of the split is too few to hold one out of.
        whole = ten < self.split_size // TENTH
        return np.where(whole, TENTH * ten + place + (place >= _drawn(ten)), examples + self.split_size // TENTH)


def _drawn(ten: Int[np.ndarray, " tens"]) -> Int[np.ndarray, " tens"]:
    """Which of every ten examples is held out."""
    return (mixed(ten.astype(np.uint32) + np.uint32(1)) % np.uint32(TENTH)).astype(np.int64)


class Examples:
    """The examples of a part, reduced to some of their features; they can be pickled.

    Attributes:
        batch: how many at a time whoever reads them all should ask for, by what they weigh.

    Args:
        located: a prepared data set.
        split: of it.
        places: of the part in the split.
        features: names of those that are read.
        encoded: those of them that are left as the bytes that are stored.
    """

    def __init__(
        self, located: Located, split: str, places: Places, features: Sequence[str], encoded: Sequence[str] = ()
    ) -> None:
        info = located.builder.info
        self._name = f"{info.full_name} {split}"
        self._places = places
        self._source = source(located, split)
        self._features = {name: info.features[name] for name in features}
        self._encoded = tuple(encoded)
        self.batch = max(1, min(_MOST, int(_BATCH_BYTES / mean_bytes(located, split))))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._places)

    def read(self, examples: Int[np.ndarray, " examples"]) -> list[dict[str, Any]]:
        """Examples by their number in the part, feature by feature.

        Raises:
            OSError: a record is damaged.
        """
        places = self._places.of(np.asarray(examples, np.int64)).tolist()
        try:
            # Many at once are read by a pool of threads, which a few are not worth.
            many = self._source.__getitems__(places) if len(places) > _FEW else [self._source[at] for at in places]
        except (RuntimeError, IndexError) as error:
            raise OSError(f"examples of {self._name} cannot be read, a file is damaged: {error}") from error
        # What lies behind the end of a file that was cut off since it was opened is read as nothing.
        nothing = next((place for place, record in zip(places, many, strict=True) if not record), None)
        if nothing is not None:
            raise OSError(f"examples of {self._name} cannot be read, a file is damaged: nothing is at place {nothing}")
        return [self._parse(record) for record in many]

    def _parse(self, record: bytes) -> dict[str, Any]:
        return self._reduced.deserialize_example_np(record, decoders=self._decoders)

    @functools.cached_property
    def _reduced(self) -> Any:
        import tensorflow_datasets as tfds

        return tfds.features.FeaturesDict(self._features)

    @functools.cached_property
    def _decoders(self) -> Any:
        import tensorflow_datasets as tfds

        return {name: tfds.decode.SkipDecoding() for name in self._encoded}

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in ("_reduced", "_decoders")}
