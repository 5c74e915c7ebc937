import dataclasses
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import Transformer
from lrstudy.tasks import MixedText, Text
from lrstudy.tasks.corpus import read


def bytes_file(folder, name, low, high, size):
    """A text of the bytes from ``low`` to ``high`` alone, so that a byte tells the text that it is from."""
    path = folder / name
    path.write_bytes(np.random.default_rng(size).integers(low, high, size, np.uint8).tobytes())
    return str(path)


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    sizes = {"first": (0, 100, 3000), "second": (100, 200, 900), "third": (200, 256, 6000)}
    return tuple(bytes_file(folder, name, *size) for name, size in sizes.items())


def counts(task, steps, seed=0):
    """Windows of each domain in the batches of these steps, shape (steps, domains)."""
    data = jax.device_put(task.load())
    batches = np.asarray(jax.jit(jax.vmap(lambda step: task.batch(data, jnp.int32(seed), step)))(jnp.asarray(steps)))
    domain = np.digitize(batches, [100, 200])
    assert (domain == domain[..., :1]).all()
    return np.stack([(domain[..., 0] == i).sum(1) for i in range(len(task.paths))], axis=1)


def test_every_stage_has_its_shares_from_the_very_step_of_its_boundary(paths):
    task = MixedText(paths=paths, boundaries=(3, 7), shares=(0.0, 0.0, 0.2, 0.5, 1.0, 0.0), context=4, batch_size=4_000)
    found = counts(task, range(10))
    expected = np.asarray([[1, 0, 0]] * 3 + [[0.3, 0.2, 0.5]] * 4 + [[0, 1, 0]] * 3)
    # Five standard deviations of a binomial share; shares of 0 and 1 are exact.
    assert (np.abs(found / 4_000 - expected) <= 5 * np.sqrt(expected * (1 - expected) / 4_000)).all()


def test_one_stage_and_any_number_of_domains(paths):
    task = MixedText(paths=paths[:2], boundaries=(), shares=(1.0,), context=4)
    assert (counts(task, [0, 5]) == [0, 16]).all()


def test_at_share_zero_the_batches_are_those_of_the_first_text(paths):
    sizes = {"context": 4, "batch_size": 50}
    mixed = MixedText(paths=paths[:2], boundaries=(5,), shares=(0.0, 0.0), **sizes)
    plain = Text(path=paths[0], **sizes)
    for seed, step in ((0, 0), (3, 5), (3, 6)):
        first = mixed.batch(mixed.load(), jnp.int32(seed), jnp.int32(step))
        np.testing.assert_array_equal(first, plain.batch(plain.load(), jnp.int32(seed), jnp.int32(step)))


