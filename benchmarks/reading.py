"""Whether reading batches ever holds a step up: batches in memory, read ahead, and read when they are wanted.

python -m benchmarks.reading [--repeats=5] [--steps=512]

A TFDS set of the source of Python's standard library (bytes), and one of random images of 32 x 32 x 3, are built in a
temporary folder; both are read from array_record files. Every candidate trains the same runs with the same batches; the
time of a repeat is that of the whole loop, the reading of the first block included. The time it waited is also given.
"""

import dataclasses
import statistics
import sysconfig
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

from benchmarks.timing import interleaved, ratios, record, table
from lrstudy.study.choices import Choice, choice
from lrstudy.study.config import Run, RunConfig, eval_params, make_transform
from lrstudy.study.part import Part
from lrstudy.study.plan import make_plan
from lrstudy.training import lanes, loop
from lrstudy.training.layout import layout_of
from lrstudy.training.loop import Cadence, Job
from lrstudy.training.program import abstract_lanes, stack
from lrstudy.training.read_ahead import ReadAhead

REPEATS = flags.DEFINE_integer("repeats", 5, "interleaved repeats", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 512, "updates of a repeat", lower_bound=2)
IMAGES, SIDE = 4096, 32


@dataclasses.dataclass(frozen=True)
class Case:
    """What is trained.

    Attributes:
        name: in the table.
        task: without its ``input``.
        model: that it trains.
        share: of the steps that are made, where they are slow.
    """

    name: str
    task: Choice
    model: Choice
    share: float = 1.0


class InLine(ReadAhead):
    """Reads a block when it is wanted: what is read ahead is compared with it."""

    def _next(self, index: int) -> Any:
        import threading

        return next(self._blocks(index, threading.Event()))


def build(folder: Path) -> None:
    """Makes both sets."""
    import tensorflow_datasets as tfds

    from lrstudy.study.build_text_dataset import main as build_text

    source = sysconfig.get_paths()["stdlib"]
    arguments = [f"--source={source}", f"--data_dir={folder}", "--name=python_source", "--suffixes=.py"]
    if build_text(arguments):
        raise RuntimeError("the text set could not be built")

    class RandomImages(tfds.core.GeneratorBasedBuilder):
        """Noise, which no compression makes smaller."""

        VERSION = tfds.core.Version("1.0.0")

        def _info(self) -> Any:
            features = {
                "image": tfds.features.Tensor(shape=(SIDE, SIDE, 3), dtype=np.uint8),
                "label": tfds.features.ClassLabel(num_classes=10),
            }
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

        def _split_generators(self, dl_manager: Any) -> Any:
            del dl_manager
            return {"train": self._generate_examples()}

        def _generate_examples(self) -> Iterator[tuple[int, dict[str, Any]]]:
            random = np.random.default_rng(0)
            for index in range(IMAGES):
                image = random.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
                yield index, {"image": image, "label": index % 10}

    RandomImages(data_dir=str(folder), file_format="array_record").download_and_prepare()


def cases(folder: Path) -> list[Case]:
    """Fast steps and slow ones."""
    text = {"name": "python_source", "data_dir": str(folder)}
    short, long = ({**text, "context": length, "batch_size": size} for length, size in ((64, 16), (256, 4)))
    images = {"name": "random_images", "data_dir": str(folder), "batch_size": 32, "validation_examples": 64}

    def transformer(width: int) -> Choice:
        return choice("model", "transformer", width=width, layers=2, heads=2)

    return [
        Case("text, 16 x 64, width 64", choice("task", "tfds", **short), transformer(64)),
        Case("text, 4 x 256, width 128", choice("task", "tfds", **long), transformer(128), 0.25),
        Case("images, 32 x 32 x 32 x 3, convnet", choice("task", "tfds", **images), choice("model", "convnet"), 0.25),
    ]


def run_of(case: Case, how: str, steps: int) -> Run:
    """The run of a case; ``how`` is the task's ``input``."""
    config = RunConfig(
        task=choice("task", "tfds", **{**case.task.arguments, "input": how}),
        model=case.model,
        schedule=choice("schedule", "Constant", peak=0.003),
        optimizer=choice("optimizer", "adamw"),
        steps=steps,
        record_every=10,
    )
    [group] = make_plan({"": Part(config)}).groups
    return group.runs[0]


class Candidate:
    """A run that is trained again and again.

    Args:
        case: what.
        how: memory, or stream.
        steps: updates.
        reading: makes of a job what it reads by; ``None``: it stays.
    """

    def __init__(self, case: Case, how: str, steps: int, reading: Callable[[Job], Job] | None = None) -> None:
        run = run_of(case, how, steps)
        stacked, layout = stack([run.hyperparameters]), layout_of("map", 1)

        def transform(hparams: Any) -> Any:
            return make_transform(run, hparams)

        averaged = eval_params(run)
        job = lanes.make_job(stacked, run.task, transform, Cadence((steps,), 10), layout, eval_params=averaged)
        self.job, self.steps = reading(job) if reading else job, steps
        self._begin: Callable[[], Any] = lambda: layout.empty(abstract_lanes(stacked, transform))
        self.waited: list[float] = []
        self.first: list[float] = []

    def __call__(self) -> None:
        """Trains from the beginning to the end."""
        waits = [chunk.waited for chunk in loop.train(self.job, self._begin(), start=0, stop=self.steps)]
        self.first.append(waits[0])
        self.waited.append(sum(waits[1:]))


def in_line(job: Job) -> Job:
    """The job with its blocks read when they are wanted."""
    ahead = job.ahead
    if ahead is not None:
        ahead.__class__ = InLine
    return job


def main(argv: list[str]) -> None:
    """Measures and records."""
    del argv
    logging.set_verbosity(logging.WARNING)  # TFDS tells every file that it looks at
    rows, numbers = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        build(folder)
        for case in cases(folder):
            steps = int(STEPS.value * case.share)
            candidates = {
                "in memory": Candidate(case, "memory", steps),
                "read ahead": Candidate(case, "stream", steps),
                "read when wanted": Candidate(case, "stream", steps, reading=in_line),
            }
            for candidate in candidates.values():
                candidate()  # compiles
            seconds = interleaved(candidates, REPEATS.value)
            print(f"{case.name}: measured", flush=True)
            for way, values in seconds.items():
                own = candidates[way]
                first, waited = (statistics.median(times[1:]) for times in (own.first, own.waited))
                median, low, high = ratios(values, seconds["in memory"])
                spent, whole = 1000 * statistics.median(values) / steps, statistics.median(values)
                numbers[f"{case.name}, {way}"] = {"ms": spent, "over_memory": median, "first": first, "waited": waited}
                shares = [f"{1000 * first:.0f}", f"{100 * waited / whole:.2f}%"]
                rows.append([case.name, way, f"{spent:.2f}", f"{median:.3f} ({low:.3f}-{high:.3f})", *shares])
    columns = ("case", "batches", "ms a step", "over in memory (range)", "first block, ms", "waited after it")
    shown = f"{REPEATS.value} interleaved repeats of {STEPS.value} steps, a quarter of them where slow"
    title = f"Where batches come from: {shown}"
    record("reading", "Reading ahead", table(title, columns, rows), numbers)


if __name__ == "__main__":
    app.run(main)
