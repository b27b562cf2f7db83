"""Shares, survivors and confirmations that lie: each is refused, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from groundswell.server.unmasking import drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.identity import Revocations, SigningKey
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import (
    YEAR_SECONDS,
    SumFederation,
    exchange_with,
)

NOW = 1_700_000_000
NAMES = ("east", "north", "south", "west", "zenith")
ADVERTISE, SHARE, CONTRIBUTE, CONFIRM, UNMASK = range(5)


def federation() -> SumFederation:
    vectors = {name: np.full(4, i + 1, dtype=np.int64) for i, name in enumerate(NAMES)}
    return SumFederation.create(vectors, now=NOW)


def changed(
    request: wire.VaultRequest, change: Callable[[wire.VaultRequest], object]
) -> wire.VaultRequest:
    copy = wire.VaultRequest()
    copy.CopyFrom(request)
    change(copy)
    return copy


def resealed(
    fed: SumFederation, name: str, signed: wire.Signed, fields: wire.Advertisement
) -> wire.Signed:
    """An advertisement with other fields, signed by the site itself: a colluding site."""
    body = parse(wire.Advertisement, signed.body)
    body.MergeFrom(fields)
    return fed.consortium.members[name].key.seal(body)


def index_of(request: wire.VaultRequest, name: str) -> int:
    """Where the advertisement of a site stands in a share request."""
    for index, signed in enumerate(request.share.advertisements):
        claimed = parse(wire.Advertisement, signed.body).certificate
        if parse(wire.CertificateBody, claimed.body).name == name:
            return index
    raise AssertionError(name)


def test_a_share_that_was_altered_or_is_missing_or_twice_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONTRIBUTE)

    def flip(request: wire.VaultRequest) -> None:
        share = request.contribute.shares[0]
        share.ciphertext = bytes([share.ciphertext[0] ^ 1]) + share.ciphertext[1:]

    def relabel(request: wire.VaultRequest) -> None:
        one, other = request.contribute.shares[:2]
        one.sender, other.sender = other.sender, one.sender

    changes: list[Callable[[wire.VaultRequest], object]] = [
        flip,
        relabel,
        lambda request: request.contribute.shares.pop(),
        lambda request: request.contribute.shares.append(request.contribute.shares[0]),
    ]
    for change in changes:
        assert fed.code_of("north", changed(requests["north"], change)) == "bad-share"
    assert fed.sites["north"].highest_seq == 0
    # Shares that were meant for another site do not decrypt here.
    request = changed(
        requests["north"],
        lambda each: each.contribute.shares[0].CopyFrom(requests["south"].contribute.shares[0]),
    )
    assert fed.code_of("north", request) == "bad-share"
    assert fed.code_of("north", requests["north"]) == ""


def test_sharers_below_n_min_or_without_the_site_or_outside_the_roster_are_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONTRIBUTE)

    def sharers(*names: str) -> wire.VaultRequest:
        def change(request: wire.VaultRequest) -> None:
            del request.contribute.sharers[:]
            request.contribute.sharers.extend(names)

        return changed(requests["north"], change)

    assert fed.code_of("north", sharers("north", "south")) == "too-few-sites"
    assert fed.code_of("north", sharers("east", "south", "west", "zenith")) == "not-in-roster"
    assert fed.code_of("north", sharers(*NAMES, "ghost")) == "not-in-roster"
    assert fed.code_of("north", sharers(*NAMES, "south")) == "duplicate-site"


def test_a_revoked_certificate_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONTRIBUTE)
    serial = 3  # of south
    listed = fed.consortium.revocations(2, [serial])
    request = changed(requests["north"], lambda each: each.contribute.revocations.CopyFrom(listed))
    assert fed.code_of("north", request) == "certificate-revoked"


def test_an_expired_older_forged_or_missing_revocation_list_is_refused() -> None:
    fed = federation()
    fed.sites["north"].masking.least_revocations = 5
    _, requests = fed.until(CONTRIBUTE)
    authority = fed.consortium.authority

    def with_list(listed: wire.Signed) -> str:
        return fed.code_of(
            "north",
            changed(requests["north"], lambda each: each.contribute.revocations.CopyFrom(listed)),
        )

    none: frozenset[int] = frozenset()
    assert with_list(Revocations(4, NOW, NOW + 9, none).sealed_by(authority)) == "revocations-older"
    assert (
        with_list(Revocations(6, NOW - 9, NOW - 1, none).sealed_by(authority))
        == "revocations-expired"
    )
    forged = Revocations(6, NOW, NOW + 9, none).sealed_by(SigningKey.generate())
    assert with_list(forged) == "bad-revocations"
    assert with_list(wire.Signed()) == "bad-revocations"
    # A refused list does not raise the number that the site insists on; an accepted one does.
    assert fed.sites["north"].masking.least_revocations == 5
    assert with_list(Revocations(6, NOW, NOW + 9, none).sealed_by(authority)) == ""
    assert fed.sites["north"].masking.least_revocations == 6


def test_a_certificate_that_ran_out_since_the_roster_was_made_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONTRIBUTE)
    late = NOW + YEAR_SECONDS + 1
    fed.sites["north"].now = late
    fresh = Revocations(2, late, late + 9, frozenset()).sealed_by(fed.consortium.authority)
    request = changed(requests["north"], lambda each: each.contribute.revocations.CopyFrom(fresh))
    assert fed.code_of("north", request) == "certificate-expired"


def test_a_replayed_contribution_of_an_earlier_attempt_is_refused() -> None:
    fed = federation()
    _, old = fed.until(CONTRIBUTE)
    drive(fed.attempt(), exchange_with(fed.sites))
    drive(fed.attempt(), exchange_with(fed.sites))
    assert fed.code_of("north", old["north"]) == "unknown-seq"


def test_survivors_below_n_min_or_outside_the_sharers_are_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONFIRM)

    def survivors(*names: str) -> wire.VaultRequest:
        def change(request: wire.VaultRequest) -> None:
            del request.confirm.survivors[:]
            request.confirm.survivors.extend(names)

        return changed(requests["north"], change)

    assert fed.code_of("north", survivors("north", "south")) == "too-few-sites"
    assert fed.code_of("north", survivors("east", "south", "west", "zenith")) == "not-in-roster"
    assert fed.code_of("north", survivors(*NAMES, "ghost")) == "not-in-roster"
    assert fed.code_of("north", survivors("north", "south", "west", "west")) == "duplicate-site"


def test_a_site_can_not_be_shown_as_both_alive_and_dead() -> None:
    """A second survivor set for one seq, by which both secrets of a site could be asked for."""
    fed = federation()
    attempt, requests = fed.until(CONFIRM)
    attempt.send(exchange_with(fed.sites)(requests))
    request = changed(requests["north"], lambda each: each.confirm.survivors.remove("south"))
    assert fed.code_of("north", request) == "conflicting-request"


def test_survivor_sets_that_differ_between_sites_unmask_nothing() -> None:
    """Two of five are told that south is dead; no site gets t signatures over what it signed."""
    fed = federation()
    _, requests = fed.until(CONFIRM)
    signatures: dict[str, bytes] = {}
    for name in NAMES:
        request = requests[name]
        if name in ("north", "west"):
            request = changed(request, lambda each: each.confirm.survivors.remove("south"))
        reply = parse(wire.VaultReply, fed.sites[name].handle(serialise(request)))
        signatures[name] = reply.confirmed.confirmation.signature
    unmask = wire.UnmaskRequest(
        run=fed.terms.run,
        seq=1,
        confirmations=[
            wire.SiteSignature(site=name, signature=signature)
            for name, signature in signatures.items()
            if name != "south"
        ],
    )
    for name in NAMES:
        assert fed.code_of(name, wire.VaultRequest(unmask=unmask)) == "bad-confirmation"
    # Only the matching ones: two or three signatures, fewer than t = 4.
    assert fed.terms.threshold == 4
    for names in (("north", "west"), ("east", "south", "zenith")):
        few = wire.UnmaskRequest(
            run=fed.terms.run,
            seq=1,
            confirmations=[
                wire.SiteSignature(site=name, signature=signatures[name]) for name in names
            ],
        )
        assert fed.code_of(names[0], wire.VaultRequest(unmask=few)) == "too-few-confirmations"


def test_confirmations_are_counted_once_and_from_survivors_alone() -> None:
    fed = federation()
    _, requests = fed.until(UNMASK)
    request = requests["north"]

    def repeat(each: wire.VaultRequest) -> None:
        each.unmask.confirmations[-1].CopyFrom(each.unmask.confirmations[0])

    def rename(each: wire.VaultRequest) -> None:
        each.unmask.confirmations[-1].site = "ghost"

    def steal(each: wire.VaultRequest) -> None:
        each.unmask.confirmations[-1].signature = each.unmask.confirmations[0].signature

    for change in (repeat, rename, steal):
        assert fed.code_of("north", changed(request, change)) == "bad-confirmation"
    few = changed(request, lambda each: each.unmask.confirmations.pop())
    assert fed.code_of("north", few) == "too-few-confirmations"


def test_a_confirmation_of_another_round_does_not_count() -> None:
    fed = federation()
    _, first = fed.until(UNMASK)
    drive(fed.attempt(), exchange_with(fed.sites))
    attempt = fed.attempt()
    requests = next(attempt)
    requests = attempt.send(exchange_with(fed.sites)(requests))
    requests = attempt.send(exchange_with(fed.sites)(requests))
    assert requests["north"].HasField("unmask")

    def replay(each: wire.VaultRequest) -> None:
        del each.unmask.confirmations[:]
        each.unmask.confirmations.extend(first["north"].unmask.confirmations)

    assert fed.code_of("north", changed(requests["north"], replay)) == "bad-confirmation"


def test_a_second_unmasking_is_refused_also_after_a_restart() -> None:
    fed = federation()
    attempt, requests = fed.until(UNMASK)
    with pytest.raises(StopIteration):
        attempt.send(exchange_with(fed.sites)(requests))
    other = changed(requests["north"], lambda each: each.unmask.confirmations.reverse())
    assert fed.code_of("north", other) == "conflicting-request"
    fed.sites["north"].masking = fed.consortium.masking("north", fed.terms)
    assert fed.code_of("north", requests["north"]) == "unknown-seq"


def test_an_attempt_that_skips_ahead_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(CONFIRM)

    def skip(each: wire.VaultRequest) -> None:
        each.confirm.next_seq = 10**6

    assert fed.code_of("north", changed(requests["north"], skip)) == "stale-seq"


def test_a_survivor_that_never_shared_its_secrets_is_refused() -> None:
    """A site in R but not in U2: nothing of it stands in the sum, and it may not count."""
    fed = federation()
    attempt, requests = fed.until(1)
    replies = exchange_with(fed.sites)(requests)
    del replies["zenith"]
    requests = attempt.send(replies)
    requests = attempt.send(exchange_with(fed.sites)(requests))
    request = changed(requests["north"], lambda each: each.confirm.survivors.append("zenith"))
    assert fed.code_of("north", request) == "not-in-roster"
    assert fed.code_of("north", requests["north"]) == ""