def test_windows_are_stretches_of_their_own_training_part_and_reach_all_of_it(paths):
    task = MixedText(paths=paths[:2], boundaries=(5,), shares=(0.5, 0.5), context=7, batch_size=20_000)
    windows = np.asarray(task.batch(task.load(), jnp.int32(0), jnp.int32(0)))
    for place, path in enumerate(paths[:2]):
        train = read(path).train
        views = {bytes(view) for view in np.lib.stride_tricks.sliding_window_view(train, 8)}
        drawn = {bytes(window) for window in windows if window[0] // 100 == place}
        # Of at most 2693 windows each is missed by some 10000 draws with probability 2.4e-2 or less.
        assert drawn <= views
        assert bytes(train[:8]) in drawn or bytes(train[1:9]) in drawn
        assert bytes(train[-8:]) in drawn or bytes(train[-9:-1]) in drawn
        assert len(drawn) > 0.95 * len(views)


def test_lanes_of_shares_share_the_windows_that_they_both_draw_from_one_text(paths):
    base = MixedText(paths=paths[:2], boundaries=(5,), shares=(0.0, 0.2), context=4, batch_size=400)
    data = base.load()
    low, high = (
        np.asarray(dataclasses.replace(base, shares=(0.0, share)).batch(data, jnp.int32(1), jnp.int32(9)))
        for share in (0.2, 0.6)
    )
    from_first = (low < 100).all(1) & (high < 100).all(1)
    assert from_first.sum() > 100
    np.testing.assert_array_equal(low[from_first], high[from_first])
    # A larger share adds windows of the second text and takes none away.
    assert not ((low >= 100).all(1) & (high < 100).all(1)).any()


def test_each_domain_is_evaluated_on_its_own_windows(paths):
    model = Transformer(vocabulary=256, context=4, width=4, layers=0)
    sizes = {"context": 4, "batch_size": 7, "validation_windows": 12, "model": model}
    task = MixedText(paths=paths[:2], **sizes)
    params = jax.jit(task.init)(jax.random.key(0))
    measured = jax.jit(task.evaluate)(params, task.load())
    alone = []
    for place, path in enumerate(paths[:2]):
        text = Text(path=path, **sizes)
        alone.append(float(jax.jit(text.evaluate)(params, text.load())["validation_loss"]))
        # Float32 means of 48 losses of size five.
        assert float(measured[f"validation_loss_{place}"]) == pytest.approx(alone[-1], rel=1e-6)
    assert alone[0] != pytest.approx(alone[1], rel=1e-5)
    assert float(measured["validation_loss"]) == pytest.approx(np.mean(alone), rel=1e-6)


def test_diagnostics_are_of_the_windows_of_all_domains(paths):
    model = Transformer(vocabulary=256, context=4, width=4, layers=1)
    sizes = {"context": 4, "batch_size": 7, "validation_windows": 12, "model": model, "diagnostics": True}
    task = MixedText(paths=paths[:2], **sizes)
    params = jax.jit(task.init)(jax.random.key(0))
    measured = jax.jit(task.evaluate)(params, task.load())
    texts = [Text(path=path, **sizes) for path in paths[:2]]
    first, second = (jax.jit(text.evaluate)(params, text.load()) for text in texts)
    largest = max(float(own["max_attention_logit"]) for own in (first, second))
    assert float(measured["max_attention_logit"]) == pytest.approx(largest, rel=1e-6)
    assert float(measured["log_z"]) == pytest.approx(float(first["log_z"] + second["log_z"]) / 2, rel=1e-6)


def test_validation_windows_are_as_many_as_the_shortest_text_holds(paths):
    data = MixedText(paths=paths[:2], context=4, validation_windows=50).load()
    # Of 900 bytes 90 are held out: 18 windows of five.
    assert data["validation"].shape == (2, 18, 5)
    assert data["sizes"].tolist() == [2700, 810]
    assert data["begins"].tolist() == [0, 2700]


def test_the_facts_are_those_of_every_text(paths):
    texts = [read(path) for path in paths[:2]]
    expected = {"sha256": [text.sha256 for text in texts], "bytes": [3000, 900]}
    assert MixedText(paths=paths[:2], context=4).facts() == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"paths": ("a",)}, "task.paths must be two texts or more, got ('a',)"),
        ({"boundaries": (0,)}, "task.boundaries must be positive and increasing, got (0,)"),
        (
            {"boundaries": (5, 5), "shares": (0.0, 0.0, 0.0)},
            "task.boundaries must be positive and increasing, got (5, 5)",
        ),
        ({"shares": (0.5,)}, "task.shares must be 2 numbers, for each of 2 stages 1, got (0.5,)"),
        ({"shares": (0.5, 1.5)}, "task.shares must be in [0, 1], in every stage 1 together at most, got (0.5, 1.5)"),
        ({"shares": (-0.1, 1.0)}, "task.shares must be in [0, 1], in every stage 1 together at most, got (-0.1, 1.0)"),
        (
            {"shares": (float("nan"), 1.0)},
            "task.shares must be in [0, 1], in every stage 1 together at most, got (nan, 1.0)",
        ),
        (
            {"paths": ("a", "b", "c"), "shares": (0.6, 0.6, 0.0, 0.0)},
            "task.shares must be in [0, 1], in every stage 1 together at most, got (0.6, 0.6, 0.0, 0.0)",
        ),
        ({"context": 0}, "task.context must be a positive int, got 0"),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        MixedText(**arguments)


def test_shares_that_are_one_but_for_their_rounding_are_accepted():
    shares = (0.2, 0.4, 0.3, 0.1)
    assert sum(shares) > 1.0
    MixedText(paths=("a", "b", "c", "d", "e"), boundaries=(), shares=shares)


def test_a_text_that_cannot_be_read_is_named_by_its_place(paths, tmp_path):
    missing = str(tmp_path / "missing")
    with pytest.raises(
        ValueError, match=r"^task\.paths\[1\] must be a readable file or folder, got '.*missing': No such"
    ):
        MixedText(paths=(paths[0], missing)).load()
    short = bytes_file(tmp_path, "short", 0, 256, 50)
    with pytest.raises(ValueError, match=r"^task\.paths\[0\] must be a text whose validation part"):
        MixedText(paths=(short, paths[0])).load()


def test_texts_that_are_too_long_together(paths, monkeypatch):
    monkeypatch.setattr("lrstudy.tasks.corpus.MAX_BYTES", 3899)
    rule = re.escape("task.paths must be texts of at most 3899 bytes together")
    with pytest.raises(ValueError, match=f"^{rule}, got .* of 3900$"):
        MixedText(paths=paths[:2], context=4).load()
