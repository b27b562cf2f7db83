"""The sets of sites in one attempt of the secure sum, and the rules that they must keep.

Both halves apply these rules: the coordinator, so as not to waste an attempt, and every site,
because its privacy rests on them. Sources: Bonawitz et al. 2017, section 6 (the threshold against
an active server); design section 4.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from groundswell.shared.envelopes import parse, verify
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import Certificate, Trust
from groundswell.shared.masks import KEY_BYTES, digest
from groundswell.shared.plan import Plan
from groundswell.shared.wire import groundswell_pb2 as wire

# t > (R + c)/2 does not carry over to neighbour graphs; larger federations form several rosters.
LARGEST_ROSTER = 128
RUN_BYTES = 16
HASH_BYTES = 32
# A site refuses to import more users than this over the declared number.
DECLARED_MARGIN_PERCENT = 105
# A rounded Gaussian leaves +-2^7 standard deviations with probability below 2^-11000.
TAIL_DEVIATIONS = 2**7


@dataclass(frozen=True)
class Terms:
    """What a run's plan fixes about every attempt.

    Attributes:
        run: 16 bytes that name the run.
        plan_hash: SHA-256 of the plan's canonical bytes.
        threshold: t, shares that rebuild a secret and signatures that unmask a sum.
        n_min: least survivors, the site included.
        colluders: c, number of merchants that may collude with the coordinator.
        region: the only one whose sites may stand in a roster; empty: all sites may.
    """

    run: bytes
    plan_hash: bytes
    threshold: int
    n_min: int
    colluders: int
    region: str = ""

    def __post_init__(self) -> None:
        if len(self.run) != RUN_BYTES or len(self.plan_hash) != HASH_BYTES:
            raise InputError(
                "run", self.run.hex(), "must be 16 bytes with a plan hash of 32", "fix"
            )
        if not 2 <= self.n_min <= LARGEST_ROSTER:
            raise InputError("n_min", self.n_min, "must lie in 2..128", "choose another")
        if not 2 <= self.threshold <= LARGEST_ROSTER:
            raise InputError("threshold", self.threshold, "must lie in 2..128", "choose another")
        if not 0 <= self.colluders < self.n_min:
            raise InputError(
                "colluders", self.colluders, "must lie in 0..n_min - 1", "raise n_min or lower it"
            )


def terms_of(plan: Plan) -> Terms:
    """What a plan fixes about every attempt."""
    return Terms(
        bytes.fromhex(plan.run),
        plan.hash(),
        plan.threshold,
        plan.n_min,
        plan.colluders,
        plan.region,
    )


@dataclass(frozen=True)
class Head:
    """The last row of a site's ledger and its hash; row 0 stands for an empty ledger."""

    row: int
    hash: bytes

    def message(self) -> wire.LedgerHead:
        """The head as it travels."""
        return wire.LedgerHead(row=self.row, hash=self.hash)


def head_of(message: wire.LedgerHead) -> Head:
    """Read a head from the wire."""
    return Head(message.row, message.hash)


class Heads:
    """The highest ledger head seen of each site.

    A lower row, or another hash for the same row, means that the site's ledger was truncated,
    restored or rewritten.
    """

    def __init__(self, known: dict[str, Head] | None = None) -> None:
        self._known = dict(known or {})

    def known(self) -> dict[str, Head]:
        """A copy, for keeping on disk."""
        return dict(self._known)

    def check(self, site: str, head: Head) -> None:
        """Raises ``Refusal``: ``ledger-behind`` or ``ledger-forked``."""
        seen = self._known.get(site)
        if seen is None:
            return
        if head.row < seen.row:
            raise Refusal("ledger-behind", f"the ledger of {site} lost rows after {head.row}")
        if head.row == seen.row and head.hash != seen.hash:
            raise Refusal("ledger-forked", f"row {head.row} in the ledger of {site} was rewritten")

    def record(self, site: str, head: Head) -> None:
        """Check and keep a head."""
        self.check(site, head)
        self._known[site] = head


