"""The coordinator's half of the secure sum: a pure object that yields requests and takes replies.

An attempt is a generator: it yields the requests of one phase, one for each site, and is sent the
replies that came back; a dead site is just absent. In the steady state it yields three times
(contribute, confirm, unmask); after a start, a void attempt or an interruption five times
(advertise and share first).

    attempt = secure_sum.attempt(release, sites=live, following=True, now=now)
    total = drive(attempt, exchange)      # exchange: dict of requests -> dict of replies

A site can't make the sum of the others wrong without being found out: rebuilt secrets are checked
against what was advertised. It can only drop out, or spoil its own vector.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from groundswell.server.rebuilding import remove_masks
from groundswell.server.site_replies import Replies, SiteReplies
from groundswell.shared.envelopes import serialise
from groundswell.shared.errors import AttemptVoid, Refusal
from groundswell.shared.identity import Trust
from groundswell.shared.masks import UInt64
from groundswell.shared.roster import Advertisement, Head, Heads, Roster, Terms, sites_hash
from groundswell.shared.secure_sum import mask_context
from groundswell.shared.wire import groundswell_pb2 as wire

Requests = dict[str, wire.VaultRequest]


@dataclass(frozen=True)
class Release:
    """What the sites are asked to sum, once.

    Attributes:
        model: safetensors bytes; ``model_hash`` is H(model) over its tensors.
        dimension: length d of each site's vector.
    """

    kind: str
    round: int
    model: bytes = field(repr=False)
    model_hash: bytes
    dimension: int


@dataclass(frozen=True)
class SecureTotal:
    """The sum over the survivors, exact in int64.

    Attributes:
        total: int64 ``[d]``.
        survivors: U3, sorted.
        dropped: the rest of U2, whose vectors are not in the sum.
        honest: survivors less the sites of the c largest merchants among them.
        declared: the declared number of users of each survivor.
        confirmations: signature of each survivor that confirmed the survivors.
    """

    seq: int
    total: NDArray[np.int64] = field(repr=False)
    survivors: tuple[str, ...]
    dropped: tuple[str, ...]
    honest: int
    declared: Mapping[str, int]
    confirmations: Mapping[str, bytes] = field(repr=False)


@dataclass(frozen=True)
class _Prepared:
    """An attempt whose keys and shares the coordinator holds; inboxes are by recipient."""

    seq: int
    roster: Roster
    sharers: tuple[str, ...]
    inboxes: Mapping[str, Sequence[wire.EncryptedShare]] = field(repr=False)


@dataclass(frozen=True)
class _Collected:
    """What P1 brought: the masked sum over U3."""

    total: UInt64 = field(repr=False)
    survivors: tuple[str, ...]
    honest: int


Attempt = Generator[Requests, Replies, SecureTotal]


def drive(attempt: Attempt, exchange: Callable[[Requests], Replies]) -> SecureTotal:
    """Run an attempt to its end through ``exchange``; raises ``AttemptVoid``."""
    try:
        requests = next(attempt)
        while True:
            requests = attempt.send(exchange(requests))
    except StopIteration as stop:
        total: SecureTotal = stop.value
        return total


class SecureSum:
    """All attempts of one run.

    Args:
        trust: the pinned public keys.
        terms: as in the plan that the sites accepted.
        revocations: the CA's current list, passed on to the sites; may be replaced at any time.
        first_seq: above every seq that a site's ledger holds for this run.
        heads: the highest ledger head seen of each site.
    """

    def __init__(
        self,
        trust: Trust,
        terms: Terms,
        revocations: wire.Signed,
        *,
        first_seq: int = 1,
        heads: Mapping[str, Head] | None = None,
    ) -> None:
        self.terms = terms
        self.revocations = revocations
        self._heads = Heads(dict(heads or {}))
        self._replies = SiteReplies(trust, terms, self._heads)
        self._next_seq = first_seq
        self._prepared: _Prepared | None = None

    @property
    def heads(self) -> dict[str, Head]:
        """The highest ledger head seen of each site."""
        return self._heads.known()

    @property
    def refusals(self) -> dict[str, str]:
        """Why a site gave no usable answer in the latest attempt: site to code."""
        return dict(self._replies.refusals)

    @property
    def next_seq(self) -> int:
        """The seq of the attempt that comes next."""
        return self._next_seq if self._prepared is None else self._prepared.seq

    def attempt(
        self, release: Release, *, sites: Iterable[str], following: bool, now: int
    ) -> Attempt:
        """One attempt over the live sites of the run.

        Args:
            sites: names of the sites to ask; one that was dead before may be among them again.
            following: whether another attempt comes after this one, so that its keys ride along.
            now: Unix seconds.

        Raises:
            AttemptVoid: ``too-few-survivors``, ``too-few-confirmations``, ``too-few-shares``, or a
                code of ``Roster`` where the sites do not fit the plan. What the sites reserved
                stays spent; the next attempt starts with fresh keys.
        """
        live = sorted(set(sites))
        prepared, self._prepared = self._prepared, None
        self._replies.refusals = {}
        if prepared is None:
            prepared = yield from self._cold_start(live, now)
        # A void attempt may leave shares of seq + 1 at some sites: the one after it is seq + 2.
        self._next_seq = prepared.seq + 2
        collected = yield from self._contribute(prepared, release)
        next_seq = prepared.seq + 1 if following else 0
        body = self._confirmation(prepared, collected, release)
        replies = yield self._confirm_requests(prepared, collected, live, next_seq)
        mine = {site: reply for site, reply in replies.items() if site in collected.survivors}
        confirmations = self._replies.confirmations(mine, prepared.roster, body)
        if len(confirmations) < self.terms.threshold:
            raise AttemptVoid(
                "too-few-confirmations",
                f"{len(confirmations)} of {self.terms.threshold} signatures",
            )
        roster = None
        if following:
            advertised = self._replies.advertisements(replies, next_seq, self.revocations, now)
            roster = self._roster_or_none(advertised.values(), next_seq)
        context = mask_context(
            self.terms,
            prepared.seq,
            prepared.roster.hash,
            release.kind,
            release.round,
            release.model_hash,
        )
        yield from self._unmask(prepared, collected, context, confirmations, roster, next_seq)
        members = prepared.roster.members
        return SecureTotal(
            prepared.seq,
            collected.total.view(np.int64),
            collected.survivors,
            tuple(site for site in prepared.sharers if site not in collected.survivors),
            collected.honest,
            {site: members[site].certificate.declared_users for site in collected.survivors},
            confirmations,
        )

    def _cold_start(self, live: Sequence[str], now: int) -> Generator[Requests, Replies, _Prepared]:
        """S1 and S2."""
        seq, self._next_seq = self._next_seq, self._next_seq + 1
        advertise = wire.AdvertiseRequest(run=self.terms.run, seq=seq)
        replies = yield dict.fromkeys(live, wire.VaultRequest(advertise=advertise))
        advertised = self._replies.advertisements(replies, seq, self.revocations, now)
        try:
            roster = Roster(advertised.values(), self.terms, seq)
        except Refusal as error:
            raise AttemptVoid(error.code, error.rule) from error
        share = wire.VaultRequest(share=self._share_request(roster, seq))
        replies = yield dict.fromkeys(roster.names, share)
        try:
            return self._with_shares(seq, roster, self._replies.shares(replies, {}, roster, seq))
        except Refusal as error:
            raise AttemptVoid(error.code, error.rule) from error

    def _contribute(
        self, prepared: _Prepared, release: Release
    ) -> Generator[Requests, Replies, _Collected]:
        """P1."""
        replies = yield {
            site: wire.VaultRequest(
                contribute=wire.ContributeRequest(
                    run=self.terms.run,
                    seq=prepared.seq,
                    kind=release.kind,
                    round=release.round,
                    model=release.model,
                    sharers=prepared.sharers,
                    shares=prepared.inboxes[site],
                    revocations=self.revocations,
                )
            )
            for site in prepared.sharers
        }
        total = np.zeros(release.dimension, dtype=np.uint64)
        survivors = []
        for site, vector in self._replies.vectors(
            replies, prepared.roster, prepared.seq, release.dimension
        ):
            np.add(total, vector, out=total)
            survivors.append(site)
        try:
            honest = prepared.roster.check_subset(survivors, prepared.sharers, self.terms)
        except Refusal as error:
            raise AttemptVoid("too-few-survivors", error.rule) from error
        return _Collected(total, tuple(survivors), honest)

    def _confirmation(self, prepared: _Prepared, collected: _Collected, release: Release) -> bytes:
        """What every survivor has to sign."""
        return serialise(
            wire.ConfirmationBody(
                run=self.terms.run,
                seq=prepared.seq,
                kind=release.kind,
                round=release.round,
                plan_hash=self.terms.plan_hash,
                model_hash=release.model_hash,
                roster_hash=prepared.roster.hash,
                sharers_hash=sites_hash("sharers", prepared.sharers),
                survivors=collected.survivors,
            )
        )

    def _confirm_requests(
        self, prepared: _Prepared, collected: _Collected, live: Sequence[str], next_seq: int
    ) -> Requests:
        """P2; live sites outside U3 are only asked for the keys of the next attempt."""
        confirm = wire.ConfirmRequest(
            run=self.terms.run,
            seq=prepared.seq,
            survivors=collected.survivors,
            next_seq=next_seq,
        )
        requests = dict.fromkeys(collected.survivors, wire.VaultRequest(confirm=confirm))
        if next_seq:
            advertise = wire.AdvertiseRequest(run=self.terms.run, seq=next_seq)
            others = dict.fromkeys(live, wire.VaultRequest(advertise=advertise))
            requests = others | requests
        return requests

    def _unmask(
        self,
        prepared: _Prepared,
        collected: _Collected,
        context: bytes,
        confirmations: Mapping[str, bytes],
        roster: Roster | None,
        next_seq: int,
    ) -> Generator[Requests, Replies, None]:
        """P3: takes the masks off ``collected.total``, and prepares the next attempt."""
        unmask = wire.UnmaskRequest(
            run=self.terms.run,
            seq=prepared.seq,
            confirmations=[
                wire.SiteSignature(site=site, signature=signature)
                for site, signature in sorted(confirmations.items())[: self.terms.threshold]
            ],
        )
        plain = wire.VaultRequest(unmask=unmask)
        requests = dict.fromkeys(collected.survivors, plain)
        if roster is not None:
            share = self._share_request(roster, next_seq)
            both = wire.UnmaskRequest(next_seq=next_seq, advertisements=share.advertisements)
            both.MergeFrom(unmask)
            later = dict.fromkeys(roster.names, wire.VaultRequest(share=share))
            riding = set(collected.survivors) & set(roster.names)
            requests = later | requests | dict.fromkeys(riding, wire.VaultRequest(unmask=both))
        replies = dict((yield requests))
        mine = {site: reply for site, reply in replies.items() if site in collected.survivors}
        revealed = self._replies.unmasked(mine, prepared.roster, prepared.seq)
        if len(revealed) < self.terms.threshold and roster is not None:
            # Sites may decline the next roster; this sum does not depend on it.
            again = yield dict.fromkeys(sorted(set(mine) - set(revealed)), plain)
            revealed |= self._replies.unmasked(again, prepared.roster, prepared.seq)
        remove_masks(
            collected.total,
            terms=self.terms,
            seq=prepared.seq,
            roster=prepared.roster,
            context=context,
            sharers=prepared.sharers,
            survivors=collected.survivors,
            revealed=revealed,
        )
        if roster is not None:
            others = {site: reply for site, reply in replies.items() if site not in mine}
            shares = self._replies.shares(others, revealed, roster, next_seq)
            self._prepared = self._with_shares_or_none(next_seq, roster, shares)

    def _share_request(self, roster: Roster, seq: int) -> wire.ShareRequest:
        return wire.ShareRequest(
            run=self.terms.run,
            seq=seq,
            advertisements=[member.signed for member in roster.members.values()],
        )

    def _roster_or_none(self, advertisements: Iterable[Advertisement], seq: int) -> Roster | None:
        try:
            return Roster(advertisements, self.terms, seq)
        except Refusal:
            return None

    def _with_shares(
        self, seq: int, roster: Roster, shares: Mapping[str, wire.Shares]
    ) -> _Prepared:
        """Sort the shares of U2 into inboxes; raises ``Refusal`` where U2 is too small."""
        sharers = tuple(sorted(shares))
        roster.check_subset(sharers, roster.names, self.terms)
        inboxes: dict[str, list[wire.EncryptedShare]] = {site: [] for site in sharers}
        for site in sharers:
            for each in shares[site].shares:
                if each.recipient in inboxes:
                    inboxes[each.recipient].append(each)
        return _Prepared(seq, roster, sharers, inboxes)

    def _with_shares_or_none(
        self, seq: int, roster: Roster, shares: Mapping[str, wire.Shares]
    ) -> _Prepared | None:
        try:
            return self._with_shares(seq, roster, shares)
        except Refusal:
            return None
