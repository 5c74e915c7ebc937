"""``python -m lrstudy.study.extrapolator``: trains the network that extrapolates learning curves, and checks it.

python -m lrstudy.study.extrapolator --curves=60000

Its training needs no data, only the prior. What it learned is compared with importance sampling, the exact posterior of
the same prior, on curves that neither has seen. The weights lie under the user's cache folder, where
`load_extrapolator` finds them; a training that was stopped goes on by the same command.
"""

import argparse
import dataclasses
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lrstudy.study.arguments import Parser
from lrstudy.study.errors import ConfigError, StudyError
from lrstudy.study.exit_codes import BAD_COMMAND, OK, RUN_FAILED, STOPPED
from lrstudy.study.machine import cache_folder, use_compilation_cache, versions
from lrstudy.study.workdir import read_json, replacing, write_json

if TYPE_CHECKING:
    from lrstudy.laws.extrapolation import Extrapolator
    from lrstudy.laws.extrapolation.training import Recipe, Trained
    from lrstudy.study.signals import StopRequest

COMMAND = "python -m lrstudy.study.extrapolator"
CUTOFFS = (10, 20, 40, 80)
"""Observed points, of a hundred, at which the network is checked."""
MANIFEST, WEIGHTS, UNFINISHED = "manifest.json", "weights", "unfinished"
_SAVE_SECONDS = 30.0
_CHUNK = 25
RELIABLE = 20.0
"""Effective draws from which on importance sampling is called reliable in the table."""


def default_folder() -> Path:
    """Where the weights are kept."""
    return cache_folder() / "extrapolator"


def load_extrapolator(folder: Path | None = None) -> "Extrapolator":
    """The network that the command trained.

    Args:
        folder: where it is; ``None``: in the user's cache.

    Raises:
        StudyError: there is none, or its bytes are not those that were written.
    """
    from lrstudy.laws.extrapolation import Extrapolator

    folder = folder or default_folder()
    manifest = read_json(folder / MANIFEST)
    if manifest is None:
        raise StudyError(f"there is no trained extrapolator in '{folder}'; train one with: {COMMAND}")
    return Extrapolator.from_bytes(_intact(folder, manifest))


def _intact(folder: Path, manifest: Mapping[str, Any]) -> bytes:
    """The bytes of the file that a manifest names.

    Raises:
        StudyError: the file is missing or not the one that the manifest was written for.
    """
    again = f"remove '{folder}' and train again with: {COMMAND}"
    try:
        data = (folder / manifest["file"]).read_bytes()
        expected = manifest["sha256"]
    except (KeyError, OSError) as error:
        raise StudyError(f"the extrapolator in '{folder}' is damaged ({error}); {again}") from error
    if hashlib.sha256(data).hexdigest() != expected:
        raise StudyError(f"'{folder / manifest['file']}' is damaged: its sha256 is not that of its manifest; {again}")
    return data


def _keep(folder: Path, kind: str, data: bytes, manifest: Mapping[str, Any], name: str) -> None:
    """Writes a file and then the manifest that names it, each by rename; older files of the kind go."""
    digest = hashlib.sha256(data).hexdigest()
    path = folder / f"{kind}-{digest[:12]}.msgpack"
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    write_json(folder / name, {"file": path.name, "sha256": digest, **manifest})
    for other in folder.glob(f"{kind}-*.msgpack"):
        if other != path:
            other.unlink(missing_ok=True)