@dataclass(frozen=True)
class Advertisement:
    """A_j: the keys of one site for one attempt, as the site signed them."""

    certificate: Certificate
    seq: int
    channel_key: bytes = field(repr=False)
    mask_key: bytes = field(repr=False)
    commitment: bytes = field(repr=False)
    head: Head
    signed: wire.Signed = field(repr=False)

    @property
    def site(self) -> str:
        """The site's name, from its certificate."""
        return self.certificate.name

    @classmethod
    def read(
        cls, signed: wire.Signed, trust: Trust, terms: Terms, seq: int, now: int
    ) -> Advertisement:
        """Check certificate, signature and context of an advertisement, and read it.

        Raises:
            Refusal: ``malformed``, ``bad-certificate``, ``certificate-expired``,
                ``bad-signature``, ``wrong-run``, ``wrong-seq``, ``wrong-plan``,
                ``wrong-threshold``, ``wrong-region`` or ``bad-key``.
        """
        body = parse(wire.Advertisement, signed.body)
        certificate = trust.certificate(body.certificate, now)
        if not verify(certificate.public_key, "Advertisement", signed.body, signed.signature):
            raise Refusal("bad-signature", f"{certificate.name} did not sign this advertisement")
        if body.run != terms.run:
            raise Refusal("wrong-run", f"{certificate.name} advertised for another run")
        if body.seq != seq:
            raise Refusal("wrong-seq", f"{certificate.name} advertised for attempt {body.seq}")
        if body.plan_hash != terms.plan_hash:
            raise Refusal("wrong-plan", f"{certificate.name} accepted another plan")
        if body.threshold != terms.threshold:
            raise Refusal("wrong-threshold", f"{certificate.name} works with another threshold")
        if terms.region and certificate.region != terms.region:
            raise Refusal("wrong-region", f"{certificate.name} is no site of {terms.region}")
        keys = (body.channel_key, body.mask_key, body.commitment)
        if any(len(key) != KEY_BYTES for key in keys):
            raise Refusal("bad-key", f"{certificate.name} advertised a key of a wrong length")
        return cls(certificate, body.seq, *keys, head_of(body.head), signed)


class Roster:
    """R: the sites whose keys were advertised for one attempt, in the order of their names.

    ``Roster.hash`` is H(R), over the exact bytes that each site signed.
    """

    def __init__(self, advertisements: Iterable[Advertisement], terms: Terms, seq: int) -> None:
        """Build a roster that keeps the rules.

        Raises:
            Refusal: ``duplicate-site``, ``roster-too-large``, ``too-few-sites`` or
                ``threshold-too-low``.
        """
        members = sorted(advertisements, key=lambda each: each.site)
        for values in (
            [member.site for member in members],
            [member.certificate.public_key for member in members],
            [key for member in members for key in (member.channel_key, member.mask_key)],
            [member.commitment for member in members],
        ):
            if len(values) != len(set(values)):
                raise Refusal("duplicate-site", "a site or a key stands twice in the roster")
        self.members = {member.site: member for member in members}
        self.names = tuple(self.members)
        self.hash = digest(
            "roster",
            terms.run,
            seq.to_bytes(8, "little"),
            *(member.signed.body for member in members),
        )
        if len(members) > LARGEST_ROSTER:
            raise Refusal("roster-too-large", f"{len(members)} sites; at most {LARGEST_ROSTER}")
        check_sites(self.merchants(self.names), terms, terms.n_min)
        check_threshold(self.merchants(self.names), terms)

    def __contains__(self, site: object) -> bool:
        return site in self.members

    def position(self, site: str) -> int:
        """The x of a site's shares: its rank in the roster, from 1."""
        return self.names.index(site) + 1

    def merchants(self, sites: Iterable[str]) -> list[str]:
        """The merchant of each site."""
        return [self.members[site].certificate.merchant for site in sites]

    def check_subset(self, sites: Sequence[str], within: Collection[str], terms: Terms) -> int:
        """Check U2 or U3: distinct, within a larger set, and large enough.

        Returns:
            The number of honest sites that the set holds at least.

        Raises:
            Refusal: ``duplicate-site``, ``not-in-roster`` or ``too-few-sites``.
        """
        if len(sites) != len(set(sites)):
            raise Refusal("duplicate-site", "a site stands twice in a set")
        if not set(sites) <= set(within):
            raise Refusal("not-in-roster", "a set names a site that is not in the set before it")
        return check_sites(self.merchants(sites), terms, max(terms.threshold, terms.n_min))


