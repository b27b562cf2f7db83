"""The secrets of one site for one attempt of the secure sum, and what is computed from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Generic, TypedDict, TypeVar

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from numpy.typing import NDArray

from groundswell.shared.errors import Refusal
from groundswell.shared.masks import (
    KEY_BYTES,
    UInt64,
    agree,
    apply_masks,
    private_key,
    public_bytes,
)
from groundswell.shared.roster import Roster, Terms
from groundswell.shared.secure_sum import (
    SHARE_NONCE,
    commitment,
    mask_context,
    pair_key,
    self_key,
    share_context,
    share_key,
)
from groundswell.shared.shamir import SHARE_BYTES, Entropy, random_element, split
from groundswell.shared.wire import groundswell_pb2 as wire

T = TypeVar("T")


class Phase(IntEnum):
    """How far an attempt has come at this site."""

    ADVERTISED = 1
    SHARED = 2
    ADMITTED = 3
    MASKED = 4
    CONFIRMED = 5
    UNMASKED = 6


@dataclass(frozen=True)
class Admission:
    """A contribution that the secure sum allows; policy and ledger have yet to agree.

    Attributes:
        sharers: U2, the sites whose masks may stand in the sum, sorted.
        honest: least number of honest sites in U2, this one included.
        declared: the declared number of users of each site in U2.
    """

    seq: int
    kind: str
    round: int
    model_hash: bytes
    sharers: tuple[str, ...]
    honest: int
    declared: Mapping[str, int]


@dataclass(frozen=True)
class Unmasking:
    """A verified end of an attempt. The vault closes its ledger row, then sends ``reply``.

    Attributes:
        survivors: U3, confirmed by at least t signatures, sorted.
        honest: least number of honest sites in U3, this one included.
        confirmations: site and signature of each confirmation that was checked.
    """

    seq: int
    survivors: tuple[str, ...]
    honest: int
    confirmations: tuple[tuple[str, bytes], ...]
    reply: bytes


class PublicKeys(TypedDict):
    """The fields of an advertisement that come from the attempt's secrets."""

    channel_key: bytes
    mask_key: bytes
    commitment: bytes


@dataclass(frozen=True)
class Stored(Generic[T]):
    """An answer, and the request that it answered."""

    fingerprint: bytes
    reply: T = field(repr=False)

    def repeat(self, fingerprint: bytes) -> T:
        """The same answer to the same request; raises ``Refusal("conflicting-request")``."""
        if fingerprint != self.fingerprint:
            raise Refusal("conflicting-request", "the attempt answered another such request")
        return self.reply


