"""Tables of times, submissions by workloads: what they must be, and which of their workloads are held out."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pandas as pd


def checked(times: "pd.DataFrame") -> "pd.DataFrame":
    """The table in float64, a missing time as infinity.

    Args:
        times: one row a submission, one column a workload; the unit is any. Infinity and NaN are misses.

    Raises:
        ValueError: it is no such table.
    """
    import pandas as pd

    if not isinstance(times, pd.DataFrame) or not times.size:
        got = f"{type(times).__name__} of shape {np.shape(times)}"
        raise ValueError(f"times must be a DataFrame with a submission and a workload at least, got {got}")
    for what, names in (("submissions", times.index), ("workloads", times.columns)):
        if names.has_duplicates:
            raise ValueError(f"times must have {what} of different names, got {names[names.duplicated()][0]!r} twice")
    for name, column in times.items():
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            raise ValueError(f"times must be numbers, got {column.iloc[0]!r} in column {name!r}")
    found = times.astype(np.float64).fillna(np.inf)
    bad = np.argwhere(~(found.to_numpy() > 0))
    if len(bad):
        row, column = bad[0]
        where = f"for {found.index[row]!r} on {found.columns[column]!r}"
        raise ValueError(f"times must be positive, infinite for a miss, got {float(found.iat[row, column])!r} {where}")
    return found


def held_out(times: "pd.DataFrame") -> Mapping[str, str]:
    """Held-out variants and their workloads: a column ``<workload>_<variant>`` beside the column ``<workload>``.

    Of several such workloads it is that of the longest name. Another's variant is never a workload.
    """
    names = sorted(map(str, times.columns), key=len)
    found: dict[str, str] = {}
    for name in names:
        bases = [base for base in names if name.startswith(f"{base}_") and base not in found]
        if bases:
            found[name] = bases[-1]
    return found


def counted(times: "pd.DataFrame", tau_max: float) -> "pd.DataFrame":
    """The times that count, of the workloads without their variants: AlgoPerf's rules, in their order.

    A submission that misses a workload misses its variants. More than ``tau_max`` times the fastest of a column is a
    miss. Who misses a variant misses its workload; then the variants are gone, and what is the fastest is found anew.

    Args:
        times: a checked table.
        tau_max: the ratio above which there is no credit; a ratio of just ``tau_max`` is no miss.
    """
    values = {name: times[name].to_numpy().copy() for name in times.columns}
    variants = held_out(times)
    for variant, base in variants.items():
        values[variant][np.isinf(values[base])] = np.inf
    for column in values.values():
        column[column > tau_max * column.min()] = np.inf
    for variant, base in variants.items():
        values[base][np.isinf(values[variant])] = np.inf
    kept = [name for name in times.columns if name not in variants]
    return type(times)({name: values[name] for name in kept}, index=times.index)
