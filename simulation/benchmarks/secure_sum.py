"""``groundswell bench secure-sum``: one whole secure sum, ours against Flower's SecAgg+.

Both sides sum the same integer vectors in this process, with the same threshold and the same sites
dropping out before they send their vectors. Computing seconds are those of the processor, over all
sites and the coordinator together. Ours includes what Flower's does not have: signatures that
authenticate every key and reply, a confirmed set of survivors, and the serialising of messages.

A round in the steady state is measured, the keys for the next one included: the work of one round.
The very first one, in which every site also checks every certificate, stands beside it.
"""

from __future__ import annotations

import cProfile
import pstats
import statistics
import time
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from groundswell.server.unmasking import Requests, SecureTotal, drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import InputError
from groundswell.shared.roster import LARGEST_ROSTER
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.benchmarks.flower_secagg import LARGEST_ENTRY, FlowerSum
from groundswell.simulation.benchmarks.machine import machine
from groundswell.simulation.secure_sites import SumFederation, Vector, exchange_with

TABLE_SITES = (8, 16, 32, 64, 128)
TABLE_DIMENSIONS = (10_000, 100_000, 1_000_000, 10_000_000)
# Above this many numbers in all, one site and the coordinator are timed, the other sites scaled.
LARGEST_WHOLE = 10**8
# Flower's shares are rebuilt in time cubic in the sites: larger cases are ours alone.
LARGEST_PEER_SITES = 32
LARGEST_PEER_WORK = 16 * 16 * 10**6

_NOW = 1_700_000_000
_PARTS = {
    "signatures": ("'verify' of", "'sign' of"),
    "key_agreement": ("'exchange' of",),
    "mask_streams": ("'update_into' of",),
    "hashes": ("openssl_sha256",),
}