def colluding_sites(merchants: Iterable[str], colluders: int) -> int:
    """The number of sites of the ``colluders`` largest merchants: what c counts everywhere."""
    return sum(count for _, count in Counter(merchants).most_common(colluders))


def check_sites(merchants: Sequence[str], terms: Terms, least: int) -> int:
    """Check that a set is large enough, and that enough of it is honest.

    The ledger reserves at n_min - c noises; where a merchant holds several sites, a set of n_min
    sites may hold fewer honest ones, and is refused.

    Returns:
        Honest sites: the set's size less the sites of its c largest merchants.

    Raises:
        Refusal: ``too-few-sites``.
    """
    honest = len(merchants) - colluding_sites(merchants, terms.colluders)
    if len(merchants) < least or honest < terms.n_min - terms.colluders:
        raise Refusal(
            "too-few-sites",
            f"{len(merchants)} sites, {honest} of them surely honest; at least {least} and "
            f"{terms.n_min - terms.colluders} are needed",
        )
    return honest


def check_threshold(merchants: Sequence[str], terms: Terms) -> None:
    """Check t > (R + c)/2, with c counted in sites.

    Two survivor sets with t signatures each would then share an honest signer, who signs only one;
    and no t shares of both secrets of a site can be had.

    Raises:
        Refusal: ``threshold-too-low``, or ``threshold-too-high`` for the roster.
    """
    count = len(merchants)
    colluding = colluding_sites(merchants, terms.colluders)
    if 2 * terms.threshold <= count + colluding:
        raise Refusal(
            "threshold-too-low",
            f"threshold {terms.threshold} must exceed half of {count} sites + {colluding}",
        )
    if terms.threshold > count:
        raise Refusal("threshold-too-high", f"threshold {terms.threshold} of {count} sites")


def least_threshold(merchants: Sequence[str], colluders: int) -> int:
    """The least t that :func:`check_threshold` accepts for a roster."""
    return (len(merchants) + colluding_sites(merchants, colluders)) // 2 + 1


def sites_hash(purpose: str, sites: Iterable[str]) -> bytes:
    """Hash of a set of site names, whatever their order."""
    return digest(purpose, *(site.encode() for site in sorted(sites)))


def most_users(declared: int) -> int:
    """Most users that a site may hold, and so sum at once: ceil(1.05 N) of the N it declared."""
    return -(-declared * DECLARED_MARGIN_PERCENT // 100)


def check_headroom(slots: Sequence[int], scale: int, standard_deviation: float) -> None:
    """Check at enrolment that the sum of all sites can't wrap modulo 2^64.

    Each coordinate of one user's vector is at most ``scale`` in size, and each site's noise stays
    within 2^7 standard deviations for certain (Gaussian tail below 2^-11000).

    Args:
        slots: users that each site may sum at most, one number a site.
        scale: Delta.
        standard_deviation: s of one site's noise.

    Raises:
        Refusal: ``no-headroom``.
    """
    noise = len(slots) * TAIL_DEVIATIONS * int(standard_deviation + 1)
    if sum(slots) * scale + noise >= 2**63:
        raise Refusal("no-headroom", "the sum of all sites could leave the 64-bit integers")
