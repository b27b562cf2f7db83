"""The site's half: the order of phases, repeats, restarts, and what it exposes to the vault."""

from __future__ import annotations

import secrets

import numpy as np
import pytest

from groundswell.client.masking import SiteMasking
from groundswell.server.unmasking import drive
from groundswell.shared.envelopes import open_signed, parse, serialise
from groundswell.shared.errors import Refusal
from groundswell.shared.identity import SigningKey
from groundswell.shared.masks import digest
from groundswell.shared.roster import Head
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import (
    Consortium,
    SumFederation,
    exchange_with,
)

NOW = 1_700_000_000
NAMES = ("east", "north", "south", "west")


def federation() -> SumFederation:
    vectors = {name: np.arange(6, dtype=np.int64) * (i + 1) for i, name in enumerate(NAMES)}
    return SumFederation.create(vectors, now=NOW)


def requests_of(fed: SumFederation) -> list[dict[str, wire.VaultRequest]]:
    """Every phase's requests of a cold start that runs to its end."""
    seen = []
    exchange = exchange_with(fed.sites)

    def record(requests: dict[str, wire.VaultRequest]) -> dict[str, wire.VaultReply]:
        seen.append(dict(requests))
        return exchange(requests)

    drive(fed.attempt(), record)
    return seen


def answer(fed: SumFederation, name: str, request: wire.VaultRequest) -> wire.VaultReply:
    return parse(wire.VaultReply, fed.sites[name].handle(serialise(request)))


def code_of(fed: SumFederation, name: str, request: wire.VaultRequest) -> str:
    return answer(fed, name, request).refused.code


def test_every_repeated_request_gets_the_stored_bytes_and_no_new_vector() -> None:
    fed = federation()
    answered: list[tuple[bytes, bytes, str]] = []
    for requests in requests_of(fed):
        for name, request in requests.items():
            data = serialise(request)
            answered.append((data, fed.sites[name].handle(data), name))
    for data, reply, name in answered:
        assert fed.sites[name].handle(data) == reply
        assert parse(wire.VaultReply, reply).WhichOneof("reply") != "refused"


