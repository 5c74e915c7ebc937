"""A schedule as a tree of numbers."""

import copy
import dataclasses
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.schedules import WSD, WSDS, Constant

from .cases import ALL


@pytest.mark.parametrize("name", ALL)
def test_flatten_and_unflatten(name):
    leaves, structure = jax.tree.flatten(ALL[name])
    assert structure.unflatten(leaves) == ALL[name]
    assert not any(isinstance(leaf, str) for leaf in leaves)
    assert hash(structure) == hash(jax.tree.structure(ALL[name]))


@pytest.mark.parametrize("placeholder", [object(), "spec", -1.0, float("nan")])
@pytest.mark.parametrize("name", ["WSDS-lengths", "Polynomial"])
def test_placeholders_are_not_checked(name, placeholder):
    leaves, structure = jax.tree.flatten(ALL[name])
    filled = structure.unflatten([placeholder] * len(leaves))
    assert filled.peak is placeholder
    assert type(filled) is type(ALL[name])
    assert all(leaf is placeholder for leaf in jax.tree.leaves(filled))


def test_absent_leaves_are_not_checked():
    leaves, structure = jax.tree.flatten(ALL["WSDS-lengths"])
    assert structure.unflatten([None] * len(leaves)).ends == (None, None, None)


def test_paths_name_the_fields():
    schedule = WSDS(1e-3, [10, 20], decay_fraction=0.2)
    paths = {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree.leaves_with_path(schedule)}
    assert paths == {
        ".peak": 1e-3,
        ".warmup_steps": 0,
        ".init_value": 0.0,
        ".ends[0]": 10,
        ".ends[1]": 20,
        ".rewarmup_steps": 0,
        ".power": 2.0,
        ".d": 0.5,
        ".decay_fraction": 0.2,
    }


def test_static_fields_and_absent_numbers_are_structure():
    by_fraction = jax.tree.structure(WSD(1.0, 10, decay_fraction=0.5))
    assert by_fraction == jax.tree.structure(WSD(2.0, 20, decay_fraction=0.1))
    assert by_fraction != jax.tree.structure(WSD(1.0, 10, decay_fraction=0.5, shape="linear"))
    assert by_fraction != jax.tree.structure(WSD(1.0, 10, decay_steps=5))
    assert jax.tree.structure(Constant(1.0)) != by_fraction


def test_schedules_are_frozen_values():
    schedule = WSD(1e-3, 100, decay_steps=10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        schedule.peak = 1.0
    assert dataclasses.replace(schedule, peak=2e-3) == WSD(2e-3, 100, decay_steps=10)
    assert copy.deepcopy(schedule) == pickle.loads(pickle.dumps(schedule)) == schedule
    assert len({schedule, WSD(1e-3, 100, decay_steps=10)}) == 1


def test_numbers_are_stored_as_plain_python_numbers():
    schedule = WSDS(np.float32(0.5), np.array([10, 20]), warmup_steps=np.int64(2), init_value=0)
    schedule_of_lists = WSDS(0.5, [10, 20], warmup_steps=2, init_value=0.0, rewarmup_steps=np.uint8(0))
    assert schedule == schedule_of_lists
    assert {type(leaf) for leaf in jax.tree.leaves(schedule)} == {int, float}


def test_evaluation_by_shape_only():
    shape = jax.eval_shape(lambda s, t: s(t), ALL["WSDS"], jax.ShapeDtypeStruct((3, 2), jnp.int32))
    assert (shape.shape, shape.dtype) == ((3, 2), jnp.float32)


def test_numbers_may_be_traced_through_the_constructor():
    def rate(peak, total, warmup, fraction, step):
        return WSD(peak, total, warmup_steps=warmup, decay_fraction=fraction, end=0.125 * peak)(step)

    traced = jax.jit(rate)(1e-3, 100, 10, 0.145, jnp.arange(101))
    np.testing.assert_array_equal(traced, rate(1e-3, 100, 10, 0.145, np.arange(101)))


def test_ends_may_be_one_traced_array():
    ends = jnp.array([[100, 200], [50, 120]])
    swept = jax.vmap(lambda e: WSDS(1.0, e, warmup_steps=5)(jnp.arange(201)))(ends)
    for row, (first, second) in zip(swept, ends.tolist(), strict=True):
        np.testing.assert_array_equal(row, WSDS(1.0, [first, second], warmup_steps=5)(np.arange(201)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_narrow_leaves_are_computed_with_in_float32(dtype):
    peak = jnp.asarray(0.3, dtype)
    values = WSD(peak, 100, decay_steps=50, shape="cosine")(np.arange(101))
    assert values.dtype == jnp.float32
    wide = WSD(float(peak), 100, decay_steps=50, shape="cosine")(np.arange(101))
    np.testing.assert_allclose(values, wide, rtol=0, atol=1e-7)
