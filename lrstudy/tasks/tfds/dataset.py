"""The task of any TFDS data set: of its texts or its images, whichever it has."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Array, Float, Int, Key

from lrstudy.tasks.ahead import Reader
from lrstudy.tasks.base import Batch, Data, Metrics, Params, Task
from lrstudy.tasks.tfds.content import TextContent
from lrstudy.tasks.tfds.feeding import AUTO, check_input
from lrstudy.tasks.tfds.image_dataset import ImageDataset
from lrstudy.tasks.tfds.parts import Source
from lrstudy.tasks.tfds.text_dataset import TextDataset
from lrstudy.tasks.tfds.tokens import BYTES, tokenizer_of


class _FittingModels:
    """Names of the models of texts and of images; of a task, which has a data set, those of what that holds."""

    def __get__(self, task: "TensorflowDataset | None", owner: type) -> tuple[str, ...]:
        if task is None:
            return (*TextDataset.model_names, *ImageDataset.model_names)
        return task.own().model_names


class TensorflowDataset(Task):
    """Next-token prediction over a data set of texts, or classification of one of images, read without TensorFlow.

    Attributes:
        name: as TFDS spells it, ``name[/config][:version]``: prepared below ``data_dir``, or of the catalogue.
        data_dir: folder of prepared data sets; empty: TFDS' own default.
        split: that is trained on, such as ``train`` or ``train[:10%]``.
        validation_split: that is evaluated with; empty: a tenth of the examples of ``split``, which are held out.
        feature: the text or image; empty: the only one that fits, of several the one called ``image`` or ``text``.
        label: of images; empty: the only one that fits.
        tokenizer: of texts: ``bytes``, or the path of a SentencePiece model.
        context: of texts: positions of a window.
        batch_size: windows or images a step.
        validation_windows: of texts: windows, evenly spaced over the validation part, that an evaluation averages over.
        validation_examples: of images, likewise.
        side: of images: lines and columns that they are brought to; 0: their own.
        input: ``memory``: the training data are loaded; ``stream``: batches are read ahead while the device trains;
            ``auto``: loaded up to 1 GiB.
        z_loss: of texts: factor of the mean of log(Z)^2 in the trained loss, see ``TokenWindows``.
        diagnostics: of texts: whether an evaluation measures the logits too.
    """

    model_names: ClassVar[tuple[str, ...]] = _FittingModels()  # pyright: ignore[reportAssignmentType]
    objective = "validation_loss"
    of_examples = True

    name: str
    data_dir: str = ""
    split: str = "train"
    validation_split: str = ""
    feature: str = ""
    label: str = ""
    tokenizer: str = BYTES
    context: int = 64
    batch_size: int = 16
    validation_windows: int = 256
    validation_examples: int = 1000
    side: int = 0
    input: str = AUTO
    z_loss: float = 0.0
    diagnostics: bool = False

    def __post_init__(self) -> None:
        """Checks the fields, and that there is such a data set with something to learn from.

        Raises:
            ValueError: a field is out of range, or there is none.
        """
        check_input(self.input)
        self.check_least(context=1, batch_size=1, validation_windows=1, validation_examples=1)
        tokenizer_of(self.tokenizer)
        self.own()

    def own(self) -> TextDataset | ImageDataset:
        """The task of the texts, or of the images.

        Raises:
            ValueError: there is no such data set, or nothing in it to learn from.
        """
        source = Source(self.name, self.data_dir, self.split, self.validation_split, self.feature, self.label)
        shared = {"source": source, "batch_size": self.batch_size, "input": self.input, "model": self.model}
        if isinstance(source.content(), TextContent):
            shared |= {"context": self.context, "validation_windows": self.validation_windows}
            return TextDataset(tokenizer=self.tokenizer, z_loss=self.z_loss, diagnostics=self.diagnostics, **shared)
        return ImageDataset(validation_examples=self.validation_examples, side=self.side, **shared)

    def model_arguments(self) -> Mapping[str, Any]:
        """Tokens and context, or a score a class."""
        return self.own().model_arguments()

    def facts(self) -> Mapping[str, Any]:
        """Which data set it is, its size, and whether it is not prepared.

        Raises:
            ValueError: there is none, a file of it is missing or damaged, or it is too small.
        """
        return self.own().facts()

    def check_ready(self) -> None:
        """Refuses a data set that is not prepared.

        Raises:
            ValueError: it is not; the message says how that is done.
        """
        self.own().check_ready()

    def load(self) -> Data:
        """Validation data, and in memory the training data, as ``TextDataset`` or ``ImageDataset`` loads them.

        Raises:
            ValueError: the data set is not prepared, is damaged or is too small.
        """
        return self.own().load()

    def abstract_data(self) -> Data:
        """Shapes of what ``batch`` and ``evaluate`` are given, also of a data set that is not prepared."""
        return self.own().abstract_data()

    def reader(self) -> Reader | None:
        """Reads batches at random places, unless the training data are loaded.

        Raises:
            ValueError: as ``load``.
        """
        return self.own().reader()

    def tokens_per_step(self) -> int:
        """Predicted tokens, or images, of a batch."""
        return self.own().tokens_per_step()

    def init(self, key: Key[Array, ""]) -> Params:
        """The model's own initialisation."""
        return self._trained().init(key)

    def batch(self, data: Data, seed: Int[Array, ""], step: Int[Array, ""]) -> Batch:
        """Windows of tokens, or images and labels.

        Raises:
            ValueError: the training data are not loaded, nor is the batch read ahead.
        """
        return self.own().batch(data, seed, step)

    def loss(self, params: Params, batch: Batch) -> tuple[Float[Array, ""], Metrics]:
        """Mean cross-entropy of the next token or of the class, in nats."""
        return self._trained().loss(params, batch)

    def evaluate(self, params: Params, data: Data) -> Metrics:
        """Cross-entropy over the validation data, with the accuracy of images or the ``logit_metrics`` of texts."""
        return self._trained().evaluate(params, data)

    def _trained(self) -> TextDataset | ImageDataset:
        """The task with its model.

        Raises:
            ValueError: it was built without one.
        """
        if self.model is None:
            raise ValueError(f"{type(self).__name__}: model must be given, got None")
        return self.own()
