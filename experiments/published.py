"""The data that papers trained on, as tasks of their ``paper`` presets: TFDS has them, this repository does not."""

from lrstudy.study.choices import Choice, choice

C4, LM1B, WIKIPEDIA = "c4/en", "lm1b", "wiki40b/en"
CIFAR10, IMAGENET, MNIST = "cifar10", "imagenet2012", "mnist"
_VALIDATION = {C4: "validation", LM1B: "test", WIKIPEDIA: "validation", CIFAR10: "test", IMAGENET: "validation"}
_VALIDATION[MNIST] = "test"
_NO_FIELDS = ("standardised",)
"""Of the tasks that stand in for a data set: what it has not."""


def published(stand_in: Choice, name: str, **fields: object) -> Choice:
    """The task of a data set, where a preset names one, or what stands in for it.

    Args:
        stand_in: the task of the other presets; what it says of batches, context and evaluations holds for both.
        name: of a data set in this file; empty: none.
        fields: further ones of the data set's task.
    """
    if not name:
        return stand_in
    shared = {key: value for key, value in stand_in.arguments.items() if key not in _NO_FIELDS}
    return choice("task", "tfds", name=name, validation_split=_VALIDATION[name], **{**shared, **fields})
