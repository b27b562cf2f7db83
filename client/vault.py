"""The vault: the one object that holds a site's events, keys, policy and ledger.

It answers a handful of typed requests. Each one is checked against the site's own policy and
charged to the site's own ledger *before* anything is computed, and nothing leaves but signed keys,
encrypted shares, coarse codes, and noised vectors under masks. The same class runs behind a socket
at a data site and in process in a simulation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from groundswell.client.attempt import Admission
from groundswell.client.contributions import SiteData, Workplace
from groundswell.client.job import Job
from groundswell.client.ledger import Ledger
from groundswell.client.masking import SiteMasking
from groundswell.client.mechanism import Randomness, SystemRandomness, gaussian_noise
from groundswell.client.policy import SitePolicy, check_delta
from groundswell.client.sampling import poisson_sample, slots, within_slots
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import LedgerError, Refusal
from groundswell.shared.histories import Int64
from groundswell.shared.identity import SigningKey, Trust
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.roster import terms_of
from groundswell.shared.transfer import ModelState
from groundswell.shared.wire import groundswell_pb2 as wire

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Identity:
    """Who this site is, and whom it trusts."""

    key: SigningKey = field(repr=False)
    certificate: wire.Signed = field(repr=False)
    trust: Trust = field(repr=False)


class RandomSource(Protocol):
    """Where one attempt's sample and noise come from; keys and masks never come from here."""

    def sample(self, kind: str, round_number: int) -> Randomness: ...

    def noise(self, kind: str, round_number: int) -> Randomness: ...


class SystemSource:
    """A deployed site's only source: the operating system."""

    def sample(self, kind: str, round_number: int) -> Randomness:
        return SystemRandomness()

    def noise(self, kind: str, round_number: int) -> Randomness:
        return SystemRandomness()


class Pace(Protocol):
    """Makes the time of a reply, and the work behind it, independent of the sample."""

    def slots(self, declared: int, rate: float) -> int | None:
        """Users' worth of work to do, or None for as many as were sampled."""
        ...

    def wait(self, started: float, seconds: float) -> None:
        """Return ``seconds`` after ``started`` (``time.monotonic``), not before."""
        ...

    def failed(self, error: Exception) -> None:
        """Computing on users' events failed; return, to leave out whom it fails for, or raise."""
        ...


class FixedPace:
    """A deployed site's pace: all slots are computed, and the reply goes out at the slot time."""

    def slots(self, declared: int, rate: float) -> int | None:
        return slots(declared, rate)

    def wait(self, started: float, seconds: float) -> None:
        left = started + seconds - time.monotonic()
        if left < 0 < seconds:
            log.warning("computing outlasted the slot time, so the time of this answer may tell")
        time.sleep(max(0.0, left))

    def failed(self, error: Exception) -> None:
        """Into the site's own log, for the operator alone: kind and place, no message."""
        log.error("computing failed: users for whom it fails are left out", exc_info=error)


@dataclass(frozen=True)
class _Joined:
    """The run that this site takes part in."""

    plan: Plan
    masking: SiteMasking
    workplace: Workplace


