import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.models import Transformer
from lrstudy.tasks import Text
from lrstudy.tasks.corpus import read
from tests.models import reference


def bytes_file(folder, size, name="text"):
    path = folder / name
    path.write_bytes(np.random.default_rng(size).integers(0, 256, size, np.uint8).tobytes())
    return str(path)


def positions(windows, part):
    """Where each window begins in a part; every window must be a stretch of it."""
    views = np.lib.stride_tricks.sliding_window_view(part, np.shape(windows)[1])
    found = [np.flatnonzero((views == window).all(1)) for window in np.asarray(windows)]
    assert all(len(place) for place in found)
    return [int(place[0]) for place in found]


@functools.cache
def jitted(task):
    return jax.jit(task.batch)


def batch(task, train, seed=0, step=0):
    return np.asarray(jitted(task)({"train": jnp.asarray(train, jnp.uint8)}, jnp.int32(seed), jnp.int32(step)))


def test_windows_are_stretches_of_the_training_part(tmp_path):
    task = Text(path=bytes_file(tmp_path, 3000), context=7, batch_size=50)
    train = task.load()["train"]
    windows = batch(task, train)
    assert (windows.shape, windows.dtype) == ((50, 8), np.uint8)
    assert len(set(positions(windows, train))) > 40


def test_every_place_is_drawn_equally_often():
    task = Text(context=4, batch_size=6000)
    train = np.arange(10)
    counts = np.bincount(positions(batch(task, train), train), minlength=6)
    # Ten bytes hold six windows of five; five standard deviations of a binomial count.
    assert len(counts) == 6
    assert (np.abs(counts - 1000) < 5 * np.sqrt(6000 * 5 / 36)).all()


def test_a_training_part_of_one_window():
    np.testing.assert_array_equal(batch(Text(context=4, batch_size=3), np.arange(5)), [range(5)] * 3)


def test_the_loss_asks_for_the_next_byte():
    # A model without blocks that is sure of the byte after the one it sees.
    model = Transformer(vocabulary=256, context=6, width=256, layers=0)
    task = Text(context=6, batch_size=1, model=model)
    params = jax.tree.map(jnp.zeros_like, jax.eval_shape(task.init, jax.random.key(0)))
    params["embedding"]["embedding"] = jnp.eye(256)
    params["final_norm"]["scale"] = jnp.ones(256)
    params["readout"]["kernel"] = 10 * jnp.eye(256, k=1)
    loss = jax.jit(task.loss)
    rising = jnp.arange(40, 47, dtype=jnp.uint8)[None]
    # A normed unit vector is 16 at its place, so the next byte's logit leads by 160: a loss of zero to all digits.
    assert float(loss(params, rising)[0]) == pytest.approx(0, abs=1e-6)
    assert float(loss(params, rising[:, ::-1])[0]) > 100


@pytest.mark.parametrize(("size", "context", "asked", "count"), [(3000, 7, 5, 5), (3000, 7, 1000, 37), (3000, 7, 1, 1)])
def test_validation_windows_lie_in_the_validation_part(tmp_path, size, context, asked, count):
    path = bytes_file(tmp_path, size)
    task = Text(path=path, context=context, validation_windows=asked)
    windows = task.load()["validation"]
    # 300 bytes hold 37 windows of eight.
    assert windows.shape == (count, context + 1)
    starts = positions(windows, read(path).validation)
    assert starts[0] == 0
    gaps = np.diff(starts)
    # Evenly spaced over the whole part, none overlapping.
    assert (gaps >= context + 1).all()
    if count > 1:
        assert gaps.max() - gaps.min() <= 1
        assert starts[-1] == 300 - (context + 1)


def test_loading_twice_gives_the_same_arrays(tmp_path):
    task = Text(path=bytes_file(tmp_path, 3000), context=7)
    first, second = task.load(), Text(path=task.path, context=7).load()
    assert first.keys() == second.keys() == {"train", "validation"}
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


def test_validation_loss_is_the_mean_loss_over_all_windows(tmp_path):
    model = Transformer(vocabulary=256, context=7, width=4, layers=0)
    # Two batches of five windows and two left over.
    task = Text(path=bytes_file(tmp_path, 3000), context=7, batch_size=5, validation_windows=12, model=model)
    data = task.load()
    params = jax.jit(task.init)(jax.random.key(0))
    loss = jax.jit(task.loss)
    alone = [float(loss(params, window[None])[0]) for window in data["validation"]]
    measured = float(jax.jit(task.evaluate)(params, data)["validation_loss"])
    # Float32 means of 84 losses of size five.
    assert measured == pytest.approx(np.mean(alone), rel=1e-6)


def test_evaluation_holds_one_batch_in_memory(tmp_path):
    model = Transformer(vocabulary=256, context=15, width=16, layers=1)

    def temporary_bytes(windows):
        path = bytes_file(tmp_path, 30_000)
        task = Text(path=path, context=15, batch_size=4, validation_windows=windows, model=model)
        data = task.load()
        assert len(data["validation"]) == windows
        params = jax.eval_shape(task.init, jax.random.key(0))
        return jax.jit(task.evaluate).lower(params, data).compile().memory_analysis().temp_size_in_bytes

    # Only the losses themselves, four bytes a window, and the windows' integers grow.
    assert temporary_bytes(128) - temporary_bytes(16) <= 112 * (4 + 5 * 16)


