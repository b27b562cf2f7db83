"""Sites that lie to the coordinator: they drop out, and can not change the sum of the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from groundswell.server.unmasking import drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.identity import Certificate, SigningKey
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import (
    Consortium,
    Member,
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


def test_a_site_that_reveals_wrong_shares_does_not_change_the_sum() -> None:
    fed = federation()
    attempt, requests = fed.until(UNMASK)
    replies = exchange_with(fed.sites)(requests)
    body = parse(wire.Unmasked, replies["east"].unmasked.body)
    for each in body.shares:
        each.self_mask = bytes(range(32))
    lie = fed.consortium.members["east"].key.seal(body)
    replies["east"].unmasked.CopyFrom(lie)
    with pytest.raises(StopIteration) as stop:
        attempt.send(replies)
    assert np.array_equal(stop.value.value.total, fed.expected(NAMES))


def test_too_many_wrong_shares_void_the_attempt() -> None:
    fed = federation()
    attempt, requests = fed.until(UNMASK)
    replies = exchange_with(fed.sites)(requests)
    for name in ("east", "south"):
        body = parse(wire.Unmasked, replies[name].unmasked.body)
        for each in body.shares:
            each.self_mask = bytes(range(32))
        replies[name].unmasked.CopyFrom(fed.consortium.members[name].key.seal(body))
    with pytest.raises(AttemptVoid, match="too-few-shares"):
        attempt.send(replies)


def test_a_reply_under_another_sites_name_or_signature_counts_as_none() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    replies["east"].CopyFrom(replies["west"])
    attempt.send(replies)
    assert fed.coordinator.refusals == {"east": "bad-signature"}


def test_a_vector_that_was_altered_on_the_way_is_left_out() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    replies["east"].contributed.vector = bytes(32)
    requests = attempt.send(replies)
    assert fed.coordinator.refusals == {"east": "bad-vector"}
    requests = attempt.send(exchange_with(fed.sites)(requests))
    with pytest.raises(StopIteration) as stop:
        attempt.send(exchange_with(fed.sites)(requests))
    survivors = tuple(name for name in NAMES if name != "east")
    assert stop.value.value.survivors == survivors
    assert np.array_equal(stop.value.value.total, fed.expected(survivors))


def test_a_site_with_a_revoked_certificate_is_left_out_by_the_coordinator() -> None:
    fed = federation()
    fed.coordinator.revocations = fed.consortium.revocations(2, [1])  # east
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert "east" not in total.survivors
    assert fed.coordinator.refusals["east"] == "certificate-revoked"


def test_a_site_may_not_enrol_under_a_certificate_of_the_same_name_with_another_key() -> None:
    """Two certificates of one name: the roster takes a name once."""
    fed = federation()
    key = SigningKey.generate()
    second = Certificate("south", "rival", key.public, 1000, NOW, NOW + 9, 99)
    member = Member(key, second.sealed_by(fed.consortium.authority))
    rivals = Consortium(
        fed.consortium.authority,
        fed.consortium.coordinator,
        {"south": member},
        {"south": "rival"},
        NOW,
    )
    masking = rivals.masking("south", fed.terms)
    fed.sites["south"].masking, honest = masking, fed.sites["south"].masking
    attempt = fed.attempt()
    requests = next(attempt)
    rival = parse(wire.VaultReply, fed.sites["south"].handle(serialise(requests["south"])))
    fed.sites["south"].masking = honest
    replies = exchange_with(fed.sites)(requests)
    share = wire.ShareRequest(
        run=fed.terms.run,
        seq=1,
        advertisements=[*(reply.advertised for reply in replies.values()), rival.advertised],
    )
    assert fed.code_of("north", wire.VaultRequest(share=share)) == "duplicate-site"


def test_a_site_with_an_unusable_key_is_left_out_by_the_coordinator() -> None:
    """Else every honest site would refuse the roster, and one liar could stop the federation."""
    fed = federation()
    requests = next(attempt := fed.attempt())
    replies = exchange_with(fed.sites)(requests)
    body = parse(wire.Advertisement, replies["east"].advertised.body)
    body.mask_key = (1).to_bytes(32, "little")
    replies["east"].advertised.CopyFrom(fed.consortium.members["east"].key.seal(body))
    requests = attempt.send(replies)
    assert "east" not in requests
    assert fed.coordinator.refusals == {"east": "bad-key"}


def test_a_site_that_advertises_as_another_one_is_left_out() -> None:
    fed = federation()
    requests = next(attempt := fed.attempt())
    replies = exchange_with(fed.sites)(requests)
    replies["east"].CopyFrom(replies["west"])
    requests = attempt.send(replies)
    assert "east" not in requests
    assert "west" in requests
    assert fed.coordinator.refusals == {"east": "bad-certificate"}