class _Training:
    """A training that is saved now and then, and goes on from what was saved.

    Args:
        folder: where it is saved.
        recipe: of the training.
        seed: of everything random in it.
    """

    def __init__(self, folder: Path, recipe: "Recipe", seed: int) -> None:
        import jax

        self.folder, self.recipe, self.seed = folder, recipe, seed
        self.key = jax.random.key(seed)
        self.seconds = 0.0
        self._identity = {"recipe": dataclasses.asdict(recipe), "seed": seed}

    def start(self) -> "tuple[np.ndarray, Trained]":
        """The borders and the state to go on from; the beginning where nothing fitting was saved."""
        from flax import serialization

        from lrstudy.laws.extrapolation.training import begin, borders_of

        first = begin(self.key, self.recipe)
        saved = read_json(self.folder / f"{UNFINISHED}.json")
        if saved is None or {name: saved.get(name) for name in self._identity} != self._identity:
            return borders_of(self.key, self.recipe.bars), first
        restored = serialization.from_bytes({"borders": 0, "state": first}, _intact(self.folder, saved))
        self.seconds = saved["seconds"]
        return restored["borders"], restored["state"]

    def save(self, borders: np.ndarray, state: "Trained", seconds: float) -> None:
        """Keeps the state."""
        from flax import serialization

        data = serialization.to_bytes({"borders": borders, "state": state})
        _keep(self.folder, UNFINISHED, data, {**self._identity, "seconds": seconds}, f"{UNFINISHED}.json")

    def discard(self) -> None:
        """Removes what was saved."""
        (self.folder / f"{UNFINISHED}.json").unlink(missing_ok=True)
        for path in self.folder.glob(f"{UNFINISHED}-*.msgpack"):
            path.unlink(missing_ok=True)

    def run(self, stop: "StopRequest") -> "Extrapolator | None":
        """Trains to the end; ``None`` if it was stopped, after saving."""
        import jax.numpy as jnp

        from lrstudy.laws.extrapolation import Extrapolator
        from lrstudy.laws.extrapolation.training import chunks
        from lrstudy.study.progress import Progress

        borders, state = self.start()
        done = int(state.step)
        progress = Progress("extrapolator", done, self.recipe.steps, 1)
        began = saved = time.monotonic()
        earlier = self.seconds
        for after, losses in chunks(self.key, self.recipe, jnp.asarray(borders), state, length=_CHUNK):
            state, step = after, int(after.step)
            progress.advance(done, step, float(losses.mean()))
            done, now = step, time.monotonic()
            self.seconds = earlier + now - began
            # At the end too: the check that follows takes a while, and may be cut short.
            if step == self.recipe.steps or stop.requested or now - saved > _SAVE_SECONDS:
                self.save(borders, state, self.seconds)
                saved = now
                if stop.requested:
                    progress.close()
                    return None
        progress.close()
        return Extrapolator(state.params, jnp.asarray(borders), self.recipe)


def check(extrapolator: "Extrapolator", *, curves: int, draws: int, seed: int) -> list[dict[str, Any]]:
    """How the network compares with the exact posterior and with a guess, on curves that none of them has seen.

    Args:
        extrapolator: the network.
        curves: of the prior, fresh.
        draws: of the prior that importance sampling weighs.
        seed: of both.

    Returns:
        a row for each of ``CUTOFFS``: mean log density a point of the network, of importance sampling and of a normal
        density around the last value, whose deviation is the root mean square of the observed steps; the network's
        advantages, and that over importance sampling where its effective size is ``RELIABLE``; standard errors are over
        curves.
    """
    import jax
    import jax.numpy as jnp

    from lrstudy.laws.extrapolation import ImportanceSampler, LearningCurvePrior

    # Keys apart from those of training, which fold small numbers into the seed's own.
    key = jax.random.fold_in(jax.random.key(seed), 10)
    fresh = LearningCurvePrior().sample(jax.random.fold_in(key, 0), curves)
    sampler = ImportanceSampler.draw(jax.random.fold_in(key, 1), draws)
    rows = []
    for cutoff in CUTOFFS:
        exact, sizes = sampler.log_densities(fresh, jnp.full(curves, cutoff))
        network = extrapolator.log_densities(fresh, cutoff).mean(1)
        last = last_value_log_densities(np.asarray(fresh), cutoff).mean(1)
        importance, sizes = np.asarray(exact)[:, cutoff:].mean(1), np.asarray(sizes)
        reliable = sizes >= RELIABLE
        rows.append(
            {
                "cutoff": cutoff,
                **_measured("network", network),
                **_measured("importance", importance),
                **_measured("last", last),
                **_measured("over_importance", network - importance),
                **_measured("over_last", network - last),
                **_measured("over_reliable", (network - importance)[reliable]),
                "reliable": float(reliable.mean()),
                "median_size": float(np.median(sizes)),
            }
        )
    return rows


def last_value_log_densities(curves: np.ndarray, cutoff: int) -> np.ndarray:
    """Of the points after a cut-off, under a normal density at the last value as wide as the observed steps."""
    width = np.sqrt((np.diff(curves[:, :cutoff], axis=1) ** 2).mean(1, keepdims=True))
    distance = (curves[:, cutoff:] - curves[:, cutoff - 1 : cutoff]) / width
    return -0.5 * distance**2 - np.log(width) - 0.5 * np.log(2 * np.pi)


