"""A roster that is not what the sites advertised: each lie is refused with a code."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from groundswell.server.unmasking import drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import (
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


def test_a_key_that_the_server_swapped_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(SHARE)
    victim = index_of(requests["north"], "south")

    def swap(request: wire.VaultRequest) -> None:
        signed = request.share.advertisements[victim]
        body = parse(wire.Advertisement, signed.body)
        body.mask_key = bytes(range(32))
        signed.body = serialise(body)

    assert fed.code_of("north", changed(requests["north"], swap)) == "bad-signature"
    # The honest roster is still accepted: a refusal changes nothing.
    assert fed.code_of("north", requests["north"]) == ""


def test_the_sites_own_keys_can_not_be_swapped_for_older_ones() -> None:
    """An advertisement that the site itself signed, with other keys than it now holds."""
    fed = federation()
    _, requests = fed.until(SHARE)
    own = index_of(requests["north"], "north")
    signed = requests["north"].share.advertisements[own]
    other = resealed(fed, "north", signed, wire.Advertisement(mask_key=bytes(range(32))))
    request = changed(
        requests["north"], lambda each: each.share.advertisements[own].CopyFrom(other)
    )
    assert fed.code_of("north", request) == "swapped-key"


def test_a_forged_certificate_is_refused() -> None:
    """Sites of the attacker's own making, under a CA of its own."""
    fed, forged = federation(), federation()
    _, requests = fed.until(SHARE)
    _, fakes = forged.until(SHARE)
    victim = index_of(requests["north"], "south")
    fake = fakes["north"].share.advertisements[index_of(fakes["north"], "south")]
    request = changed(
        requests["north"], lambda each: each.share.advertisements[victim].CopyFrom(fake)
    )
    assert fed.code_of("north", request) == "bad-certificate"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        (wire.Advertisement(run=bytes(range(16))), "wrong-run"),
        (wire.Advertisement(seq=9), "wrong-seq"),
        (wire.Advertisement(plan_hash=bytes(range(32))), "wrong-plan"),
        (wire.Advertisement(threshold=2), "wrong-threshold"),
        (wire.Advertisement(mask_key=bytes(31)), "bad-key"),
        (wire.Advertisement(channel_key=(1).to_bytes(32, "little")), "bad-key"),
        (wire.Advertisement(mask_key=(1).to_bytes(32, "little")), "bad-key"),
    ],
)
def test_a_site_of_another_run_attempt_plan_or_threshold_is_refused(
    fields: wire.Advertisement, code: str
) -> None:
    fed = federation()
    _, requests = fed.until(SHARE)
    victim = index_of(requests["north"], "south")
    other = resealed(fed, "south", requests["north"].share.advertisements[victim], fields)
    request = changed(
        requests["north"], lambda each: each.share.advertisements[victim].CopyFrom(other)
    )
    assert fed.code_of("north", request) == code


def test_an_advertisement_of_an_earlier_attempt_is_refused() -> None:
    fed = federation()
    _, first = fed.until(SHARE)
    with pytest.raises(AttemptVoid):
        drive(fed.attempt(), lambda requests: {})
    _, second = fed.until(SHARE)
    assert second["north"].share.seq > first["north"].share.seq
    victim = index_of(second["north"], "south")
    old = first["north"].share.advertisements[index_of(first["north"], "south")]
    request = changed(second["north"], lambda each: each.share.advertisements[victim].CopyFrom(old))
    assert fed.code_of("north", request) == "wrong-seq"


def test_a_site_that_stands_twice_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(SHARE)
    request = changed(
        requests["north"],
        lambda each: each.share.advertisements.append(each.share.advertisements[-1]),
    )
    assert fed.code_of("north", request) == "duplicate-site"


def test_one_key_under_two_names_is_refused() -> None:
    """A certified site that copies the keys of another one, to be counted twice."""
    fed = federation()
    _, requests = fed.until(SHARE)
    source = requests["north"].share.advertisements[index_of(requests["north"], "south")]
    victim = index_of(requests["north"], "west")
    copied = parse(wire.Advertisement, source.body).mask_key
    other = resealed(
        fed,
        "west",
        requests["north"].share.advertisements[victim],
        wire.Advertisement(mask_key=copied),
    )
    request = changed(
        requests["north"], lambda each: each.share.advertisements[victim].CopyFrom(other)
    )
    assert fed.code_of("north", request) == "duplicate-site"


def test_a_roster_that_is_too_small_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(SHARE)
    own = index_of(requests["north"], "north")

    def shrink(request: wire.VaultRequest) -> None:
        keep = [request.share.advertisements[i] for i in {own, (own + 1) % 5}]
        del request.share.advertisements[:]
        request.share.advertisements.extend(keep)

    assert fed.code_of("north", changed(requests["north"], shrink)) == "too-few-sites"


def test_a_roster_without_the_site_is_refused() -> None:
    fed = federation()
    _, requests = fed.until(SHARE)
    own = index_of(requests["north"], "north")
    request = changed(requests["north"], lambda each: each.share.advertisements.pop(own))
    assert fed.code_of("north", request) == "not-in-roster"


def test_a_threshold_that_the_roster_outgrows_is_refused() -> None:
    vectors = {name: np.zeros(4, dtype=np.int64) for name in NAMES}
    fed = SumFederation.create(vectors, now=NOW, threshold=3)
    advertisements = []
    requests = next(fed.attempt())
    for name, reply in exchange_with(fed.sites)(requests).items():
        assert name in NAMES
        advertisements.append(reply.advertised)
    share = wire.ShareRequest(run=fed.terms.run, seq=1, advertisements=advertisements)
    assert fed.code_of("north", wire.VaultRequest(share=share)) == "threshold-too-low"


def test_a_roster_of_129_is_refused_before_a_signature_is_checked() -> None:
    fed = federation()
    fed.until(SHARE)
    many = [wire.Signed()] * 129
    share = wire.ShareRequest(run=fed.terms.run, seq=1, advertisements=many)
    assert fed.code_of("north", wire.VaultRequest(share=share)) == "roster-too-large"


def test_a_site_whose_ledger_lost_rows_is_refused() -> None:
    fed = federation()
    drive(fed.attempt(), exchange_with(fed.sites))
    fed.coordinator._prepared = None
    fed.sites["south"].highest_seq = 0  # a ledger restored from before the first attempt
    fed.sites["south"].masking = fed.consortium.masking("south", fed.terms)
    requests = next(fed.attempt())
    replies = exchange_with(fed.sites)(requests)
    advertisements = [reply.advertised for reply in replies.values()]
    share = wire.ShareRequest(
        run=fed.terms.run,
        seq=requests["north"].advertise.seq,
        advertisements=advertisements,
    )
    assert fed.code_of("north", wire.VaultRequest(share=share)) == "ledger-behind"
