"""Means with intervals, and differences between methods on the same cases."""

import numpy as np

RESAMPLES, SHARE = 2000, 0.95

Rows = dict[str, dict[str, dict[str, float | None]]]  # case -> method -> figure -> value


def interval(values: list[float]) -> tuple[float, float, float]:
    """The mean and its 95 % bootstrap interval; NaN for no values."""
    if not values:
        return (float("nan"),) * 3
    rng = np.random.default_rng(0)
    array = np.asarray(values)
    means = array[rng.integers(len(array), size=(RESAMPLES, len(array)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(array.mean()), float(low), float(high)


def values_of(rows: Rows, method: str, figure: str) -> list[float]:
    """A method's figure over all cases that have it."""
    found = (row[method].get(figure) for row in rows.values() if method in row)
    return [value for value in found if value is not None]


def differences(rows: Rows, method: str, other: str, figure: str) -> list[float]:
    """`method` minus `other`, case by case."""
    pairs = ((row[method].get(figure), row[other].get(figure)) for row in rows.values() if {method, other} <= set(row))
    return [first - second for first, second in pairs if first is not None and second is not None]
