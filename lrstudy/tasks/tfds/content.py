"""What of a data set is learnt from: which of its features is the text, or which are the image and its label."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from lrstudy.schedules.checks import one_of


class TextContent(NamedTuple):
    """A data set of texts.

    Attributes:
        feature: that holds the text.
    """

    feature: str


class ImageContent(NamedTuple):
    """A data set of labelled images.

    Attributes:
        feature: that holds the image.
        label: that holds the label.
        classes: labels are below it.
        shape: lines, columns and channels; ``None`` where they vary.
        encoded: whether images are stored as PNG or JPEG, and not as numbers.
    """

    feature: str
    label: str
    classes: int
    shape: tuple[int | None, int | None, int]
    encoded: bool


def content_of(located_name: str, features: Any, feature: str, label: str) -> TextContent | ImageContent:
    """Reads the features of a data set.

    Args:
        located_name: of the data set, for errors.
        features: its ``tfds.features.FeaturesDict``.
        feature: the text or image that is meant; empty: the only image with a label, else the only text, and of several
            the one that is called ``image`` or ``text``.
        label: of images; empty: the only one, or the one that is called ``label``.

    Raises:
        ValueError: no feature fits, or several do.
    """
    named: Mapping[str, Any] = dict(features.items()) if hasattr(features, "items") else {}
    images, texts, labels = (
        {k: v for k, v in named.items() if fits(v)} for fits in (_is_image, _is_text, _is_class_label)
    )
    fitting = {**images, **texts}
    if not fitting:
        rule = "a data set with a text, or an image of bytes, among its features"
        raise ValueError(f"task.name must be {rule}, got {located_name!r} with {sorted(named)}")
    if feature and feature not in fitting:
        raise ValueError(f"task.feature must be {one_of(sorted(fitting), feature)}, got {feature!r}")
    # Of images without a label nothing can be learnt here, of the names of image files neither.
    kind, usual = (images, "image") if images and (labels or not texts) else (texts, "text")
    chosen = feature or _only("feature", kind, usual)
    if chosen in texts:
        if label:
            raise ValueError(f"task.label must be left out where a text is learnt, here {chosen!r}, got {label!r}")
        return TextContent(chosen)
    if label and label not in labels:
        raise ValueError(f"task.label must be {one_of(sorted(labels), label)}, got {label!r}")
    if not labels:
        raise ValueError(f"task.name must be a data set whose images have a class label, got {located_name!r}")
    target = label or _only("label", labels, "label")
    return ImageContent(
        chosen, target, int(labels[target].num_classes), _shape(images[chosen]), encoded=_is_encoded(images[chosen])
    )


def _only(field: str, fitting: Collection[str], usual: str) -> str:
    if len(fitting) == 1:
        return next(iter(fitting))
    if usual in fitting:
        return usual
    raise ValueError(f"task.{field} must be {one_of(sorted(fitting))}, got ''")


def _is_text(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Text)


def _is_class_label(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.ClassLabel) and bool(feature.num_classes)


def _is_encoded(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.Image)


def _is_image(feature: Any) -> bool:
    """An ``Image`` or a tensor of bytes, of two axes or three, of which the last are one or three channels."""
    import numpy as np
    import tensorflow_datasets as tfds

    if type(feature) not in (tfds.features.Image, tfds.features.Tensor) or feature.np_dtype != np.uint8:
        return False
    shape = feature.shape
    if _is_encoded(feature):
        return len(shape) == 3 and shape[2] in (1, 3)
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def _shape(feature: Any) -> tuple[int | None, int | None, int]:
    lines, columns, *channels = feature.shape
    return lines, columns, channels[0] if channels else 1
