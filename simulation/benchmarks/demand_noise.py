"""Demand over all sites of a generated market: what the noise of a private release costs.

The release is the one that a run with ``demand`` in ``[model].statistics`` makes: 26 windows, each
user's cells weighed and as one vector under the public clip, and the noise of the default plan with
this one more statistic to pay for. Both sides forecast from the same clipped counts and are
measured on the next window's, in the same unit and without noise. Without noise there are two
forecasts: the one that exact counts get, and the one that noised counts get, told that there is no
noise. Peer: the better of the two.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from groundswell.server.planning import Federation, size
from groundswell.shared.config import Config
from groundswell.shared.demand import forecast, wmape
from groundswell.shared.demand_features import DemandHistory, month_phases, run_up
from groundswell.shared.demand_weights import WINDOWS, covariance, matrix, shares, unweighed
from groundswell.shared.demand_windows import Windows
from groundswell.shared.statistics import WeeklyDemand
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.datasets.marketplace import START, generate
from groundswell.simulation.seeded import SeededRandomness

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

ORIGINS = 8  # last windows, each forecast from the release that ends before it
NOISES = 5  # seeds of the noise
HALF = 1.0  # share of demand where the other kinds' shares sum to 1
MERCHANTS = 6  # sites, each a merchant of its own
ACTIONS = ("purchase", "cart", "view")  # those that the market's own configuration weighs


@dataclass(frozen=True)
class Past:
    """What is known at one origin.

    Attributes:
        first: number of the first window of the release.
        released: float64 ``[L, 26]``, clipped counts without noise; labels in the order of names.
        came: float64 ``[L]``, the next window's, weighted as the release weighs its users.
    """

    first: int
    released: Float64
    came: Float64


def run(users: int = 200_000) -> dict[str, Any]:
    """The benchmark as JSON values; ``ours`` is the mean WMAPE over seeds of the noise.

    ``equal`` says that both sides forecast every label of every window.
    """
    with TemporaryDirectory(prefix="groundswell-") as folder:
        generate(Path(folder), users, 0, merchants=MERCHANTS)
        cells, labels, windows = read_cells(Path(folder))
    pasts = [past(cells, origin, labels) for origin in range(windows - ORIGINS, windows)]
    exact, same = measure(pasts, None, 0), measure(pasts, 0.0, 0)
    cases = [
        _private(name, pasts, noise_deviation(users, share), exact["wmape"], same["wmape"])
        for name, share in (("default split", None), ("half of the budget", HALF))
    ]
    ours = cases[0]["wmape"]
    peer = min(exact["wmape"], same["wmape"])
    return {
        "name": "demand-noise",
        "machine": machine(),
        "ours": ours,
        "peer": peer,
        "unit": "WMAPE",
        "ratio": peer / ours,
        "higher_is_better": False,
        "equal": all(each["forecasts"] == exact["forecasts"] for each in [*cases, same]),
        "peer_name": "the better of two forecasts without noise",
        "peer_version": f"numpy {np.__version__}",
        "cases": [
            *cases,
            {"case": "without noise", "noise": 0.0, "users": users, "labels": labels, **exact},
            {"case": "without noise, by the method for noised counts", "noise": 0.0, **same},
        ],
    }


def _private(
    name: str, pasts: list[Past], deviation: float, exact: float, same: float
) -> dict[str, Any]:
    """The mean over seeds of the noise, beside the errors of both methods without any."""
    seeds = [measure(pasts, deviation, seed) for seed in range(NOISES)]
    errors = [each["wmape"] for each in seeds]
    return {
        "case": name,
        "noise": deviation,
        "wmape": mean(errors),
        "sd": stdev(errors),
        "times_noise_free": mean(errors) / exact,
        "times_noise_free_same_method": mean(errors) / same,
        "resolvable": mean(each["resolvable"] for each in seeds),
        "below_p90": mean(each["below_p90"] for each in seeds),
        "noise_newest": float(np.sqrt(covariance(deviation)[-1, -1])),
        "noise_mean": float(np.sqrt(np.diagonal(covariance(deviation)).mean())),
        "forecasts": seeds[0]["forecasts"],
    }


def read_cells(folder: Path) -> tuple[pl.DataFrame, int, int]:
    """Distinct (user, window, label) of a generated market, as numbers in order; labels; windows.

    Labels are numbered in the order of their names, users in that of theirs, and rows are sorted:
    a category's own number would depend on all strings that the process has met, and so would
    which noise falls on which label. Rows that preparation would clean away hold no cell of their
    own: a duplicate is the same cell, and an unknown item has no label.
    """
    catalogue = pl.scan_csv(folder / "catalogue.csv").select("item", "category")
    names = catalogue.select(pl.col("category").unique().sort()).collect()
    numbers = names.with_row_index("label").lazy()
    events = pl.scan_parquet(folder / "events" / "*.parquet").filter(pl.col("event").is_in(ACTIONS))
    users = events.select("site", "user_id").unique().sort("site", "user_id")
    found = (
        events.join(users.with_row_index("number"), on=["site", "user_id"])
        .join(catalogue, on="item")
        .join(numbers, on="category")
        .select(
            user=pl.col("number").cast(pl.Int64),
            window=((pl.col("ts").dt.date() - pl.lit(START)).dt.total_days() // 7).cast(pl.Int64),
            label=pl.col("label").cast(pl.Int64),
        )
        .unique()
        .sort("user", "label", "window")
        .collect()
    )
    return found, len(names), int(found.select(pl.col("window").max()).item()) + 1


def past(cells: pl.DataFrame, origin: int, labels: int) -> Past:
    """The release of the windows before ``origin``, and what came in that window."""
    first = origin - WINDOWS
    seen = cells.filter(pl.col("window").is_between(first, origin, closed="both"))
    user, label = seen["user"].to_numpy(), seen["label"].to_numpy()
    window = seen["window"].to_numpy() - first
    before = window < WINDOWS
    users = int(user.max()) + 1
    weight = shares(np.bincount(user[before], minlength=users).astype(np.float64))
    lengths = weight * _lengths(user[before], label[before], window[before], users)
    weight *= WeeklyDemand.clip_norm / np.maximum(lengths, WeeklyDemand.clip_norm)
    # Cells are added in their order, so that the same market gives the same bits.
    cell = label * (WINDOWS + 1) + window
    total: Float64 = np.bincount(cell, weight[user], labels * (WINDOWS + 1)).astype(np.float64)
    counts = total.reshape(labels, WINDOWS + 1)
    return Past(first, counts[:, :-1], counts[:, -1])


def _lengths(user: Int64, label: Int64, window: Int64, users: int) -> Float64:
    """float64 ``[users]``: of users' weighed cells; these come sorted by user and label."""
    starts = np.flatnonzero(np.diff(user, prepend=-1) | np.diff(label, prepend=-1))
    turned = np.add.reduceat(matrix().T[window], starts, axis=0)
    squares = np.square(turned).sum(axis=1)
    result: Float64 = np.sqrt(np.bincount(user[starts], squares, users).astype(np.float64))
    return result


