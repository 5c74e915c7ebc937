import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lrstudy.training import checkpoint

TREE = {"w": jnp.arange(12.0).reshape(3, 4), "key": jax.random.split(jax.random.key(1), 3), "count": jnp.int32(7)}
ABSTRACT = jax.eval_shape(lambda: TREE)


def same(a, b):
    def plain(x):
        return np.asarray(jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x)

    return all(np.array_equal(plain(x), plain(y)) for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True))


def test_round_trip_with_typed_keys(tmp_path):
    checkpoint.save(tmp_path, 3, TREE, {"note": [1, 2]})
    restored = checkpoint.restore(tmp_path, ABSTRACT)
    assert (restored.step, restored.meta, restored.damaged) == (3, {"note": [1, 2]}, ())
    assert same(restored.tree, TREE)
    assert jnp.issubdtype(restored.tree["key"].dtype, jax.dtypes.prng_key)
    assert restored.warning("x") is None


def test_the_manifest_lists_every_file(tmp_path):
    checkpoint.save(tmp_path, 3, TREE, {})
    digests = json.loads((tmp_path / "3" / "manifest.json").read_text())
    files = {p.relative_to(tmp_path / "3").as_posix() for p in (tmp_path / "3").rglob("*") if p.is_file()}
    assert set(digests) == files - {"manifest.json"}
    assert checkpoint.damage(tmp_path / "3") is None


def test_the_newest_step_up_to_a_limit(tmp_path):
    for step in (1, 5, 9):
        checkpoint.save(tmp_path, step, {"w": jnp.float32(step)}, {})
    abstract = jax.eval_shape(lambda: {"w": jnp.float32(0)})
    assert checkpoint.restore(tmp_path, abstract).step == 9
    assert checkpoint.restore(tmp_path, abstract, up_to=8).step == 5
    assert float(checkpoint.restore(tmp_path, abstract, up_to=1).tree["w"]) == 1.0


def test_nothing_to_restore(tmp_path):
    restored = checkpoint.restore(tmp_path / "absent", ABSTRACT)
    assert (restored.step, restored.tree, restored.damaged) == (0, None, ())


def test_the_newest_two_and_those_asked_for_are_kept(tmp_path):
    for step in range(1, 7):
        checkpoint.save(tmp_path, step, {"w": jnp.float32(step)}, {})
    (tmp_path / "saving-9").mkdir()
    checkpoint.prune(tmp_path, keep=[2])
    assert checkpoint.steps(tmp_path) == [2, 5, 6]
    assert not (tmp_path / "saving-9").exists()


def test_damage_set_aside_does_not_count_among_the_newest(tmp_path):
    for step in range(1, 4):
        checkpoint.save(tmp_path, step, {"w": jnp.float32(step)}, {})
    (tmp_path / "3" / "meta.json").write_text("{}x")
    restored = checkpoint.restore(tmp_path, jax.eval_shape(lambda: {"w": jnp.float32(0)}))
    assert restored.step == 2
    assert restored.warning("runs") == (
        "checkpoints of runs: step 3 is damaged (meta.json: sha256 differs); resuming from step 2"
    )
    checkpoint.set_aside(tmp_path, 3)
    checkpoint.prune(tmp_path, keep=[])
    assert checkpoint.steps(tmp_path) == [1, 2]


def test_a_failed_save_leaves_nothing_behind(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, TREE, {})

    def full(path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "_sync", full)
    with pytest.raises(checkpoint.CheckpointError, match=r"step 2: .*No space left on device"):
        checkpoint.save(tmp_path, 2, TREE, {})
    assert [p.name for p in tmp_path.iterdir()] == ["1"]
    assert same(checkpoint.restore(tmp_path, ABSTRACT).tree, TREE)


def test_a_step_is_written_over_a_damaged_one(tmp_path):
    checkpoint.save(tmp_path, 1, {"w": jnp.float32(1)}, {})
    (tmp_path / "1" / "manifest.json").unlink()
    checkpoint.save(tmp_path, 1, {"w": jnp.float32(2)}, {})
    assert float(checkpoint.restore(tmp_path, jax.eval_shape(lambda: {"w": jnp.float32(0)})).tree["w"]) == 2.0


def test_a_full_disk_in_a_background_thread_is_one_line(tmp_path, monkeypatch, capfd):
    """Orbax logs the traceback of what its thread meets, and raises it as a long text of the store's own."""
    import orbax.checkpoint as ocp
    from absl import logging

    def strike(*_):
        logging.error("Failed in the background\nTraceback")
        raise ValueError(
            "RESOURCE_EXHAUSTED: " + "x" * 300 + "\nFailed to write: No space left on device [OS error 28]"
        )

    monkeypatch.setattr(ocp.StandardCheckpointer, "wait_until_finished", strike)
    level = logging.get_verbosity()
    with pytest.raises(checkpoint.CheckpointError) as error:
        checkpoint.save(tmp_path, 7, {"x": jnp.zeros(3)}, {})
    assert str(error.value) == "step 7: the checkpoint could not be written: No space left on device"
    assert "Traceback" not in capfd.readouterr().err
    assert logging.get_verbosity() == level
