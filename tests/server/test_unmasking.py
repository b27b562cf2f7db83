"""The coordinator's half: what it asks whom, what it makes of refusals, and how it goes on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from groundswell.server.unmasking import Requests, SecureTotal, drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import SumFederation, exchange_with

NOW = 1_700_000_000
NAMES = tuple(f"site-{index}" for index in range(6))
CONTRIBUTE, CONFIRM, UNMASK = 2, 3, 4


def federation() -> SumFederation:
    return SumFederation.create(
        {name: np.full(3, index, dtype=np.int64) for index, name in enumerate(NAMES)}, now=NOW
    )


def finish(fed: SumFederation, step: Callable[[], Requests]) -> SecureTotal:
    """Carry an attempt on from ``step`` to its total."""
    with pytest.raises(StopIteration) as stop:
        step()
    total: SecureTotal = stop.value.value
    return total


def kinds(requests: Requests) -> dict[str, str | None]:
    return {name: request.WhichOneof("request") for name, request in requests.items()}


def test_a_live_site_outside_the_survivors_is_asked_for_its_next_keys_alone() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    del replies["site-5"]
    requests = attempt.send(replies)
    expected = dict.fromkeys(NAMES[:5], "confirm") | {"site-5": "advertise"}
    assert kinds(requests) == expected
    requests = attempt.send(exchange_with(fed.sites)(requests))
    assert kinds(requests) == dict.fromkeys(NAMES[:5], "unmask") | {"site-5": "share"}
    total = finish(fed, lambda: attempt.send(exchange_with(fed.sites)(requests)))
    assert total.dropped == ("site-5",)
    assert kinds(next(fed.attempt())) == dict.fromkeys(NAMES, "contribute")


def test_the_last_attempt_of_a_run_asks_for_no_further_keys() -> None:
    fed = federation()
    seen = []

    def exchange(requests: Requests) -> dict[str, wire.VaultReply]:
        seen.append(requests)
        return exchange_with(fed.sites)(requests)

    drive(fed.attempt(following=False), exchange)
    assert len(seen) == 5
    assert seen[CONFIRM]["site-0"].confirm.next_seq == 0
    assert seen[UNMASK]["site-0"].unmask.next_seq == 0
    assert not seen[UNMASK]["site-0"].unmask.advertisements


def test_a_site_that_joins_late_takes_part_from_the_next_attempt_on() -> None:
    fed = federation()
    late = fed.sites.pop("site-5")
    first = drive(fed.attempt(), exchange_with(fed.sites))
    assert first.survivors == NAMES[:5]
    fed.sites["site-5"] = late
    second = drive(fed.attempt(), exchange_with(fed.sites))
    assert second.survivors == NAMES[:5]
    third = drive(fed.attempt(), exchange_with(fed.sites))
    assert third.survivors == NAMES
    assert np.array_equal(third.total, fed.expected(NAMES))


def test_a_next_roster_that_sites_decline_does_not_cost_the_sum_at_hand() -> None:
    """Every site refuses the request that carries the next roster, and is asked without it."""
    fed = federation()
    attempt, requests = fed.until(UNMASK)
    refused = wire.VaultReply(refused=wire.Refused(code="ledger-behind"))
    requests = attempt.send(dict.fromkeys(requests, refused))
    assert kinds(requests) == dict.fromkeys(NAMES, "unmask")
    assert all(not request.unmask.next_seq for request in requests.values())
    total = finish(fed, lambda: attempt.send(exchange_with(fed.sites)(requests)))
    assert np.array_equal(total.total, fed.expected(NAMES))
    # Without shares for the next attempt, that one starts cold, two further on.
    requests = next(fed.attempt())
    assert kinds(requests) == dict.fromkeys(NAMES, "advertise")
    assert requests["site-0"].advertise.seq == 3


def test_refusals_are_kept_with_their_codes() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    replies["site-2"] = wire.VaultReply(refused=wire.Refused(code="over-budget"))
    replies["site-3"] = wire.VaultReply()
    attempt.send(replies)
    assert fed.coordinator.refusals == {"site-2": "over-budget", "site-3": "unexpected-reply"}


def test_a_void_attempt_is_followed_by_fresh_keys_under_a_new_seq() -> None:
    fed = federation()
    drive(fed.attempt(), exchange_with(fed.sites))
    assert fed.coordinator.next_seq == 2
    with pytest.raises(AttemptVoid, match="too-few-survivors"):
        drive(fed.attempt(), lambda requests: {})
    assert fed.coordinator.next_seq == 4
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert total.seq == 4
    assert np.array_equal(total.total, fed.expected(NAMES))


def test_a_reply_of_a_wrong_length_is_left_out() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    fed.sites["site-1"].vector = lambda seq: np.zeros(2, dtype=np.int64)
    attempt.send(exchange_with(fed.sites)(requests))
    assert fed.coordinator.refusals == {"site-1": "bad-vector"}


def test_a_lowered_ledger_head_keeps_a_site_out() -> None:
    fed = federation()
    drive(fed.attempt(), exchange_with(fed.sites))
    fed.coordinator._prepared = None
    fed.sites["site-4"].highest_seq = 0
    fed.sites["site-4"].masking = fed.consortium.masking("site-4", fed.terms)
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert "site-4" not in total.survivors
    assert fed.coordinator.refusals["site-4"] == "ledger-behind"
    assert fed.coordinator.heads["site-4"].row == 1


def test_the_total_says_what_the_next_step_needs() -> None:
    fed = federation()
    total = drive(fed.attempt(), exchange_with(fed.sites))
    assert total.honest == 5
    assert total.declared == dict.fromkeys(NAMES, 1000)
    assert total.total.dtype == np.int64


def test_a_site_that_answers_twice_or_for_strangers_changes_nothing() -> None:
    fed = federation()
    attempt, requests = fed.until(CONTRIBUTE)
    replies = exchange_with(fed.sites)(requests)
    replies["stranger"] = replies["site-0"]
    requests = attempt.send(replies)
    assert "stranger" not in requests
    requests = attempt.send(exchange_with(fed.sites)(requests))
    again = {
        name: parse(wire.VaultReply, fed.sites[name].handle(serialise(request)))
        for name, request in requests.items()
    }
    total = finish(fed, lambda: attempt.send(again))
    assert np.array_equal(total.total, fed.expected(NAMES))