def noise_deviation(users: int, share: float | None = None) -> float:
    """Standard deviation on each summed value, by the plan that a run of all sites would make.

    Args:
        share: of the budget for demand, beside the other kinds' 1; None: the default.
    """
    config = Config.model_validate(
        {"model": {"statistics": ["popularity", "h5", "pairs", "demand"]}}
    )
    if share is not None:
        split = {**config.privacy.split, "demand": share}
        config = config.model_copy(
            update={"privacy": config.privacy.model_copy(update={"split": split})}
        )
    federation = Federation([str(number) for number in range(MERCHANTS)], users)
    sigma = size(config, federation).kind("demand").noise_multiplier
    return sigma * WeeklyDemand().clip_norm * math.sqrt(MERCHANTS)


def measure(pasts: list[Past], deviation: float | None, seed: int) -> dict[str, float]:
    """WMAPE of the medians one window ahead, and what shares of the demand are resolvable and
    came to no more than P90.

    Args:
        deviation: of the noise on each summed value, by the method for noised counts, which may be
            told of 0; None for exact counts and the method that these get.
    """
    generator = SeededRandomness(seed, "demand noise").generator()
    told = None if deviation is None else covariance(deviation)
    errors, resolved, covered, total, forecasts = 0.0, 0.0, 0.0, 0.0, 0
    for each in pasts:
        drawn = generator.normal(0.0, deviation or 0.0, each.released.T.shape)
        found = forecast(_history(each, unweighed(drawn).T), 1, noise=told)
        errors += wmape(found.p50[:, 0], each.came) * float(each.came.sum())
        resolved += float(each.came[found.resolvable].sum())
        covered += float(each.came[each.came <= found.p90[:, 0]].sum())
        total += float(each.came.sum())
        forecasts += int(np.isfinite(found.p50).sum())
    return {
        "wmape": errors / total,
        "resolvable": resolved / total,
        "below_p90": covered / total,
        "forecasts": forecasts,
    }


def _history(past: Past, noise: Float64) -> DemandHistory:
    labels, windows = past.released.shape
    weeks = Windows.weeks(START + timedelta(weeks=past.first), windows + 1)
    return DemandHistory(
        past.released + noise,
        np.zeros(labels, dtype=np.int64),
        run_up((), weeks),
        month_phases(weeks),
    )