def run(
    sites: int = 16, dim: int = 100_000, drop: int = 2, *, repeats: int = 5, table: bool = False
) -> dict[str, Any]:
    """Measure one case, and a table of others if asked.

    Args:
        sites: in the roster, each a merchant of its own.
        dim: length of each vector.
        drop: sites that share their keys and then send no vector.
        repeats: rounds of each side in the headline case; the median counts.
        table: whether to add sites 8..128 and dimensions 10^4..10^7, one round each.

    Returns:
        The benchmark's JSON; ``equal`` says that both sides gave the exact sum.

    Raises:
        InputError: sites or dropped sites that no threshold fits.
    """
    if not 4 <= sites <= LARGEST_ROSTER:
        raise InputError("sites", sites, "must lie in 4..128", "choose another number")
    if not 0 <= drop <= sites - (sites // 2 + 1):
        raise InputError(
            "drop", drop, f"must leave {sites // 2 + 1} of {sites} sites", "drop fewer"
        )
    if dim < 1:
        raise InputError("dim", dim, "must be positive", "choose another number")
    headline = whole_case(sites, dim, drop, repeats=repeats, peer=True)
    cases = [headline]
    if table:
        cases += [
            _table_case(each, dimension, drop)
            for each in TABLE_SITES
            for dimension in TABLE_DIMENSIONS
        ]
    return {
        "name": "secure-sum",
        "machine": machine(),
        "ours": headline["ours"],
        "peer": headline["peer"],
        "unit": "computing seconds of one sum, all sites and the coordinator",
        "ratio": headline["ratio"],
        "higher_is_better": False,
        "equal": all(case["equal"] is not False for case in cases),
        "peer_name": "Flower SecAgg+ workflow",
        "peer_version": version("flwr"),
        "cases": cases,
    }


def whole_case(sites: int, dim: int, drop: int, *, repeats: int, peer: bool) -> dict[str, Any]:
    """One case in which every site and the coordinator do all their work.

    With more than one repeat, ``ours_parts`` tells where the time of one more round goes.
    """
    vectors = _vectors(sites, dim)
    fed = SumFederation.create(vectors, now=_NOW, n_min=sites - drop)
    exchange = _Dropping(fed, drop)
    expected = fed.expected(exchange.survivors)
    exact = True

    def one() -> float:
        nonlocal exact
        start = time.process_time()
        total = drive(fed.attempt(model=b""), exchange)
        seconds = time.process_time() - start
        exact = exact and _is_exact(total, exchange.survivors, expected)
        return seconds

    first = one()
    seconds = [one() for _ in range(repeats)]
    case = _case(sites, dim, drop, "whole")
    case |= {
        "ours": statistics.median(seconds),
        "ours_first": first,
        "ours_parts": _parts(fed, exchange) if repeats > 1 else None,
    }
    if peer:
        flower = FlowerSum(vectors.values(), dropped=drop, threshold=fed.terms.threshold)
        peer_seconds = []
        for _ in range(repeats):
            start = time.process_time()
            total = flower.run()
            peer_seconds.append(time.process_time() - start)
            exact = exact and np.array_equal(total, expected)
        case["peer"] = statistics.median(peer_seconds)
        case["ratio"] = case["peer"] / case["ours"]
    return case | {"equal": exact}


def one_site_case(sites: int, dim: int, drop: int) -> dict[str, Any]:
    """A case too large to compute whole: one site masks a vector of ``dim`` numbers, the others
    short ones, and the coordinator takes the long one from each. The sum can't be checked."""
    vectors = _vectors(sites, 16)
    first = next(iter(vectors))
    vectors[first] = _vectors(1, dim)[first]
    fed = SumFederation.create(vectors, now=_NOW, n_min=sites - drop)
    exchange = _OneLarge(fed, drop, first)
    start = time.process_time()
    drive(fed.attempt(model=b"", following=False), exchange)
    seconds = time.process_time() - start - exchange.building_seconds
    case = _case(sites, dim, drop, "one site and the coordinator")
    return case | {"ours": seconds + (sites - drop - 1) * exchange.extra_seconds}


def _table_case(sites: int, dim: int, drop: int) -> dict[str, Any]:
    if sites * dim > LARGEST_WHOLE:
        return one_site_case(sites, dim, drop)
    peer = sites <= LARGEST_PEER_SITES and sites * sites * dim <= LARGEST_PEER_WORK
    return whole_case(sites, dim, drop, repeats=1, peer=peer)


def _case(sites: int, dim: int, drop: int, timed: str) -> dict[str, Any]:
    return {
        "sites": sites,
        "dim": dim,
        "drop": drop,
        "timed": timed,
        "ours": None,
        "ours_first": None,
        "ours_parts": None,
        "peer": None,
        "ratio": None,
        "equal": None,
    }


def _vectors(sites: int, dim: int) -> dict[str, Vector]:
    generator = np.random.default_rng(sites)
    return {
        f"site-{index:03d}": generator.integers(1 - LARGEST_ENTRY, LARGEST_ENTRY, dim)
        for index in range(sites)
    }


def _is_exact(total: SecureTotal, survivors: list[str], expected: Vector) -> bool:
    return list(total.survivors) == survivors and np.array_equal(total.total, expected)


def _parts(fed: SumFederation, exchange: _Dropping) -> dict[str, float]:
    """Seconds of one more round by kind of primitive, with the profiler on."""
    profile = cProfile.Profile()
    profile.enable()
    drive(fed.attempt(model=b""), exchange)
    profile.disable()
    parts = dict.fromkeys(_PARTS, 0.0)
    table: Mapping[tuple[str, int, str], tuple[int, int, float, float, Any]] = vars(
        pstats.Stats(profile)
    )["stats"]
    for (_, _, function), (_, _, own_seconds, _, _) in table.items():
        for part, names in _PARTS.items():
            if any(name in function for name in names):
                parts[part] += own_seconds
    return parts


class _Dropping:
    """Delivers requests; the last sites never get the one for their vector."""

    def __init__(self, fed: SumFederation, drop: int) -> None:
        names = sorted(fed.sites)
        self.survivors = names[: len(names) - drop]
        self._deliver = exchange_with(fed.sites)

    def __call__(self, requests: Requests) -> Mapping[str, wire.VaultReply]:
        return self._deliver(
            {
                name: request
                for name, request in requests.items()
                if name in self.survivors or not request.HasField("contribute")
            }
        )


class _OneLarge(_Dropping):
    """Like ``_Dropping``; the vector of one site comes from every other one as well.

    Attributes:
        extra_seconds: what the site with the long vector took beyond one with a short vector.
        building_seconds: spent on making the others' replies, which is nobody's work.
    """

    def __init__(self, fed: SumFederation, drop: int, large: str) -> None:
        super().__init__(fed, drop)
        self._fed = fed
        self._large = large
        self.extra_seconds = 0.0
        self.building_seconds = 0.0

    def __call__(self, requests: Requests) -> Mapping[str, wire.VaultReply]:
        if not requests[self._large].HasField("contribute"):
            return super().__call__(requests)
        seconds: dict[str, float] = {}
        body = b""
        vector = b""
        for name in self.survivors:
            start = time.process_time()
            data = self._fed.sites[name].handle(serialise(requests[name]))
            seconds[name] = time.process_time() - start
            if name == self._large:
                reply = parse(wire.VaultReply, data)
                body, vector = reply.contributed.signed.body, reply.contributed.vector
        short = [value for name, value in seconds.items() if name != self._large]
        self.extra_seconds = seconds[self._large] - statistics.median(short)
        return _SameVector(self, body, vector)

    def reply(self, name: str, body: bytes, vector: bytes) -> wire.VaultReply:
        """The long vector as if it were another site's, read off the wire."""
        start = time.process_time()
        key = self._fed.consortium.members[name].key
        built = wire.VaultReply()
        built.contributed.signed.body = body
        built.contributed.signed.signature = key.sign_bytes("ContributionBody", body)
        built.contributed.vector = vector
        data = serialise(built)
        self.building_seconds += time.process_time() - start
        return parse(wire.VaultReply, data)


class _SameVector(Mapping[str, wire.VaultReply]):
    """Replies that are made when they are looked up, so that one is in memory at a time."""

    def __init__(self, exchange: _OneLarge, body: bytes, vector: bytes) -> None:
        self._exchange = exchange
        self._body = body
        self._vector = vector

    def __getitem__(self, name: str) -> wire.VaultReply:
        if name not in self._exchange.survivors:
            raise KeyError(name)
        return self._exchange.reply(name, self._body, self._vector)

    def __iter__(self) -> Iterator[str]:
        return iter(self._exchange.survivors)

    def __len__(self) -> int:
        return len(self._exchange.survivors)
