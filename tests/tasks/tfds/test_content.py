import numpy as np
import pytest
import tensorflow_datasets as tfds

from lrstudy.tasks.tfds.content import ImageContent, TextContent, content_of

TEXT, LABEL = tfds.features.Text(), tfds.features.ClassLabel(num_classes=3)
IMAGE, PIXELS = tfds.features.Image(shape=(5, 6, 1)), tfds.features.Tensor(shape=(7, 7), dtype=np.uint8)
SCALAR = tfds.features.Scalar(np.float32)


@pytest.mark.parametrize(
    ("features", "asked", "expected"),
    [
        ({"story": TEXT, "score": SCALAR}, ("", ""), TextContent("story")),
        ({"text": TEXT, "url": TEXT}, ("", ""), TextContent("text")),
        ({"text": TEXT, "url": TEXT}, ("url", ""), TextContent("url")),
        ({"text": TEXT, "label": LABEL}, ("", ""), TextContent("text")),
        ({"picture": IMAGE, "kind": LABEL}, ("", ""), ImageContent("picture", "kind", 3, (5, 6, 1), True)),
        ({"picture": PIXELS, "kind": LABEL}, ("", ""), ImageContent("picture", "kind", 3, (7, 7, 1), False)),
        ({"image": IMAGE, "label": LABEL, "file": TEXT}, ("", ""), ImageContent("image", "label", 3, (5, 6, 1), True)),
        ({"image": IMAGE, "label": LABEL, "file": TEXT}, ("file", ""), TextContent("file")),
        (
            {"image": IMAGE, "mask": IMAGE, "label": LABEL},
            ("mask", ""),
            ImageContent("mask", "label", 3, (5, 6, 1), True),
        ),
        ({"image": IMAGE, "label": LABEL, "odd": LABEL}, ("", "odd"), ImageContent("image", "odd", 3, (5, 6, 1), True)),
        ({"image": IMAGE, "caption": TEXT}, ("", ""), TextContent("caption")),
    ],
)
def test_the_feature_that_fits_is_found(features, asked, expected):
    assert content_of("set", tfds.features.FeaturesDict(features), *asked) == expected


@pytest.mark.parametrize(
    ("features", "asked", "message"),
    [
        (
            {"score": SCALAR},
            ("", ""),
            r"task\.name must be a data set with a text, or an image of bytes, .*\['score'\]",
        ),
        ({"a": TEXT, "b": TEXT}, ("", ""), r"task\.feature must be one of \['a', 'b'\], got ''"),
        ({"story": TEXT}, ("stroy", ""), r"task\.feature must be one of \['story'\] \(nearest: 'story'\), got 'stroy'"),
        ({"a": IMAGE, "b": IMAGE, "label": LABEL}, ("", ""), r"task\.feature must be one of \['a', 'b'\], got ''"),
        ({"image": IMAGE, "a": LABEL, "b": LABEL}, ("", ""), r"task\.label must be one of \['a', 'b'\], got ''"),
        ({"image": IMAGE, "a": LABEL}, ("", "b"), r"task\.label must be one of \['a'\], got 'b'"),
        ({"text": TEXT}, ("", "b"), r"task\.label must be left out where a text is learnt, here 'text', got 'b'"),
        ({"image": IMAGE}, ("", ""), r"task\.name must be a data set whose images have a class label, got 'set'"),
    ],
)
def test_what_does_not_fit_is_refused_with_what_there_is(features, asked, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        content_of("set", tfds.features.FeaturesDict(features), *asked)


def test_floating_or_deep_images_are_no_images_of_bytes():
    features = {
        "depth": tfds.features.Tensor(shape=(5, 5), dtype=np.float32),
        "four": tfds.features.Image(shape=(5, 5, 4)),
        "large": tfds.features.Image(shape=(5, 5, 1), dtype=np.uint16),
        "label": LABEL,
    }
    with pytest.raises(ValueError, match="or an image of bytes"):
        content_of("set", tfds.features.FeaturesDict(features), "", "")