@dataclass
class Attempt:
    """State of one seq; the fields fill up in the order of the phases."""

    site: str
    terms: Terms
    seq: int
    channel: X25519PrivateKey = field(repr=False)
    self_mask: bytes = field(repr=False)  # b
    mask_seed: bytes = field(repr=False)  # s
    mask_private: X25519PrivateKey = field(repr=False)  # from s; its public half is pk_mask
    phase: Phase = Phase.ADVERTISED
    advertisement: wire.Signed = field(default_factory=wire.Signed, repr=False)
    # Set by `share`.
    roster: Roster | None = field(default=None, repr=False)
    channel_secrets: dict[str, bytes] = field(default_factory=dict, repr=False)
    mask_secrets: dict[str, bytes] = field(default_factory=dict, repr=False)
    shares: Stored[wire.Shares] | None = None
    # Set by `admit`: b and s shares by owner, the own ones included from `share` on.
    received: dict[str, tuple[bytes, bytes]] = field(default_factory=dict, repr=False)
    admitted: bytes | None = field(default=None, repr=False)
    sharers: tuple[str, ...] = ()
    honest: int = 0
    kind: str = ""
    round: int = 0
    model_hash: bytes = b""
    contribution: bytes | None = field(default=None, repr=False)
    # Set by `confirm` and `unmask`.
    survivors: tuple[str, ...] = ()
    confirmation: bytes = field(default=b"", repr=False)
    confirmed: Stored[bytes] | None = None
    confirmations: tuple[tuple[str, bytes], ...] = field(default=(), repr=False)
    unmasked: Stored[bytes] | None = None

    @classmethod
    def begin(cls, site: str, terms: Terms, seq: int, entropy: Entropy) -> Attempt:
        """Draw the secrets of an attempt."""
        channel = X25519PrivateKey.from_private_bytes(entropy(KEY_BYTES))
        self_mask, seed = random_element(entropy), random_element(entropy)
        return cls(site, terms, seq, channel, self_mask, seed, private_key(seed))

    def public_keys(self) -> PublicKeys:
        """What others may know of the secrets."""
        return {
            "channel_key": public_bytes(self.channel),
            "mask_key": public_bytes(self.mask_private),
            "commitment": commitment(self.terms, self.seq, self.site, self.self_mask),
        }

    def require(self, phase: Phase) -> None:
        """Raises ``Refusal("out-of-order")`` unless the attempt stands exactly at ``phase``."""
        if self.phase != phase:
            raise Refusal(
                "out-of-order", f"attempt {self.seq} stands at {self.phase.name}, not {phase.name}"
            )

    def known_roster(self) -> Roster:
        """The roster; raises ``Refusal("out-of-order")`` before there is one."""
        if self.roster is None:
            raise Refusal("out-of-order", f"attempt {self.seq} has no roster yet")
        return self.roster

    def share(self, fingerprint: bytes, roster: Roster, entropy: Entropy) -> wire.Shares:
        """Split both secrets among the roster, one encrypted pair of shares for each other site."""
        count, threshold = len(roster.names), self.terms.threshold
        pairs = list(
            zip(
                split(self.self_mask, threshold, count, entropy),
                split(self.mask_seed, threshold, count, entropy),
                strict=True,
            )
        )
        others = [name for name in roster.names if name != self.site]
        # Both kinds of key are tried here: a bad one is refused before anything is charged.
        secrets = {name: agree(self.channel, roster.members[name].channel_key) for name in others}
        mask_secrets = {
            name: agree(self.mask_private, roster.members[name].mask_key) for name in others
        }
        encrypted = []
        for name in others:
            own_share, seed_share = pairs[roster.position(name) - 1]
            context = share_context(self.terms, self.seq, roster.hash, self.site, name)
            cipher = ChaCha20Poly1305(share_key(secrets[name], context))
            encrypted.append(
                wire.EncryptedShare(
                    sender=self.site,
                    recipient=name,
                    ciphertext=cipher.encrypt(SHARE_NONCE, own_share + seed_share, context),
                )
            )
        shares = wire.Shares(
            run=self.terms.run, seq=self.seq, roster_hash=roster.hash, shares=encrypted
        )
        self.roster = roster
        self.channel_secrets = secrets
        self.mask_secrets = mask_secrets
        self.received = {self.site: pairs[roster.position(self.site) - 1]}
        self.shares = Stored(fingerprint, shares)
        self.phase = Phase.SHARED
        return shares

    def open_shares(
        self, shares: Collection[wire.EncryptedShare], sharers: Sequence[str]
    ) -> dict[str, tuple[bytes, bytes]]:
        """Decrypt one pair of shares from each other site of U2; changes nothing.

        Raises:
            Refusal: ``bad-share``.
        """
        roster = self.known_roster()
        by_sender = {each.sender: each for each in shares}
        if len(shares) != len(by_sender) or set(by_sender) != set(sharers) - {self.site}:
            raise Refusal("bad-share", "there is not exactly one share from each other site of U2")
        opened = dict(self.received)
        for sender, share in by_sender.items():
            context = share_context(self.terms, self.seq, roster.hash, sender, self.site)
            cipher = ChaCha20Poly1305(share_key(self.channel_secrets[sender], context))
            try:
                plain = cipher.decrypt(SHARE_NONCE, share.ciphertext, context)
            except InvalidTag as error:
                raise Refusal("bad-share", f"the share from {sender} does not decrypt") from error
            if share.recipient != self.site or len(plain) != 2 * SHARE_BYTES:
                raise Refusal("bad-share", f"the share from {sender} is of a wrong form")
            opened[sender] = (plain[:SHARE_BYTES], plain[SHARE_BYTES:])
        return opened

    def admit(
        self,
        fingerprint: bytes,
        sharers: tuple[str, ...],
        honest: int,
        received: dict[str, tuple[bytes, bytes]],
    ) -> None:
        """Fix U2; from here on no other contribution is admitted."""
        self.admitted = fingerprint
        self.sharers = sharers
        self.honest = honest
        self.received = received
        self.phase = Phase.ADMITTED

    def describe(self, kind: str, round_number: int, model_hash: bytes) -> None:
        """What the contribution is for; part of what this site confirms later."""
        self.kind = kind
        self.round = round_number
        self.model_hash = model_hash

    def masked(self, vector: NDArray[np.int64]) -> UInt64:
        """``vector`` + self-mask + pair masks with greater names - those with lesser, mod 2^64."""
        context = self.mask_context()
        pair_keys = {
            name: pair_key(self.mask_secrets[name], context, self.site, name)
            for name in self.sharers
            if name != self.site
        }
        added = [key for name, key in pair_keys.items() if name > self.site]
        subtracted = [key for name, key in pair_keys.items() if name < self.site]
        added += self.self_keys()
        masked: UInt64 = np.array(vector, dtype=np.int64).view(np.uint64)
        apply_masks(masked, added, subtracted)
        return masked

    def self_keys(self) -> list[bytes]:
        """Key of the self-mask: what hides the vector where the pair masks are rebuilt."""
        return [self_key(self.self_mask, self.mask_context(), self.site)]

    def mask_context(self) -> bytes:
        """What the masks are bound to: the vector cancels with those of the same release alone."""
        return mask_context(
            self.terms,
            self.seq,
            self.known_roster().hash,
            self.kind,
            self.round,
            self.model_hash,
        )

    def confirm(
        self,
        fingerprint: bytes,
        survivors: tuple[str, ...],
        honest: int,
        confirmation: bytes,
        reply: bytes,
    ) -> None:
        """Fix U3: this site signs no other survivors for this seq."""
        self.survivors = survivors
        self.honest = honest
        self.confirmation = confirmation
        self.confirmed = Stored(fingerprint, reply)
        self.phase = Phase.CONFIRMED

    def revealed(self) -> list[wire.RevealedShare]:
        """One share for each site of U2: of b where it survived, else of s, never both."""
        return [
            wire.RevealedShare(site=name, self_mask=self.received[name][0])
            if name in self.survivors
            else wire.RevealedShare(site=name, mask_seed=self.received[name][1])
            for name in self.sharers
        ]

    def unmask(
        self, fingerprint: bytes, confirmations: tuple[tuple[str, bytes], ...], reply: bytes
    ) -> None:
        """Keep the answer, and forget what is no longer needed."""
        self.confirmations = confirmations
        self.unmasked = Stored(fingerprint, reply)
        self.received = {}
        self.channel_secrets = {}
        self.mask_secrets = {}
        self.phase = Phase.UNMASKED
