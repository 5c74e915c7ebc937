"""Run on two devices by test_devices: sharpness of a loss whose examples are split between them, as JSON."""

import json
import sys
import warnings

import jax
import numpy as np
from jax.sharding import PartitionSpec

from lrstudy.curvature import SharpnessTracker, hessian, pmean, top_eigs
from lrstudy.curvature.vectors import flatten, random_like, unflattener
from tests.curvature.problems import KEY, network_loss, network_params, regression_data

PARAMS, BATCH = network_params(width=6), regression_data()
VECTOR = unflattener(PARAMS)(random_like(KEY, PARAMS))


def measured(batch):
    """On one device: a product, a solve and two measurements of a tracker with the mean over the axis."""
    operator = pmean(hessian(network_loss, PARAMS, batch), "data")
    tracker = SharpnessTracker(audit_every=1)
    state = tracker.init(PARAMS, KEY)
    state, _ = tracker.update(state, operator)
    state, tracked = tracker.update(state, operator)
    solved = top_eigs(operator, KEY)
    return flatten(operator(VECTOR)), solved.values, solved.matvecs, tracked.values, state.products


def main():
    assert jax.device_count() == 2
    halves = jax.tree.map(lambda x: x.reshape(2, -1, *x.shape[1:]), BATCH)
    whole = hessian(network_loss, PARAMS, BATCH)
    alone = top_eigs(whole, KEY)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    specs = {"mesh": mesh, "in_specs": PartitionSpec("data"), "out_specs": PartitionSpec()}
    # As it is by default, which sums gradients of what all devices hold alike over them, and without that.
    split, unchecked = (jax.shard_map(measured, check_vma=check, **specs) for check in (True, False))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mapped = jax.pmap(measured, axis_name="data")(halves)
        sharded, plain = jax.jit(split)(BATCH), jax.jit(unchecked)(BATCH)
    wanted = np.asarray(flatten(whole(VECTOR)))
    report = {"alone": [float(alone.values[0]), int(alone.matvecs)]}
    ways = {"pmap": jax.tree.map(lambda x: x[0], mapped), "shard_map": sharded, "unchecked": plain}
    for name, found in ways.items():
        product, value, matvecs, tracked, products = found
        error = np.linalg.norm(product - wanted) / np.linalg.norm(wanted)
        report[name] = [float(error), float(value[0]), int(matvecs), float(tracked[0]), int(products)]
    json.dump(report, sys.stdout)


if __name__ == "__main__":
    main()