class Vault:
    """One site.

    Args:
        identity: the site's key and certificate, and the pinned public keys.
        policy: the site's own rules; the server can't widen them.
        ledger: open, verified.
        data: prepared events and public tables.
        randomness: the operating system's, outside a rehearsal.
        pace: fixed, outside a simulation.
        clock: Unix seconds.
    """

    def __init__(
        self,
        identity: Identity,
        policy: SitePolicy,
        ledger: Ledger,
        data: SiteData,
        *,
        randomness: RandomSource | None = None,
        pace: Pace | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._identity = identity
        self._policy = policy
        self._ledger = ledger
        self._data = data
        self._randomness = randomness or SystemSource()
        self._pace = pace or FixedPace()
        self._clock = clock
        self._joined: _Joined | None = None
        own = identity.trust.certificate(identity.certificate, int(clock()))
        self.name = own.name
        self._declared = own.declared_users
        self._region = own.region

    def __repr__(self) -> str:
        return f"Vault({self.name})"

    def handle(self, data: bytes) -> bytes:
        """Answer one request, bytes to bytes; a refusal is an answer too."""
        try:
            request = parse(wire.VaultRequest, data)
            return self._dispatch(request)
        except Refusal as error:
            log.warning("%s refused: %s", self.name, error)
            return refused(error.code)
        except LedgerError as error:
            log.error("%s: %s", self.name, error)
            return refused("ledger-failed")

    def _dispatch(self, request: wire.VaultRequest) -> bytes:
        now = int(self._clock())
        kind = request.WhichOneof("request")
        if kind == "join":
            return self._join(request.join, now)
        if kind == "status":
            return self._status(request.status)
        joined = self._run()
        masking = joined.masking
        head, highest = self._ledger.head(), self._ledger.highest_seq
        match kind:
            case "advertise":
                return masking.advertise(request.advertise, head=head, highest_seq=highest, now=now)
            case "share":
                reply = masking.share(request.share, now=now)
            case "contribute":
                return self._contribute(joined, request.contribute, now)
            case "confirm":
                return masking.confirm(request.confirm, head=head, highest_seq=highest, now=now)
            case "unmask":
                ended = masking.unmask(request.unmask, now=now)
                # Closed before a share of it is revealed; until then the reserve stands.
                self._ledger.closed(ended)
                reply = ended.reply
            case "finish":
                reply = masking.finish(request.finish, head=head, now=now)
            case _:
                raise Refusal("malformed", "the request is of no known type")
        self._ledger.keep_peer_heads(masking.heads)
        return reply

    def _run(self) -> _Joined:
        if self._joined is None:
            raise Refusal("not-joined", "this site has accepted no plan since it started")
        return self._joined

    def _join(self, request: wire.JoinRequest, now: int) -> bytes:
        """Decide on a plan as a whole; a plan that was accepted before is answered alike."""
        started = time.monotonic()
        plan = _read_plan(self._identity.trust.plan(request))
        if plan.region and plan.region != self._region:
            raise Refusal("wrong-region", f"the CA vouches for no site of {plan.region} here")
        if self._joined is None or self._joined.plan.hash() != plan.hash():
            # After a restart in mid-run, what the run has made already stands in its plan.
            check_delta(plan, self._declared)
            self._policy.accept_plan(plan, self._ledger.used(apart_from=plan.run))
            workplace = self._data.workplace(plan)
            masking = SiteMasking(
                self._identity.key,
                self._identity.certificate,
                self._identity.trust,
                terms_of(plan),
                now=now,
                heads=self._ledger.peer_heads(),
                least_revocations=self._ledger.least_revocations(),
            )
            self._joined = _Joined(plan, masking, workplace)
            log.info("%s accepted plan %s", self.name, plan.hash().hex()[:16])
            # Making the workplace ready takes the longer, the more texts the users typed.
            self._pace.wait(started, plan.seconds_per_slot)
        catalogue = bytes.fromhex(self._joined.workplace.catalogue.hash)
        return self._joined.masking.joined(self._ledger.head(), catalogue)

    def _contribute(self, joined: _Joined, request: wire.ContributeRequest, now: int) -> bytes:
        """Check, charge, compute, add noise, mask; in this order."""
        started = time.monotonic()
        plan, masking = joined.plan, joined.masking
        stored = masking.stored_contribution(request)
        if stored is not None:
            return stored
        release = plan.release(request.kind)
        if release is None:
            raise Refusal("unknown-kind", f"the plan has no release of the kind {request.kind!r}")
        self._policy.authorise(release, plan)
        model = ModelState.unpack(request.model)
        job = joined.workplace.job(release, request.round, model)
        admission = masking.admit(
            request,
            model_hash=model.hash(),
            highest_seq=self._ledger.highest_seq,
            now=now,
        )
        self._ledger.keep_least_revocations(masking.least_revocations)
        self._ledger.reserve(plan, release, admission)
        reply = masking.mask(admission.seq, self._release(release, admission, job))
        self._ledger.sent(admission.seq)
        self._pace.wait(started, plan.seconds_per_slot)
        return reply

    def _release(
        self, release: PlannedRelease, admission: Admission, job: Job
    ) -> NDArray[np.int64]:
        """int64 ``[d]``: y = sum of the sampled users' vectors + rounded Gaussian noise."""
        drawn = self._randomness.sample(admission.kind, admission.round)
        noise = self._randomness.noise(admission.kind, admission.round)
        sampled = poisson_sample(job.users, release.sampling_rate, drawn)
        slots = self._pace.slots(self._declared, release.sampling_rate)
        if slots is not None:
            sampled = within_slots(sampled, slots)
        rows: Int64 = np.flatnonzero(sampled)
        total = self._users_sum(release, job, rows, drawn.words(4).tobytes(), slots)
        return total + gaussian_noise(release.dimension, release.standard_deviation, noise)

    def _users_sum(
        self, release: PlannedRelease, job: Job, rows: Int64, secret: bytes, slots: int | None
    ) -> NDArray[np.int64]:
        """int64 ``[d]``: the sum over the sampled users; one for whom computing fails counts 0.

        Whether computing fails may depend on one user's events. A code for it, no answer, or the
        loss of the other users' vectors would tell of that user what no noise covers.
        """
        try:
            return job.integer_sum(rows, secret, slots)
        except Exception as error:  # house: whatever it is, it must not show outside
            self._pace.failed(error)
        return self._sum_of_sound(release, job, rows, secret)

    def _sum_of_sound(
        self, release: PlannedRelease, job: Job, rows: Int64, secret: bytes
    ) -> NDArray[np.int64]:
        """The sum over those of ``rows`` whose vectors can be computed, by halves.

        A user's vector is the same in any company; so the halves add up to the whole.
        """
        total = np.zeros(release.dimension, dtype=np.int64)
        left = [rows]
        while left:
            part = left.pop()
            try:
                total += job.integer_sum(part, secret, None)
            except Exception:  # house: as above; it was told once
                middle = len(part) // 2
                left += [part[:middle], part[middle:]] if middle else []
        return total

    def _status(self, request: wire.StatusRequest) -> bytes:
        """Coarse state of this site: it depends on no user."""
        joined = self._joined
        ready = joined is not None and joined.masking.terms.run == request.run
        status = wire.Status(
            run=request.run,
            state="ready" if ready else "idle",
            seq=self._ledger.highest_seq,
            head=self._ledger.head().message(),
        )
        return serialise(wire.VaultReply(status=self._identity.key.seal(status)))


def refused(code: str) -> bytes:
    """The reply that declines a request; ``code`` depends on no user."""
    return serialise(wire.VaultReply(refused=wire.Refused(code=code)))


def _read_plan(data: bytes) -> Plan:
    try:
        plan = Plan.parse(data)
    except ValidationError as error:
        raise Refusal("malformed-plan", f"{error.error_count()} values break a rule") from error
    if plan.canonical_bytes() != data:
        raise Refusal("malformed-plan", "the plan is not in its canonical form")
    return plan
