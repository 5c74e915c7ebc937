"""Images of a data set as square arrays of bytes."""

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Int32, UInt8

from lrstudy.tasks.tfds.content import ImageContent
from lrstudy.tasks.tfds.examples import Examples

LEAST_SIDE, MOST_SIDE = 4, 4096
_MODES = {1: "L", 3: "RGB"}


def side_of(content: ImageContent, side: int) -> int:
    """Lines and columns of the images that are trained on.

    Args:
        content: what the images are.
        side: that was asked for; 0: their own.

    Raises:
        ValueError: they have none of their own.
    """
    lines, columns, _ = content.shape
    if side:
        return side
    if lines is None or lines != columns:
        size = f"{lines or 'any'} x {columns or 'any'}"
        rule = f"in [{LEAST_SIDE}, {MOST_SIDE}] where images are not all square and of one size ({size})"
        raise ValueError(f"task.side must be {rule}, got {side!r}")
    return lines


class Images(NamedTuple):
    """The labelled images of a part; they can be pickled.

    Attributes:
        examples: of the part.
        content: what they are.
        side: lines and columns that they are given.
    """

    examples: Examples
    content: ImageContent
    side: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an image: lines, columns, channels."""
        return self.side, self.side, self.content.shape[2]

    def rows(
        self, examples: Int[np.ndarray, " examples"]
    ) -> tuple[UInt8[np.ndarray, "examples side side channels"], Int32[np.ndarray, " examples"]]:
        """Images and labels.

        Raises:
            OSError: a record is damaged, its image is none, or its label none of the classes.
        """
        read = self.examples.read(examples)
        images = np.empty((len(read), *self.shape), np.uint8)
        for place, example in enumerate(read):
            images[place] = self._image(example[self.content.feature])
        labels = np.asarray([example[self.content.label] for example in read], np.int32).reshape(len(read))
        if not self._are_classes(labels):
            rule = f"in [0, {self.content.classes})"
            raise OSError(
                f"labels of the feature {self.content.label!r} must be {rule}, got {sorted(set(labels.tolist()))}"
            )
        return images, labels

    def all(self) -> tuple[UInt8[np.ndarray, "examples side side channels"], Int32[np.ndarray, " examples"]]:
        """All of them, in order."""
        images = np.empty((len(self.examples), *self.shape), np.uint8)
        labels = np.empty(len(self.examples), np.int32)
        for start in range(0, len(labels), self.examples.batch):
            own = np.arange(start, min(start + self.examples.batch, len(labels)))
            images[own], labels[own] = self.rows(own)
        return images, labels

    def check_labels(self, split: str, field: str) -> None:
        """Refuses a part without labels, as test sets of competitions are, by its first and its last example.

        Args:
            split: that the part belongs to.
            field: what an error calls it.

        Raises:
            ValueError: one of the two has none.
        """
        ends = self.examples.read(np.unique([0, len(self.examples) - 1]))
        labels = np.asarray([example[self.content.label] for example in ends])
        if not self._are_classes(labels):
            rule = f"a split whose labels are in [0, {self.content.classes})"
            raise ValueError(f"task.{field} must be {rule}, got {split!r} with {labels.tolist()}")

    def _are_classes(self, labels: Int[np.ndarray, " examples"]) -> bool:
        return bool(((labels >= 0) & (labels < self.content.classes)).all())

    def _image(self, stored: Any) -> UInt8[np.ndarray, "side side channels"]:
        from PIL import Image, UnidentifiedImageError

        channels = self.content.shape[2]
        if not self.content.encoded:
            image = np.asarray(stored, np.uint8).reshape(*np.shape(stored)[:2], channels)
            if image.shape[:2] == (self.side, self.side):
                return image
            decoded = Image.fromarray(image[..., 0] if channels == 1 else image)
        else:
            try:
                # Decoded here, and not by TFDS, whose pixels are another's where OpenCV happens to be installed, and
                # which leaves a grey JPEG of a set of coloured ones as it is.
                decoded = Image.open(io.BytesIO(stored)).convert(_MODES[channels])
            except (UnidentifiedImageError, OSError) as error:
                raise OSError(f"an image of the feature {self.content.feature!r} cannot be decoded: {error}") from error
        return np.asarray(_square(decoded, self.side), np.uint8).reshape(self.shape)


def _square(image: Any, side: int) -> Any:
    """The middle of an image whose shorter side was resized to ``side``."""
    from PIL import Image

    width, height = image.size
    if (width, height) == (side, side):
        return image
    # In one pass: what falls outside of the middle is not resampled.
    short = min(width, height)
    left, top = (width - short) / 2, (height - short) / 2
    return image.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short))


def encoded_features(content: ImageContent) -> Sequence[str]:
    """Features whose stored bytes are wanted."""
    return [content.feature] if content.encoded else []
