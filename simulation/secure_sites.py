"""A consortium in one process: its keys and certificates, and sites that only take part in sums.

For rehearsals, tests and benchmarks. The sites here have no data, no policy and no ledger: what
guards those is the vault's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from groundswell.client.masking import SiteMasking
from groundswell.server.unmasking import Attempt, Release, Requests, SecureSum
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import Certificate, Revocations, SigningKey, Trust
from groundswell.shared.masks import digest
from groundswell.shared.roster import Head, Terms, colluding_sites, least_threshold
from groundswell.shared.wire import groundswell_pb2 as wire

Vector = NDArray[np.int64]
YEAR_SECONDS = 366 * 24 * 3600
# No site's name begins with a capital letter, so these can't clash with one.
_CA, _COORDINATOR = "CA", "COORDINATOR"


@dataclass(frozen=True)
class Member:
    """One site's key and its certificate."""

    key: SigningKey
    certificate: wire.Signed = field(repr=False)


@dataclass(frozen=True)
class Consortium:
    """Keys of a CA, a coordinator and some sites, all fresh.

    Attributes:
        members: by site name.
        merchants: site name to merchant.
    """

    authority: SigningKey
    coordinator: SigningKey
    members: Mapping[str, Member]
    merchants: Mapping[str, str]
    now: int

    @classmethod
    def create(
        cls,
        merchants: Mapping[str, str],
        *,
        now: int,
        declared: Mapping[str, int] | None = None,
        regions: Mapping[str, str] | None = None,
    ) -> Consortium:
        """A fresh consortium.

        Args:
            merchants: site name to merchant name.
            now: Unix seconds; certificates hold for a year from here.
            declared: declared users of each site, two significant digits; 1000 by default.
            regions: site name to region, of those that have one.
        """
        keys = {name: SigningKey.generate() for name in [_CA, _COORDINATOR, *merchants]}
        return cls._of(keys, merchants, now, declared, regions or {})

    @classmethod
    def kept(
        cls,
        folder: Path,
        merchants: Mapping[str, str],
        *,
        now: int,
        declared: Mapping[str, int] | None = None,
        regions: Mapping[str, str] | None = None,
    ) -> Consortium:
        """The consortium whose keys lie in a folder; those that are missing are made there."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        keys = {}
        for name in [_CA, _COORDINATOR, *merchants]:
            path = folder / f"{name}.key"
            if not path.exists():
                SigningKey.generate().write(path)
            keys[name] = SigningKey.read(path)
        return cls._of(keys, merchants, now, declared, regions or {})

    @classmethod
    def _of(
        cls,
        keys: Mapping[str, SigningKey],
        merchants: Mapping[str, str],
        now: int,
        declared: Mapping[str, int] | None,
        regions: Mapping[str, str],
    ) -> Consortium:
        authority, coordinator = keys[_CA], keys[_COORDINATOR]
        members = {}
        for serial, (name, merchant) in enumerate(sorted(merchants.items()), start=1):
            key = keys[name]
            users = 1000 if declared is None else declared[name]
            certificate = Certificate(
                name, merchant, key.public, users, now, now + YEAR_SECONDS, serial,
                regions.get(name, ""),
            )  # fmt: skip
            members[name] = Member(key, certificate.sealed_by(authority))
        return cls(authority, coordinator, members, dict(merchants), now)

    @property
    def trust(self) -> Trust:
        """What one party pins; each party has its own."""
        return Trust(self.authority.public, self.coordinator.public)

    def revocations(self, number: int = 1, serials: Sequence[int] = ()) -> wire.Signed:
        """A list of the CA that holds for a year."""
        listed = Revocations(number, self.now, self.now + YEAR_SECONDS, frozenset(serials))
        return listed.sealed_by(self.authority)

    def terms(
        self,
        *,
        threshold: int | None = None,
        n_min: int | None = None,
        colluders: int = 1,
        run: bytes = bytes(16),
        plan_hash: bytes = bytes(32),
    ) -> Terms:
        """Terms that a roster of all sites keeps: the least t, and n_min = max(3, sites - 2)."""
        names = list(self.merchants.values())
        least = least_threshold(names, colluders)
        # Two sites fewer, of other merchants than the colluders, are still enough.
        survivors = max(3, len(names) - 2)
        if survivors - colluding_sites(names, colluders) < 1:
            survivors = len(names)
        return Terms(
            run,
            plan_hash,
            least if threshold is None else threshold,
            survivors if n_min is None else n_min,
            colluders,
        )

    def masking(self, name: str, terms: Terms) -> SiteMasking:
        """One site's half of the secure sum."""
        member = self.members[name]
        return SiteMasking(member.key, member.certificate, self.trust, terms, now=self.now)