def test_a_repeated_contribution_is_not_computed_again() -> None:
    fed = federation()
    computed: list[int] = []

    def vector(seq: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        computed.append(seq)
        return np.zeros(6, dtype=np.int64)

    fed.sites["north"].vector = vector
    contribute = requests_of(fed)[2]["north"]
    answer(fed, "north", contribute)
    assert computed == [1]


def test_each_reply_is_signed_by_the_sites_own_key() -> None:
    fed = federation()
    kinds = {
        "advertised": wire.Advertisement,
        "shared": wire.Shares,
        "contributed": wire.ContributionBody,
        "confirmed": wire.ConfirmationBody,
        "unmasked": wire.Unmasked,
        "finished": wire.Finished,
    }
    seen = set()
    phases = requests_of(fed)
    phases.append({"north": wire.VaultRequest(finish=wire.FinishRequest(run=fed.terms.run))})
    for requests in phases:
        reply = answer(fed, "north", requests["north"])
        kind = reply.WhichOneof("reply")
        assert kind is not None
        signed = {
            "contributed": reply.contributed.signed,
            "confirmed": reply.confirmed.confirmation,
            "advertised": reply.advertised,
            "shared": reply.shared,
            "unmasked": reply.unmasked,
            "finished": reply.finished,
        }[kind]
        open_signed(signed, kinds[kind], fed.consortium.members["north"].key.public)
        seen.add(kind)
    assert seen == set(kinds)


@pytest.mark.parametrize("phase", [1, 2, 3, 4])
def test_a_second_request_of_a_phase_that_differs_is_refused(phase: int) -> None:
    fed = federation()
    request = wire.VaultRequest()
    request.CopyFrom(requests_of(fed)[phase]["north"])
    if phase == 1:
        request.share.advertisements.pop()
    elif phase == 2:
        request.contribute.round += 1
    elif phase == 3:
        request.confirm.survivors.pop()
    else:
        request.unmask.confirmations.pop()
    assert code_of(fed, "north", request) == "conflicting-request"


@pytest.mark.parametrize("answered", [0, 1, 2, 3])
def test_phases_out_of_order_are_refused(answered: int) -> None:
    """After some phases, any request but the next phase's is too early."""
    whole = requests_of(federation())
    fed = federation()
    attempt = fed.attempt()
    exchange = exchange_with(fed.sites)
    requests = next(attempt)
    for _ in range(answered):
        requests = attempt.send(exchange(requests))
    expected = "unknown-seq" if answered == 0 else "out-of-order"
    for early in whole[answered + 1 :]:
        assert code_of(fed, "north", early["north"]) == expected


def test_a_restarted_site_answers_nothing_of_the_attempt_it_lost() -> None:
    fed = federation()
    whole = requests_of(fed)
    site = fed.sites["north"]
    site.masking = fed.consortium.masking("north", fed.terms)
    for phase in (1, 2, 3, 4):
        assert code_of(fed, "north", whole[phase]["north"]) == "unknown-seq"
    # Its ledger remembers: the same seq is not advertised a second time.
    assert code_of(fed, "north", whole[0]["north"]) == "stale-seq"


def test_a_seq_that_the_ledger_holds_is_refused_even_with_its_secrets() -> None:
    fed = federation()
    attempt = fed.attempt()
    exchange = exchange_with(fed.sites)
    requests = next(attempt)
    for _ in range(2):
        requests = attempt.send(exchange(requests))
    fed.sites["north"].highest_seq = 1
    assert code_of(fed, "north", requests["north"]) == "stale-seq"


def test_a_contribution_that_broke_off_is_not_computed_again() -> None:
    fed = federation()
    attempt = fed.attempt()
    exchange = exchange_with(fed.sites)
    requests = next(attempt)
    for _ in range(2):
        requests = attempt.send(exchange(requests))

    def fail(seq: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        raise MemoryError

    fed.sites["north"].vector = fail
    with pytest.raises(MemoryError):
        fed.sites["north"].handle(serialise(requests["north"]))
    assert code_of(fed, "north", requests["north"]) == "not-masked"


def test_old_secrets_are_forgotten() -> None:
    fed = federation()
    for _ in range(5):
        drive(fed.attempt(), exchange_with(fed.sites))
    assert sorted(fed.sites["north"].masking._attempts) == [5, 6]


def test_a_request_for_another_run_is_refused() -> None:
    fed = federation()
    for requests in requests_of(fed):
        request = wire.VaultRequest()
        request.CopyFrom(requests["north"])
        run = secrets.token_bytes(16)
        if request.HasField("advertise"):
            request.advertise.run = run
        elif request.HasField("share"):
            request.share.run = run
        elif request.HasField("contribute"):
            request.contribute.run = run
        elif request.HasField("confirm"):
            request.confirm.run = run
        else:
            request.unmask.run = run
        assert code_of(fed, "north", request) == "wrong-run"


def test_the_vault_learns_the_verified_survivors() -> None:
    fed = federation()
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert fed.sites["north"].survivors == {1: total.survivors}
    assert set(total.confirmations) == set(NAMES)


def test_heads_of_others_are_kept_and_a_lower_one_is_refused() -> None:
    fed = federation()
    drive(fed.attempt(), exchange_with(fed.sites))
    known = fed.sites["north"].masking.heads
    # The advertisements for the attempt after the first came when one row was written.
    assert {name: head.row for name, head in known.items()} == {"east": 1, "south": 1, "west": 1}
    member = fed.consortium.members["south"]
    lower = member.key.seal(
        wire.Finished(
            run=fed.terms.run,
            certificate=member.certificate,
            head=Head(0, b"").message(),
        )
    )
    request = wire.VaultRequest(finish=wire.FinishRequest(run=fed.terms.run, heads=[lower]))
    assert code_of(fed, "north", request) == "ledger-behind"
    assert fed.sites["north"].masking.heads == known


def test_a_site_starts_only_with_a_certificate_of_its_own_key() -> None:
    consortium = Consortium.create({name: name for name in NAMES}, now=NOW)
    with pytest.raises(Refusal, match="bad-certificate"):
        SiteMasking(
            SigningKey.generate(),
            consortium.members["north"].certificate,
            consortium.trust,
            consortium.terms(),
            now=NOW,
        )


def test_nothing_secret_is_printed() -> None:
    fed = federation()
    attempt = fed.attempt()
    exchange = exchange_with(fed.sites)
    requests = next(attempt)
    for _ in range(3):
        requests = attempt.send(exchange(requests))
    masking = fed.sites["north"].masking
    kept = masking._attempts[1]
    text = repr(masking) + repr(kept)
    for secret in (
        kept.self_mask,
        kept.mask_seed,
        *(s for pair in kept.received.values() for s in pair),
    ):
        assert secret.hex() not in text
        assert repr(secret)[2:-1] not in text


def test_masking_leaves_the_vector_as_it_is_and_is_exact_at_the_extremes() -> None:
    extreme = np.array([2**63 - 1, -(2**63), 0, -1, 1], dtype=np.int64)
    vectors = {name: np.zeros(5, dtype=np.int64) for name in NAMES} | {"north": extreme}
    fed = SumFederation.create(vectors, now=NOW)
    before = extreme.copy()
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert np.array_equal(extreme, before)
    assert np.array_equal(total.total, extreme)


def test_the_admission_names_what_policy_decides_on() -> None:
    fed = federation()
    attempt = fed.attempt(model=b"weights", round_number=7)
    exchange = exchange_with(fed.sites)
    requests = next(attempt)
    for _ in range(2):
        requests = attempt.send(exchange(requests))
    masking = fed.sites["north"].masking
    model_hash = digest("model", b"weights")
    admission = masking.admit(
        requests["north"].contribute, model_hash=model_hash, highest_seq=0, now=NOW
    )
    assert (admission.seq, admission.kind, admission.round) == (1, "gradient", 7)
    assert admission.model_hash == model_hash
    assert admission.sharers == tuple(sorted(NAMES))
    assert admission.honest == 3
    assert admission.declared == dict.fromkeys(NAMES, 1000)


def test_one_attempt_masks_one_vector() -> None:
    """Two vectors under one mask would give away their difference."""
    fed = federation()
    fed.until(3)
    with pytest.raises(Refusal, match="out-of-order"):
        fed.sites["north"].masking.mask(1, np.ones(6, dtype=np.int64))


def test_an_attempt_admits_one_contribution() -> None:
    fed = federation()
    _, requests = fed.until(2)
    masking = fed.sites["north"].masking
    contribute = requests["north"].contribute
    masking.admit(contribute, model_hash=bytes(32), highest_seq=0, now=NOW)
    with pytest.raises(Refusal, match="conflicting-request"):
        masking.admit(contribute, model_hash=bytes(range(32)), highest_seq=0, now=NOW)
