"""Prints how far the schedules are from every golden table: ``python -m tests.schedules.golden_errors``."""

import jax
import numpy as np

from lrstudy.schedules import WSD, batch_size_warmup, best_peak, bound, lr_from_batch, refined

from .golden import ROWS, exact, in_float64
from .reference import rates
from .test_batch import BATCHES, GROWN, RATES
from .test_bound import BOUNDS, COOLDOWNS, shapes
from .test_refined import REFINED


def of_rates() -> dict[str, list[float]]:
    """Table -> largest error as a share of the peak: float32, float64 of the formula, float64 of what is printed."""
    errors: dict[str, list[float]] = {}
    for row, wide in zip(ROWS, in_float64(ROWS), strict=True):
        narrow = np.asarray(rates(row.schedule, row.steps), np.float64)
        pairs = ((narrow, exact(row)), (wide, exact(row)), (wide, row.values))
        found = [float(np.abs(a - np.asarray(b)).max()) / row.unit() for a, b in pairs]
        errors[row.table] = np.maximum(errors.get(row.table, 0), found).tolist()
    return errors


def of_refined() -> float:
    """G14: largest error of a table whose highest value is 1."""
    found = [
        refined(norms, optimizer=optimizer, smoothing=0, points=1, drop=0).values for norms, optimizer, _ in REFINED
    ]
    return max(float(np.abs(a - np.array(b)).max()) for a, (_, _, b) in zip(found, REFINED, strict=True))


def of_bound() -> float:
    """G15: largest relative error."""
    errors = []
    for steps, row in BOUNDS.items():
        for name, printed in row.items():
            shape = shapes(steps)[name]
            best = best_peak(shape, steps)
            found = [best, bound(best * shape), bound(shape)]
            errors += [abs(a / b - 1) for a, b in zip(found, printed, strict=True)]
    for fraction, printed in COOLDOWNS.items():
        for kind, value in zip(("linear", "1-sqrt"), printed, strict=True):
            shape = np.asarray(WSD(1.0, 400, decay_fraction=fraction, shape=kind)(np.arange(400)))
            errors.append(abs(bound(best_peak(shape, 400) * shape) / value - 1))
    return max(errors)


def of_batches() -> float:
    """G21: largest relative error of the rates; the batches are ints and differ by nothing or fail."""
    grow = batch_size_warmup(*GROWN)
    wrong = sum(grow(tokens) != batch for tokens, batch in BATCHES.items())
    return wrong + max(abs(lr_from_batch(0.1, 2048, 256, rule=rule) / value - 1) for rule, value in RATES.items())


def main() -> None:
    """Prints one line a table."""
    print(f"{'table':<6}{'float32 - formula':>20}{'float64 - formula':>20}{'float64 - printed':>20}")
    for table, (narrow, wide, printed) in of_rates().items():
        print(f"{table:<6}{narrow:>20.1e}{wide:>20.1e}{printed:>20.1e}")
    with jax.enable_x64(True):
        others = {"G14": of_refined(), "G15": of_bound(), "G21": of_batches()}
    for table, printed in others.items():
        print(f"{table:<6}{'':>40}{printed:>20.1e}")
    print("G1-G14: share of the peak; G15, G21: relative. Printed are nine digits; the lists of G12 and G13 are cut")
    print("after two to six decimals. In float32, G5 is limited by the exponent, which float32 holds to 9.5e-9.")


if __name__ == "__main__":
    main()