class SumSite:
    """A site that adds ``vector(admission seq)`` to every sum that it is asked for."""

    def __init__(self, masking: SiteMasking, vector: Callable[[int], Vector], *, now: int) -> None:
        self.masking = masking
        self.vector = vector
        self.now = now
        self.highest_seq = 0
        self.survivors: dict[int, tuple[str, ...]] = {}

    @property
    def head(self) -> Head:
        """Stands for a ledger that has one row for each sum."""
        row = self.highest_seq
        return Head(row, digest("head", row.to_bytes(8, "little")))

    def handle(self, data: bytes) -> bytes:
        """Answer a serialised VaultRequest with a serialised VaultReply."""
        try:
            return self._answer(parse(wire.VaultRequest, data))
        except Refusal as refusal:
            return serialise(wire.VaultReply(refused=wire.Refused(code=refusal.code)))

    def _answer(self, request: wire.VaultRequest) -> bytes:
        kind = request.WhichOneof("request")
        if kind == "advertise":
            return self.masking.advertise(
                request.advertise, head=self.head, highest_seq=self.highest_seq, now=self.now
            )
        if kind == "share":
            return self.masking.share(request.share, now=self.now)
        if kind == "contribute":
            return self._contribute(request.contribute)
        if kind == "confirm":
            return self.masking.confirm(
                request.confirm, head=self.head, highest_seq=self.highest_seq, now=self.now
            )
        if kind == "unmask":
            ended = self.masking.unmask(request.unmask, now=self.now)
            self.survivors[ended.seq] = ended.survivors
            return ended.reply
        if kind == "finish":
            return self.masking.finish(request.finish, head=self.head, now=self.now)
        raise Refusal("unknown-request", f"a site that only sums does not answer {kind}")

    def _contribute(self, request: wire.ContributeRequest) -> bytes:
        stored = self.masking.stored_contribution(request)
        if stored is not None:
            return stored
        admission = self.masking.admit(
            request,
            model_hash=digest("model", request.model),
            highest_seq=self.highest_seq,
            now=self.now,
        )
        self.highest_seq = admission.seq
        return self.masking.mask(admission.seq, self.vector(admission.seq))


Exchange = Callable[[Requests], dict[str, wire.VaultReply]]


def exchange_with(sites: Mapping[str, SumSite]) -> Exchange:
    """All sites answer, over serialised bytes."""

    def exchange(requests: Requests) -> dict[str, wire.VaultReply]:
        return {
            name: parse(wire.VaultReply, sites[name].handle(serialise(request)))
            for name, request in requests.items()
        }

    return exchange


@dataclass
class SumFederation:
    """A coordinator and its sites, each with one fixed vector, ready for a first attempt."""

    consortium: Consortium
    terms: Terms
    sites: dict[str, SumSite]
    vectors: dict[str, Vector] = field(repr=False)
    coordinator: SecureSum

    @classmethod
    def create(
        cls,
        vectors: Mapping[str, Vector],
        *,
        now: int,
        merchants: Mapping[str, str] | None = None,
        threshold: int | None = None,
        n_min: int | None = None,
        colluders: int = 1,
    ) -> SumFederation:
        """A federation with fresh keys.

        Args:
            vectors: site name to int64 ``[d]``.
            merchants: site name to merchant; each site is a merchant of its own by default.
        """
        consortium = Consortium.create(
            {name: name for name in vectors} if merchants is None else merchants, now=now
        )
        terms = consortium.terms(threshold=threshold, n_min=n_min, colluders=colluders)

        def constant(vector: Vector) -> Callable[[int], Vector]:
            return lambda seq: vector

        sites = {
            name: SumSite(consortium.masking(name, terms), constant(vector), now=now)
            for name, vector in vectors.items()
        }
        coordinator = SecureSum(consortium.trust, terms, consortium.revocations())
        return cls(consortium, terms, sites, dict(vectors), coordinator)

    def attempt(
        self, *, round_number: int = 1, following: bool = True, model: bytes = b"model"
    ) -> Attempt:
        """The next attempt over all sites."""
        dimension = len(next(iter(self.vectors.values())))
        release = Release("gradient", round_number, model, digest("model", model), dimension)
        return self.coordinator.attempt(
            release, sites=self.sites, following=following, now=self.consortium.now
        )

    def expected(self, survivors: Sequence[str]) -> Vector:
        """The exact sum of some sites' vectors, modulo 2^64."""
        total = np.zeros_like(next(iter(self.vectors.values())))
        for name in survivors:
            total += self.vectors[name]
        return total

    def until(self, phases: int) -> tuple[Attempt, Requests]:
        """A first attempt after ``phases`` phases, and the requests that no site has seen yet."""
        attempt = self.attempt()
        requests = next(attempt)
        for _ in range(phases):
            requests = attempt.send(exchange_with(self.sites)(requests))
        return attempt, requests

    def code_of(self, site: str, request: wire.VaultRequest) -> str:
        """The code that a site refuses a request with, or an empty text."""
        reply = parse(wire.VaultReply, self.sites[site].handle(serialise(request)))
        return reply.refused.code
