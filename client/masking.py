"""The site's half of the secure sum: a pure state machine, no input or output, no clock of its own.

The vault hands in requests and the time, and sends what comes back. Everything that a site checks
before its vector may leave stands here; the ledger and the vector itself are the vault's.

    advertise -> share -> admit -> mask -> confirm -> unmask        (of one seq)
                                           `advertise  `share       (of the seq after it)

Rules that hold for every call:

- The secrets of a seq live in this object only. After a restart they are gone, and every request
  for that seq is refused: a second set of shares or a second unmasking can't be had.
- A repeated identical request gets the stored bytes; a different one for the same seq and phase is
  refused. A refusal changes nothing.
- Every reply is signed by the site's key.

Source: Bonawitz et al. 2017, figure 4 (the variant against an active server), with the consistency
check signed over everything that the server could show differently to different sites.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Collection, Mapping

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from groundswell.client.attempt import Admission, Attempt, Phase, Unmasking
from groundswell.shared.envelopes import open_signed, parse, serialise, verify
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import SigningKey, Trust
from groundswell.shared.masks import digest
from groundswell.shared.roster import (
    LARGEST_ROSTER,
    Advertisement,
    Head,
    Heads,
    Roster,
    Terms,
    head_of,
    sites_hash,
)
from groundswell.shared.shamir import Entropy
from groundswell.shared.wire import groundswell_pb2 as wire


class SiteMasking:
    """One site's part in the attempts of one run.

    Args:
        key: the site's signing key.
        certificate: the site's own certificate, as the CA signed it.
        trust: the pinned public keys.
        terms: what the accepted plan fixes, within the site's policy.
        heads: the highest ledger head that this site has seen of each other one.
        least_revocations: the highest number of a revocation list that this site has seen.
        entropy: ``count -> bytes``; the operating system's generator outside tests.

    Raises:
        Refusal: the certificate is not this key's.
    """

    def __init__(
        self,
        key: SigningKey,
        certificate: wire.Signed,
        trust: Trust,
        terms: Terms,
        *,
        now: int,
        heads: Mapping[str, Head] | None = None,
        least_revocations: int = 0,
        entropy: Entropy = secrets.token_bytes,
    ) -> None:
        own = trust.certificate(certificate, now)
        if own.public_key != key.public:
            raise Refusal("bad-certificate", "the certificate names another key than the site's")
        self.name = own.name
        self.terms = terms
        self.least_revocations = least_revocations
        self._key = key
        self._certificate = certificate
        self._trust = trust
        self._heads = Heads(dict(heads or {}))
        self._entropy = entropy
        self._attempts: dict[int, Attempt] = {}

    def __repr__(self) -> str:
        return f"SiteMasking({self.name}, attempts={sorted(self._attempts)})"

    @property
    def heads(self) -> dict[str, Head]:
        """The highest ledger head seen of each other site, for keeping on disk."""
        return self._heads.known()

    def joined(self, head: Head, catalogue: bytes) -> bytes:
        """The answer to an accepted plan; ``catalogue`` is the SHA-256 of the site's own."""
        body = wire.Joined(
            run=self.terms.run,
            plan_hash=self.terms.plan_hash,
            certificate=self._certificate,
            head=head.message(),
            catalogue=catalogue,
        )
        return serialise(wire.VaultReply(joined=self._key.seal(body)))

    def advertise(
        self, request: wire.AdvertiseRequest, *, head: Head, highest_seq: int, now: int
    ) -> bytes:
        """S1: fresh keys for one attempt.

        Args:
            head: the last row of the site's ledger.
            highest_seq: the highest seq that the ledger holds a row for in this run.

        Raises:
            Refusal: ``wrong-run``, ``stale-seq`` or ``certificate-expired``.
        """
        self._check_run(request.run)
        signed = self._advertisement(request.seq, head, highest_seq, now)
        return serialise(wire.VaultReply(advertised=signed))

    def share(self, request: wire.ShareRequest, *, now: int) -> bytes:
        """S2: check the roster, and share both secrets among it.

        Raises:
            Refusal: a code of ``Advertisement.read`` or ``Roster``; ``not-in-roster`` or
                ``swapped-key`` where the roster does not hold what this site advertised;
                ``ledger-behind``, ``ledger-forked``; ``unknown-seq``, ``conflicting-request``.
        """
        self._check_run(request.run)
        shares = self._shares(request.seq, request.advertisements, now)
        return serialise(wire.VaultReply(shared=self._key.seal(shares)))

    def stored_contribution(self, request: wire.ContributeRequest) -> bytes | None:
        """The bytes that answered this very request before, or None for a first one.

        Raises:
            Refusal: ``wrong-run``, ``unknown-seq``; ``conflicting-request``: this attempt admitted
                another one; ``not-masked``: it admitted this one, and no vector came of it.
        """
        self._check_run(request.run)
        attempt = self._attempt(request.seq)
        if attempt.admitted is None:
            return None
        if attempt.admitted != _fingerprint(request):
            raise Refusal("conflicting-request", "the attempt admitted another contribution")
        if attempt.contribution is None:
            raise Refusal("not-masked", "the attempt broke off before its vector was ready")
        return attempt.contribution

    def admit(
        self, request: wire.ContributeRequest, *, model_hash: bytes, highest_seq: int, now: int
    ) -> Admission:
        """P1, before any computing: check shares, sets and revocations.

        Args:
            model_hash: H(model) as the site computed it from ``request.model``.
            highest_seq: the highest seq that the ledger holds a row for in this run.

        Raises:
            Refusal: ``stale-seq``, ``out-of-order``, ``conflicting-request``; ``duplicate-site``,
                ``not-in-roster``, ``too-few-sites``; ``bad-share``; ``bad-revocations``,
                ``revocations-expired``, ``revocations-older``, ``certificate-revoked``,
                ``certificate-expired``.
        """
        self._check_run(request.run)
        attempt = self._attempt(request.seq)
        if request.seq <= highest_seq:
            raise Refusal("stale-seq", f"the ledger has a row for attempt {request.seq}")
        if attempt.admitted is not None:
            raise Refusal("conflicting-request", "the attempt admitted a contribution before")
        attempt.require(Phase.SHARED)
        roster = attempt.known_roster()
        sharers = tuple(sorted(request.sharers))
        honest = roster.check_subset(sharers, roster.names, self.terms)
        if self.name not in sharers:
            raise Refusal("not-in-roster", "the sharers do not hold this site")
        revocations = self._trust.revocations(request.revocations)
        revocations.check_current(self.least_revocations, now)
        certificates = [roster.members[site].certificate for site in sharers]
        revocations.check_none_revoked(certificates)
        for certificate in certificates:
            certificate.check_time(now)
        received = attempt.open_shares(request.shares, sharers)
        self.least_revocations = revocations.number
        attempt.admit(_fingerprint(request), sharers, honest, received)
        attempt.describe(request.kind, request.round, model_hash)
        return Admission(
            request.seq,
            request.kind,
            request.round,
            model_hash,
            sharers,
            honest,
            {each.name: each.declared_users for each in certificates},
        )

    def mask(self, seq: int, vector: NDArray[np.int64]) -> bytes:
        """P1, after computing: the vector under its self-mask and the pair masks over U2.

        Args:
            vector: int64 ``[d]``, noise included; left as it is.

        Raises:
            Refusal: ``unknown-seq``, ``out-of-order``.
        """
        attempt = self._attempt(seq)
        attempt.require(Phase.ADMITTED)
        data = attempt.masked(vector).astype("<u8", copy=False).tobytes()
        body = wire.ContributionBody(
            run=self.terms.run, seq=seq, vector_hash=hashlib.sha256(data).digest()
        )
        reply = wire.VaultReply()
        reply.contributed.signed.CopyFrom(self._key.seal(body))
        reply.contributed.vector = data
        attempt.contribution = serialise(reply)
        attempt.phase = Phase.MASKED
        return attempt.contribution

    def confirm(
        self, request: wire.ConfirmRequest, *, head: Head, highest_seq: int, now: int
    ) -> bytes:
        """P2: one signature over the survivors, and keys for the attempt after this one.

        Raises:
            Refusal: ``unknown-seq``, ``out-of-order``, ``conflicting-request``;
                ``duplicate-site``, ``not-in-roster``, ``too-few-sites``; ``stale-seq``.
        """
        self._check_run(request.run)
        attempt = self._attempt(request.seq)
        fingerprint = _fingerprint(request)
        if attempt.confirmed is not None:
            return attempt.confirmed.repeat(fingerprint)
        attempt.require(Phase.MASKED)
        survivors = tuple(sorted(request.survivors))
        honest = attempt.known_roster().check_subset(survivors, attempt.sharers, self.terms)
        if self.name not in survivors:
            raise Refusal("not-in-roster", "the survivors do not hold this site")
        _check_next(request.seq, request.next_seq)
        advertisement = None
        if request.next_seq:
            advertisement = self._advertisement(request.next_seq, head, highest_seq, now)
        signed = self._key.seal(self._confirmation(attempt, survivors))
        reply = wire.Confirmed(confirmation=signed, advertisement=advertisement)
        data = serialise(wire.VaultReply(confirmed=reply))
        attempt.confirm(fingerprint, survivors, honest, signed.body, data)
        return data

    def unmask(self, request: wire.UnmaskRequest, *, now: int) -> Unmasking:
        """P3: reveal one share a site, and share the secrets of the attempt after this one.

        Raises:
            Refusal: ``unknown-seq``, ``out-of-order``, ``conflicting-request``;
                ``bad-confirmation``, ``too-few-confirmations``; or a code of :meth:`share`.
        """
        self._check_run(request.run)
        attempt = self._attempt(request.seq)
        fingerprint = _fingerprint(request)
        if attempt.unmasked is not None:
            reply = attempt.unmasked.repeat(fingerprint)
        else:
            attempt.require(Phase.CONFIRMED)
            confirmations = self._checked_confirmations(attempt, request.confirmations)
            _check_next(request.seq, request.next_seq)
            following = None
            if request.next_seq:
                following = self._shares(request.next_seq, request.advertisements, now)
            body = wire.Unmasked(
                run=self.terms.run, seq=request.seq, shares=attempt.revealed(), next=following
            )
            reply = serialise(wire.VaultReply(unmasked=self._key.seal(body)))
            attempt.unmask(fingerprint, confirmations, reply)
        return Unmasking(
            request.seq, attempt.survivors, attempt.honest, attempt.confirmations, reply
        )

    def finish(self, request: wire.FinishRequest, *, head: Head, now: int) -> bytes:
        """After a run's last row: the site's own head, and the heads of others to keep.

        Raises:
            Refusal: ``wrong-run``, ``malformed``, ``bad-certificate``, ``bad-signature``,
                ``ledger-behind``, ``ledger-forked``, ``roster-too-large``.
        """
        self._check_run(request.run)
        if len(request.heads) > LARGEST_ROSTER:
            raise Refusal("roster-too-large", f"more than {LARGEST_ROSTER} ledger heads")
        heads = {}
        for signed in request.heads:
            claimed = parse(wire.Finished, signed.body)
            certificate = self._trust.certificate(claimed.certificate, now)
            body = open_signed(signed, wire.Finished, certificate.public_key)
            self._check_run(body.run)
            heads[certificate.name] = head_of(body.head)
        self._record(heads)
        body = wire.Finished(run=self.terms.run, certificate=self._certificate, head=head.message())
        return serialise(wire.VaultReply(finished=self._key.seal(body)))

    def _check_run(self, run: bytes) -> None:
        if run != self.terms.run:
            raise Refusal("wrong-run", "the request belongs to another run")

    def _attempt(self, seq: int) -> Attempt:
        attempt = self._attempts.get(seq)
        if attempt is None:
            raise Refusal("unknown-seq", f"the site holds no secrets of attempt {seq}")
        return attempt

    def _advertisement(self, seq: int, head: Head, highest_seq: int, now: int) -> wire.Signed:
        attempt = self._attempts.get(seq)
        if attempt is not None:
            return attempt.advertisement
        if seq <= max([highest_seq, *self._attempts]):
            raise Refusal("stale-seq", f"attempt {seq} is not after all that went before")
        self._trust.certificate(self._certificate, now)
        attempt = Attempt.begin(self.name, self.terms, seq, self._entropy)
        attempt.advertisement = self._key.seal(
            wire.Advertisement(
                run=self.terms.run,
                seq=seq,
                plan_hash=self.terms.plan_hash,
                threshold=self.terms.threshold,
                head=head.message(),
                certificate=self._certificate,
                **attempt.public_keys(),
            )
        )
        # The attempt before may still be unmasked; anything older is forgotten for good.
        self._attempts = {old: kept for old, kept in self._attempts.items() if old >= seq - 1}
        self._attempts[seq] = attempt
        return attempt.advertisement

    def _shares(self, seq: int, signed: Collection[wire.Signed], now: int) -> wire.Shares:
        attempt = self._attempt(seq)
        if len(signed) > LARGEST_ROSTER:
            raise Refusal("roster-too-large", f"{len(signed)} sites; at most {LARGEST_ROSTER}")
        bodies = [each.body for each in signed]
        fingerprint = digest("advertisements", *bodies, *(each.signature for each in signed))
        if attempt.shares is not None:
            return attempt.shares.repeat(fingerprint)
        read = [Advertisement.read(each, self._trust, self.terms, seq, now) for each in signed]
        roster = Roster(read, self.terms, seq)
        own = roster.members.get(self.name)
        if own is None:
            raise Refusal("not-in-roster", "the roster does not hold this site")
        if own.signed.body != attempt.advertisement.body:
            raise Refusal("swapped-key", "the roster holds other keys of this site than its own")
        self._record({each.site: each.head for each in read if each.site != self.name})
        return attempt.share(fingerprint, roster, self._entropy)

    def _record(self, heads: Mapping[str, Head]) -> None:
        """Check all heads before any is kept."""
        for site, head in heads.items():
            self._heads.check(site, head)
        for site, head in heads.items():
            self._heads.record(site, head)

    def _confirmation(self, attempt: Attempt, survivors: Collection[str]) -> wire.ConfirmationBody:
        return wire.ConfirmationBody(
            run=self.terms.run,
            seq=attempt.seq,
            kind=attempt.kind,
            round=attempt.round,
            plan_hash=self.terms.plan_hash,
            model_hash=attempt.model_hash,
            roster_hash=attempt.known_roster().hash,
            sharers_hash=sites_hash("sharers", attempt.sharers),
            survivors=survivors,
        )

    def _checked_confirmations(
        self, attempt: Attempt, confirmations: Collection[wire.SiteSignature]
    ) -> tuple[tuple[str, bytes], ...]:
        sites = [each.site for each in confirmations]
        if len(sites) != len(set(sites)) or not set(sites) <= set(attempt.survivors):
            raise Refusal("bad-confirmation", "a signer stands twice, or is no survivor")
        if len(sites) < self.terms.threshold:
            raise Refusal(
                "too-few-confirmations", f"{len(sites)} signatures of {self.terms.threshold}"
            )
        for each in confirmations:
            key = attempt.known_roster().members[each.site].certificate.public_key
            if not verify(key, "ConfirmationBody", attempt.confirmation, each.signature):
                raise Refusal("bad-confirmation", f"{each.site} did not sign these survivors")
        return tuple((each.site, each.signature) for each in confirmations)


def _fingerprint(request: Message) -> bytes:
    return digest(request.DESCRIPTOR.name, serialise(request))


def _check_next(seq: int, next_seq: int) -> None:
    if next_seq not in (0, seq + 1):
        raise Refusal("stale-seq", f"attempt {next_seq} does not follow attempt {seq}")