def _measured(name: str, values: np.ndarray) -> dict[str, float | None]:
    """A mean and its standard error; ``None`` of fewer than two values."""
    if len(values) < 2:
        return {name: None, f"{name}_error": None}
    return {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / len(values) ** 0.5)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The check as a table in Markdown."""
    heads = ("observed", "network", "importance sampling", "last value", "network - importance", "network - last")
    heads = (
        *heads,
        f"network - importance, effective size >= {RELIABLE:.0f}",
        "share of those",
        "median effective size",
    )
    lines = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
    names = ("network", "importance", "last", "over_importance", "over_last", "over_reliable")
    for row in rows:
        pairs = [(row[name], row[f"{name}_error"]) for name in names]
        cells = ["-" if mean is None else f"{mean:.3f} ± {error:.3f}" for mean, error in pairs]
        shares = [f"{row['reliable']:.0%}", f"{row['median_size']:.1f}"]
        lines.append("| " + " | ".join([f"{row['cutoff']:.0f} of 100", *cells, *shares]) + " |")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    from lrstudy.laws.extrapolation import Recipe

    parser = Parser("lrstudy.study.extrapolator", (__doc__ or "").splitlines()[0])
    notes = {
        "curves": "curves of the prior to train on",
        "batch": "curves of an update",
        "queries": "cut-offs of a curve in an update",
        "peak": "highest learning rate",
        "width": "of the network",
        "layers": "of the network",
        "heads": "of the network's attention",
        "bars": "of the density",
        "components": "normal densities that the bars start from",
    }
    defaults = Recipe()
    for name, note in notes.items():
        value = getattr(defaults, name)
        parser.add_argument(f"--{name}", type=type(value), default=value, help=f"{note} (%(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of everything random (%(default)s)")
    parser.add_argument("--test_curves", type=int, default=200, help="fresh curves of the check (%(default)s)")
    parser.add_argument("--draws", type=int, default=200_000, help="of importance sampling (%(default)s)")
    parser.add_argument("--output", type=Path, help="folder to write instead of the one in the user's cache")
    return parser


def _check(given: argparse.Namespace) -> None:
    """Refuses numbers of the check that are too small.

    Raises:
        ConfigError: one is.
    """
    for name, least in (("test_curves", 2), ("draws", 1), ("seed", 0)):
        if getattr(given, name) < least:
            raise ConfigError(f"{name} must be at least {least}, got {getattr(given, name)}")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    from lrstudy.laws.extrapolation import Recipe

    given = _parser().parse_args(argv)
    try:
        names = {field.name for field in dataclasses.fields(Recipe)}
        recipe = Recipe(**{name: value for name, value in vars(given).items() if name in names})
        _check(given)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_COMMAND
    try:
        return _make(given, recipe)
    except (StudyError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return RUN_FAILED


def _make(given: argparse.Namespace, recipe: "Recipe") -> int:
    """Trains what is missing, checks it and keeps it."""
    from lrstudy.study.signals import StopRequest

    folder = given.output or default_folder()
    made = {"recipe": dataclasses.asdict(recipe), "seed": given.seed}
    asked = {**made, "test_curves": given.test_curves, "draws": given.draws}
    old = read_json(folder / MANIFEST) or {}
    if json.loads(json.dumps(asked)) == {name: old.get(name) for name in asked}:
        load_extrapolator(folder)
        print(f"nothing to do: '{folder}' holds this extrapolator\n\n{table(old['check'])}")
        return OK
    use_compilation_cache()
    training = _Training(folder, recipe, given.seed)
    with StopRequest() as stop:
        if {name: old.get(name) for name in made} == made:
            extrapolator, training.seconds = load_extrapolator(folder), old["seconds"]
        else:
            extrapolator = training.run(stop)
        if extrapolator is None:
            print(f"stopped after saving; the same command goes on from there ({folder})")
            return STOPPED
        rows = check(extrapolator, curves=given.test_curves, draws=given.draws, seed=given.seed)
    manifest = {**asked, "seconds": round(training.seconds, 1), "check": rows, "versions": versions()}
    _keep(folder, WEIGHTS, extrapolator.to_bytes(), manifest, MANIFEST)
    training.discard()
    print(f"trained on {recipe.steps * recipe.batch} curves in {training.seconds:.0f} s; kept in '{folder}'\n")
    print(table(rows))
    return OK


if __name__ == "__main__":
    sys.exit(main())
