"""``groundswell bench scale``: cost per site, user, dimension and round, and what follows on paper.

Costs are measured at small sizes and fitted with non-negative weights (``Law``). Whether the laws
may be trusted is measured too: a larger sum that no fit has seen is predicted and then run, and the
figures are void where the prediction is off by more than half.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.optimize import nnls

from groundswell.client.sampling import slots
from groundswell.shared.backbone import load_backbone
from groundswell.shared.config import Model
from groundswell.shared.histories import Histories
from groundswell.shared.statistics import STATISTICS
from groundswell.simulation.benchmarks import parts, train
from groundswell.simulation.benchmarks.machine import interleaved, machine, peak_bytes

SITES = (6, 12, 24)
DIMENSIONS = (1_000, 10_000, 100_000)
LARGER = (48, 50_000)  # sites and dimension of the case that checks the fits
WORST_FACTOR = 1.5
ROUNDS = 40
LABELS = 302
# Sites, users of each, sampling rate of the rounds.
SCENARIOS = ((8, 300, 0.5), (100, 100_000, 0.5), (100, 10_000_000, 0.5), (100, 10_000_000, 0.01))


@dataclass(frozen=True)
class Law:
    """A cost as a sum of powers of n sites and d dimensions with fitted weights.

    Attributes:
        terms: powers of n and of d; weights: one for each term.
    """

    terms: tuple[tuple[int, int], ...]
    weights: tuple[float, ...]

    @classmethod
    def fit(
        cls, terms: Sequence[tuple[int, int]], sizes: Sequence[tuple[int, int]], costs: list[float]
    ) -> Law:
        """Weights >= 0 with the least squared relative error."""
        rows = np.array([[n**a * d**b for a, b in terms] for n, d in sizes], dtype=np.float64)
        relative = rows / np.array(costs)[:, None]
        scales = np.maximum(relative.max(axis=0), 1e-300)
        found, _ = nnls(relative / scales, np.ones(len(costs)))
        return cls(tuple(terms), tuple((found / scales).tolist()))

    def at(self, sites: int, dim: int) -> float:
        """The cost there."""
        return float(
            sum(w * sites**a * dim**b for w, (a, b) in zip(self.weights, self.terms, strict=True))
        )


@dataclass(frozen=True)
class Laws:
    """What is known of costs.

    Attributes:
        site_seconds, coordinator_seconds, site_bytes: of one secure sum.
        ledger_seconds, ledger_bytes: of one release in a site's ledger.
        coordinator_peak: bytes in memory for each site and coordinate of a sum.
        gradient_seconds: of one user in a round; statistic_seconds: of one user in all statistics.
        user_bytes: one user's prepared history in the vault's memory.
        accounting_seconds: epsilon of both tiers after a run.
    """

    site_seconds: Law
    coordinator_seconds: Law
    site_bytes: Law
    ledger_seconds: Law
    ledger_bytes: Law
    coordinator_peak: float
    gradient_seconds: float
    statistic_seconds: float
    user_bytes: float
    accounting_seconds: float


def run(*, data: train.TrainData | None = None, quick: bool = False) -> dict[str, Any]:
    """Measure the costs, check the fits on a larger case, and work out the scenarios.

    Args:
        data: The Complete Journey unless given.
        quick: smaller sizes, for a test.
    """
    torch.set_num_threads(1)
    sites, dims = (SITES, DIMENSIONS) if not quick else ((4, 6, 8), (500, 5_000, 20_000))
    larger = LARGER if not quick else (12, 10_000)
    laws, dimension = measure(sites, dims, data or train.demo_data(), 128 if not quick else 8)
    check = parts.sum_cost(*larger)
    found = larger[0] * check.site_seconds + check.coordinator_seconds
    predicted = larger[0] * laws.site_seconds.at(*larger) + laws.coordinator_seconds.at(*larger)
    return {
        "name": "scale",
        "machine": f"{machine()}, 1 thread",
        "ours": predicted,
        "peer": found,
        "unit": f"processor seconds of a secure sum, {larger[0]} sites, {larger[1]} numbers",
        "ratio": found / predicted,
        "higher_is_better": False,
        "equal": check.exact and 1 / WORST_FACTOR <= found / predicted <= WORST_FACTOR,
        "peer_name": "the same sum measured, which no fit has seen",
        "peer_version": "this commit",
        "cases": [
            *_measured(laws),
            *(_scenario(laws, dimension, *scenario) for scenario in SCENARIOS),
        ],
    }


def measure(
    sites: Sequence[int], dims: Sequence[int], data: train.TrainData, users: int
) -> tuple[Laws, int]:
    """The laws, and the dimension of a gradient."""
    sizes = [(n, d) for n in sites for d in dims]
    sums = [parts.sum_cost(n, d) for n, d in sizes]
    ledgers = [parts.ledger_cost(n) for n in sites]
    alone = [(n, 1) for n in sites]
    seconds, statistic, dimension = _user_seconds(data, users)
    wide = (sites[-1], dims[-1])
    peak = peak_bytes(lambda: parts.sum_cost(*wide, repeats=1)) or 0
    laws = Laws(
        site_seconds=Law.fit(
            [(0, 0), (1, 0), (0, 1), (1, 1)], sizes, [each.site_seconds for each in sums]
        ),
        coordinator_seconds=Law.fit(
            [(1, 0), (2, 0), (1, 1)], sizes, [each.coordinator_seconds for each in sums]
        ),
        site_bytes=Law.fit(
            [(0, 0), (1, 0), (0, 1)], sizes, [float(each.site_bytes) for each in sums]
        ),
        ledger_seconds=Law.fit([(0, 0), (1, 0)], alone, [each.seconds for each in ledgers]),
        ledger_bytes=Law.fit([(0, 0), (1, 0)], alone, [each.file_bytes for each in ledgers]),
        coordinator_peak=peak / (wide[0] * wide[1]),
        gradient_seconds=seconds,
        statistic_seconds=statistic,
        user_bytes=_bytes_of(data.histories) / len(data.histories),
        accounting_seconds=2 * parts.accounting_seconds(ROUNDS),
    )
    return laws, dimension


def _user_seconds(data: train.TrainData, users: int) -> tuple[float, float, int]:
    """One user's gradient and one user's statistics, seconds, and the gradient's dimension."""
    work = train.draw_work(data, users, np.random.default_rng(0), data.train[-1:])
    users = len(work.histories)
    bench = train.Bench(data, load_backbone(), {}, work, 0)
    step, dimension = bench.ours_with_dimension(1)
    until = int(data.train[-1])
    times = data.task.prediction_times(int(data.train[0]), until - data.task.window_us)
    seen = data.histories.take(np.arange(users)).before(np.full(users, until))
    popularity = {
        name: np.full(len(data.catalogue), 0.1, dtype=np.float32)
        for kind in STATISTICS.values()
        for name in kind.needs(len(data.catalogue))
    }

    def statistics() -> None:
        for name in Model().statistics:
            STATISTICS[name].user_vectors(seen, times, data.task, data.catalogue, popularity)

    found = interleaved({"gradient": step, "statistics": statistics}, 3)
    return found["gradient"] / users, found["statistics"] / users, dimension