@pytest.mark.parametrize("context", [1, 7, 63])
def test_the_shortest_text_that_a_context_needs(tmp_path, context):
    window = context + 1
    enough = Text(path=bytes_file(tmp_path, 10 * window, "enough"), context=context)
    assert enough.load()["validation"].shape == (1, window)
    path = bytes_file(tmp_path, 10 * window - 1, "short")
    with pytest.raises(ValueError, match=r"task\.path") as error:
        Text(path=path, context=context).load()
    rule = f"a text whose validation part, a tenth, has at least {window} bytes at context {context}"
    assert str(error.value).startswith(f"task.path must be {rule}, got {path!r} with ")


@pytest.mark.parametrize("field", ["context", "batch_size", "validation_windows"])
@pytest.mark.parametrize("value", [0, -3])
def test_sizes_must_be_positive(field, value):
    with pytest.raises(ValueError, match=rf"^task\.{field} must be a positive int, got {value}$"):
        Text(**{field: value})


def small(tmp_path, **fields):
    model = fields.pop("model", Transformer(vocabulary=256, context=7, width=8, layers=2, heads=2))
    path = bytes_file(tmp_path, 3000)
    return Text(path=path, context=7, batch_size=5, validation_windows=12, model=model, **fields)


def test_a_z_loss_is_trained_on_and_not_measured(tmp_path):
    plain, task = small(tmp_path), small(tmp_path, z_loss=0.25)
    params = jax.jit(task.init)(jax.random.key(0))
    data = task.load()
    windows = jnp.asarray(data["validation"][:3])
    logits = np.asarray(task.apply(params, windows[:, :-1].astype(jnp.int32)), np.float64)
    squares = np.log(np.exp(logits).sum(-1)) ** 2
    added = float(task.loss(params, windows)[0]) - float(plain.loss(params, windows)[0])
    # A difference of two losses of about thirteen and six, each known to some 1e-6.
    assert added == pytest.approx(0.25 * squares.mean(), abs=1e-5)
    measured, expected = jax.jit(task.evaluate)(params, data), jax.jit(plain.evaluate)(params, data)
    assert measured.keys() == expected.keys() == {"validation_loss"}
    assert float(measured["validation_loss"]) == float(expected["validation_loss"])


def test_without_a_z_loss_its_term_is_not_in_the_program(tmp_path):
    def program(z_loss):
        task = small(tmp_path, z_loss=z_loss)
        params = jax.eval_shape(task.init, jax.random.key(0))
        return str(jax.make_jaxpr(task.loss)(params, jnp.zeros((5, 8), jnp.uint8)))

    assert program(0.0).count("log ") == 1
    assert program(1e-4).count("log ") == 2


@pytest.mark.parametrize("options", [{}, {"scan_layers": True, "kv_heads": 1, "qk_norm": True}])
def test_diagnostics_are_of_all_validation_windows(tmp_path, options):
    model = Transformer(vocabulary=256, context=7, width=8, layers=2, heads=2, **options)
    task = small(tmp_path, model=model, diagnostics=True)
    data = task.load()
    rng = np.random.default_rng(0)
    params = jax.tree.map(lambda x: 0.5 * rng.normal(size=x.shape), jax.eval_shape(task.init, jax.random.key(0)))
    found = [reference.transformer(params, row[:-1], model) for row in data["validation"]]
    logits = np.stack([row for row, _ in found])
    expected = {
        "max_attention_logit": max(np.abs(scores).max() for _, blocks in found for scores in blocks),
        "log_z": np.log(np.exp(logits).sum(-1)).mean(),
        "logit_rms": np.sqrt((logits**2).mean()),
    }
    measured = jax.jit(task.evaluate)(jax.tree.map(jnp.float32, params), data)
    assert measured.keys() == {"validation_loss", *expected}
    for name, value in expected.items():
        # Float32 through two blocks, relative to numbers of the size of one or larger.
        assert float(measured[name]) == pytest.approx(value, rel=2e-5), name


def test_diagnostics_of_a_model_without_blocks(tmp_path):
    task = small(tmp_path, model=Transformer(vocabulary=256, context=7, width=8, layers=0), diagnostics=True)
    measured = jax.jit(task.evaluate)(jax.jit(task.init)(jax.random.key(0)), task.load())
    assert float(measured["max_attention_logit"]) == 0
    assert float(measured["logit_rms"]) > 0


@pytest.mark.parametrize("value", [-1e-4, float("inf"), float("nan")])
def test_a_z_loss_that_is_none_is_refused(value):
    with pytest.raises(ValueError, match=rf"^task\.z_loss must be a finite number of at least 0, got {value}$"):
        Text(z_loss=value)
