"""Reads what sites answer: whatever is unsigned, malformed or out of place counts as no answer.

``SiteReplies.refusals`` keeps, for each site that gave no usable answer in the attempt at hand, the
code of why; it is what the coordinator shows to its operator.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import TypeVar

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from google.protobuf.message import Message

from groundswell.shared.envelopes import open_signed, verify
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import Trust
from groundswell.shared.masks import UInt64, agree
from groundswell.shared.roster import Advertisement, Heads, Roster, Terms
from groundswell.shared.wire import groundswell_pb2 as wire

Replies = Mapping[str, wire.VaultReply]
MessageT = TypeVar("MessageT", bound=Message)


class SiteReplies:
    """Checks replies of one run's sites.

    Args:
        heads: the highest ledger head seen of each site; advertised heads are recorded.
    """

    def __init__(self, trust: Trust, terms: Terms, heads: Heads) -> None:
        self.refusals: dict[str, str] = {}
        self._trust = trust
        self._terms = terms
        self._heads = heads
        self._probe = X25519PrivateKey.generate()

    def advertisements(
        self, replies: Replies, seq: int, revocations: wire.Signed, now: int
    ) -> dict[str, Advertisement]:
        """The usable advertisements among ``advertised`` and ``confirmed`` replies."""
        withdrawn = self._trust.revocations(revocations)
        read = {}
        for site, reply in replies.items():
            kind = reply.WhichOneof("reply")
            if kind == "advertised":
                signed = reply.advertised
            elif kind == "confirmed":
                signed = reply.confirmed.advertisement
            else:
                self._note(site, reply)
                continue
            try:
                each = Advertisement.read(signed, self._trust, self._terms, seq, now)
                if each.site != site:
                    raise Refusal("bad-certificate", f"{site} answered as {each.site}")
                withdrawn.check_none_revoked([each.certificate])
                # Every honest site would refuse a roster with such a key.
                for key in (each.channel_key, each.mask_key):
                    agree(self._probe, key)
                self._heads.record(site, each.head)
            except Refusal as error:
                self.refusals[site] = error.code
                continue
            read[site] = each
        return read

    def shares(
        self, replies: Replies, revealed: Mapping[str, wire.Unmasked], roster: Roster, seq: int
    ) -> dict[str, wire.Shares]:
        """The complete sets of shares for ``seq``, by sender.

        Args:
            replies: of sites that were asked for shares alone.
            revealed: of sites whose shares ride along with what they revealed.
        """
        bodies = {
            site: body.next
            for site, body in revealed.items()
            if site in roster and body.HasField("next")
        }
        for site, reply in replies.items():
            if reply.WhichOneof("reply") != "shared" or site not in roster:
                self._note(site, reply)
                continue
            body = self._open(site, reply.shared, wire.Shares, roster)
            if body is not None:
                bodies[site] = body
        found = {}
        for site, body in bodies.items():
            recipients = sorted([*(each.recipient for each in body.shares), site])
            complete = recipients == list(roster.names)
            own = all(each.sender == site for each in body.shares)
            context = (body.run, body.seq, body.roster_hash)
            if complete and own and context == (self._terms.run, seq, roster.hash):
                found[site] = body
            else:
                self.refusals[site] = "bad-share"
        return found

    def vectors(
        self, replies: Replies, roster: Roster, seq: int, dimension: int
    ) -> Iterator[tuple[str, UInt64]]:
        """Each site's masked vector, uint64 ``[d]``, in the order of names, one at a time.

        Replies are looked up one by one, so that they need not all be in memory at once.
        """
        for site in sorted(site for site in replies if site in roster):
            reply = replies[site]
            if reply.WhichOneof("reply") != "contributed":
                self._note(site, reply)
                continue
            body = self._open(site, reply.contributed.signed, wire.ContributionBody, roster)
            if body is None:
                continue
            data = reply.contributed.vector
            expected = (self._terms.run, seq, hashlib.sha256(data).digest())
            if len(data) != 8 * dimension or expected != (body.run, body.seq, body.vector_hash):
                self.refusals[site] = "bad-vector"
                continue
            yield site, np.frombuffer(data, dtype="<u8").astype(np.uint64, copy=False)

    def confirmations(self, replies: Replies, roster: Roster, body: bytes) -> dict[str, bytes]:
        """Valid signatures over exactly ``body``, a serialised ConfirmationBody."""
        found = {}
        for site, reply in replies.items():
            if reply.WhichOneof("reply") != "confirmed" or site not in roster:
                self._note(site, reply)
                continue
            signed = reply.confirmed.confirmation
            key = roster.members[site].certificate.public_key
            if signed.body == body and verify(key, "ConfirmationBody", body, signed.signature):
                found[site] = signed.signature
            else:
                self.refusals[site] = "bad-confirmation"
        return found

    def unmasked(self, replies: Replies, roster: Roster, seq: int) -> dict[str, wire.Unmasked]:
        """What each site revealed for ``seq``."""
        found = {}
        for site, reply in replies.items():
            if reply.WhichOneof("reply") != "unmasked" or site not in roster:
                self._note(site, reply)
                continue
            body = self._open(site, reply.unmasked, wire.Unmasked, roster)
            if body is not None and (body.run, body.seq) == (self._terms.run, seq):
                found[site] = body
        return found

    def _open(
        self, site: str, signed: wire.Signed, kind: type[MessageT], roster: Roster
    ) -> MessageT | None:
        try:
            return open_signed(signed, kind, roster.members[site].certificate.public_key)
        except Refusal as error:
            self.refusals[site] = error.code
            return None

    def _note(self, site: str, reply: wire.VaultReply) -> None:
        """Keep a refusal's code; anything else that stands where no such reply belongs."""
        if reply.WhichOneof("reply") == "refused":
            self.refusals[site] = reply.refused.code[:64]
        else:
            self.refusals[site] = "unexpected-reply"