def _bytes_of(h: Histories) -> float:
    arrays = (h.offsets, h.time, h.label, h.weight, h.action, h.token, h.basket)
    return float(sum(array.nbytes for array in arrays) + sum(map(sys.getsizeof, h.users)))


def _measured(laws: Laws) -> list[dict[str, Any]]:
    """Each cost at a common size: 16 sites, 10^4 numbers."""
    at = (16, 10_000)
    rows = [
        ("secure sum, one site", 1e3 * laws.site_seconds.at(*at), "ms"),
        ("secure sum, coordinator", 1e3 * laws.coordinator_seconds.at(*at), "ms"),
        ("secure sum, sent and received by one site", laws.site_bytes.at(*at) / 1e3, "kB"),
        ("secure sum, memory in one process", laws.coordinator_peak, "bytes/site/number"),
        ("gradient of one user", 1e3 * laws.gradient_seconds, "ms"),
        ("statistics of one user", 1e3 * laws.statistic_seconds, "ms"),
        ("a user's history in memory", laws.user_bytes / 1e3, "kB"),
        ("a release in one ledger, to disk", 1e3 * laws.ledger_seconds.at(16, 1), "ms"),
        ("a release in one ledger", laws.ledger_bytes.at(16, 1), "bytes"),
        (f"accounting after {ROUNDS} rounds, both tiers", 1e3 * laws.accounting_seconds, "ms"),
    ]
    return [{"cost": name, "value": value, "unit": unit} for name, value, unit in rows]


def _scenario(laws: Laws, dimension: int, sites: int, users: int, rate: float) -> dict[str, Any]:
    """On paper: one run of all statistics twice and ``ROUNDS`` rounds, one core at each site."""
    kinds = [STATISTICS[name] for name in Model().statistics]
    widths = [kind.dimension(LABELS) for kind in kinds]
    releases = ROUNDS + 2 * len(kinds)
    # The model that comes down is float32: half of what goes up.
    sent = ROUNDS * (laws.site_bytes.at(sites, dimension) + 4 * dimension)
    sent += 2 * sum(laws.site_bytes.at(sites, width) for width in widths)
    worked = slots(users, rate)
    return {
        "sites": sites,
        "users_a_site": users,
        "sampling_rate": rate,
        "site_seconds_a_round": worked * laws.gradient_seconds
        + laws.site_seconds.at(sites, dimension),
        "site_seconds_statistics": users * laws.statistic_seconds,
        "coordinator_seconds_a_round": laws.coordinator_seconds.at(sites, dimension),
        "site_MB_a_run": sent / 1e6,
        "coordinator_MB_a_run": sites * sent / 1e6,
        "coordinator_peak_MB": laws.coordinator_peak * sites * max(widths) / 1e6,
        "vault_history_GB": laws.user_bytes * users / 1e9,
        "ledger_kB_a_run": releases * laws.ledger_bytes.at(sites, 1) / 1e3,
    }
