"""What each privacy part costs by itself: for ``bench federation`` and ``bench scale``."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.ledger import Ledger
from groundswell.client.mechanism import (
    SystemRandomness,
    clip_and_round,
    gaussian_noise,
    rounding_keys,
)
from groundswell.client.policy import SitePolicy
from groundswell.server.unmasking import Requests, drive
from groundswell.shared.accounting import epsilon_of_merged, merge
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import (
    GRADIENT,
    CatalogueReference,
    OptimiserPlan,
    Phase,
    Plan,
    PlannedRelease,
    Schedule,
)
from groundswell.shared.scaling import scale
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import SumFederation

SIGMA = 4.0
CLIP_NORM = 0.1
_NOW = 1_700_000_000
_FILLER = "00" * 32


@dataclass(frozen=True)
class SumCost:
    """One secure sum in the steady state, the keys for the next one included.

    Attributes:
        site_seconds, coordinator_seconds: processor time of one site, and of the coordinator.
        site_bytes: sent and received by one site.
        exact: whether the sum was.
    """

    site_seconds: float
    coordinator_seconds: float
    site_bytes: int
    exact: bool


@dataclass(frozen=True)
class LedgerCost:
    """One release in a site's ledger: its rows reserved, sent and closed.

    Attributes:
        seconds: wall time, most of it waiting for the disk; file_bytes: growth of the file.
    """

    seconds: float
    file_bytes: float


class _Metered:
    """Delivers requests and notes what the sites took and what went over the wire."""

    def __init__(self, fed: SumFederation) -> None:
        self._sites = fed.sites
        self.seconds = 0.0
        self.bytes = 0

    def __call__(self, requests: Requests) -> Mapping[str, wire.VaultReply]:
        replies = {}
        for name, request in requests.items():
            data = serialise(request)
            start = time.process_time()
            answer = self._sites[name].handle(data)
            self.seconds += time.process_time() - start
            self.bytes += len(data) + len(answer)
            replies[name] = parse(wire.VaultReply, answer)
        return replies


def sum_cost(sites: int, dim: int, repeats: int = 3) -> SumCost:
    """Median over ``repeats`` rounds after a first one."""
    draw = np.random.default_rng(sites)
    vectors = {f"site-{n:03d}": draw.integers(-(2**40), 2**40, dim) for n in range(sites)}
    fed = SumFederation.create(vectors, now=_NOW)
    drive(fed.attempt(model=b""), _Metered(fed))
    expected = fed.expected(list(vectors))
    own, rest, sent, exact = [], [], 0, True
    for _ in range(repeats):
        metered = _Metered(fed)
        start = time.process_time()
        total = drive(fed.attempt(model=b""), metered)
        rest.append(time.process_time() - start - metered.seconds)
        own.append(metered.seconds / sites)
        sent = metered.bytes // sites
        exact = exact and np.array_equal(total.total, expected)
    return SumCost(statistics.median(own), statistics.median(rest), sent, exact)


def clip_seconds(users: int, dim: int) -> float:
    """Clipping and rounding the vectors of ``users`` users, processor seconds."""
    vectors = np.random.default_rng(0).standard_normal((users, dim)).astype(np.float32)
    keys = rounding_keys(bytes(32), [f"user-{n}" for n in range(users)])
    delta = scale(SIGMA, dim)
    return _median(lambda: clip_and_round(vectors, CLIP_NORM, delta, dim, keys))


def noise_seconds(dim: int) -> float:
    """One site's noise, processor seconds."""
    deviation = SIGMA * scale(SIGMA, dim)
    return _median(lambda: gaussian_noise(dim, deviation, SystemRandomness()))


def accounting_seconds(rounds: int, q: float = 0.5) -> float:
    """Epsilon of one tier after ``rounds`` equal releases, nothing remembered; wall seconds."""
    merged = merge([(SIGMA, q, rounds)])
    start = time.perf_counter()
    epsilon_of_merged.__wrapped__(merged, 1e-6)
    return time.perf_counter() - start


def ledger_cost(sites: int, events: int = 20) -> LedgerCost:
    """Median time and mean growth over ``events`` releases in a fresh file."""
    plan = tiny_plan(sites, events)
    names = tuple(f"site-{n:03d}" for n in range(sites))
    release = plan.releases[0]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.sqlite"
        ledger = Ledger.create(path, SigningKey.generate(), names[0], SitePolicy.for_plan(plan))
        _record(ledger, plan, release, names, 1)
        before = path.stat().st_size
        seconds = []
        for seq in range(2, events + 1):
            start = time.perf_counter()
            _record(ledger, plan, release, names, seq)
            seconds.append(time.perf_counter() - start)
        grown = path.stat().st_size - before
        ledger.close()
    return LedgerCost(statistics.median(seconds), grown / (events - 1))


def _record(
    ledger: Ledger, plan: Plan, release: PlannedRelease, names: tuple[str, ...], seq: int
) -> None:
    """The three rows of one release."""
    admission = Admission(
        seq=seq,
        kind=release.kind,
        round=seq,
        model_hash=bytes(32),
        sharers=names,
        honest=len(names) - 1,
        declared=dict.fromkeys(names, 1000),
    )
    ledger.reserve(plan, release, admission)
    ledger.sent(seq)
    confirmations = tuple((name, b"") for name in names[: plan.threshold])
    ledger.closed(Unmasking(seq, names, len(names) - 1, confirmations, b""))


def tiny_plan(sites: int, rounds: int) -> Plan:
    """A plan of rounds alone, for a ledger to write about."""
    sigma = 50.0  # so that no number of rounds meets a cap
    release = PlannedRelease(
        kind=GRADIENT,
        phases=(Phase.ROUNDS,),
        noise_multiplier=sigma,
        sampling_rate=0.5,
        clip_norm=CLIP_NORM,
        scale=scale(sigma, 5000),
        dimension=5000,
        max_nonzero=5000,
        count=rounds,
        retries=1,
    )
    return Plan(
        run="ab" * 16,
        threshold=sites // 2 + 2,
        n_min=max(3, sites - 2),
        colluders=1,
        delta=1e-6,
        eps_c=3.0,
        eps_l=8.0,
        rounds=rounds,
        examples_per_user=1,
        clipping="flat",
        releases=(release,),
        catalogues=(CatalogueReference(name="bench", hash=_FILLER, labels=300),),
        backbone="none",
        backbone_hash=_FILLER,
        initial_model_hash=_FILLER,
        task={},
        model={},
        schedule=Schedule(train_from=None, stats_until=None, train_until=None, step=1),
        optimiser=OptimiserPlan(
            name="adam",
            learning_rate=0.1,
            adapter_learning_rate=0.01,
            momentum=0.9,
            beta2=0.99,
            cosine=True,
            average_from=0.5,
            weight_decay=0.0,
            l1=0.0,
        ),
        seconds_per_slot=0.0,
    )


def _median(call: Callable[[], object], repeats: int = 3) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        seconds.append(time.process_time() - start)
    return statistics.median(seconds)
