"""Both halves together: the sum is exact under every drop-out, or the attempt is void."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from groundswell.server.unmasking import Requests, SecureTotal, drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import SumFederation, exchange_with

NOW = 1_700_000_000
PHASES = 5  # advertise, share, contribute, confirm, unmask

Losses = Mapping[tuple[int, str], str]


def names_of(count: int) -> list[str]:
    return [f"site-{index}" for index in range(count)]


def federation(count: int, n_min: int | None = None) -> SumFederation:
    generator = np.random.default_rng(count)
    return SumFederation.create(
        {name: generator.integers(-(2**62), 2**62, 7) for name in names_of(count)},
        now=NOW,
        n_min=n_min,
    )


def run(fed: SumFederation, losses: Losses, *, cold: bool, following: bool) -> SecureTotal:
    """One attempt; ``losses`` says by phase and site whether request or reply is lost, or whether
    the request arrives twice."""
    phase = iter(range(0 if cold else 2, PHASES + 1))

    def exchange(requests: Requests) -> dict[str, wire.VaultReply]:
        here = next(phase)
        replies = {}
        for name, request in requests.items():
            fate = losses.get((here, name), "")
            if fate == "request":
                continue
            data = serialise(request)
            reply = fed.sites[name].handle(data)
            if fate == "twice":
                assert fed.sites[name].handle(data) == reply
            if fate != "reply":
                replies[name] = parse(wire.VaultReply, reply)
        return replies

    return drive(fed.attempt(following=following), exchange)


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, list[dict[tuple[int, str], str]]]:
    """A number of sites, and what goes wrong in each of several attempts."""
    count = draw(st.integers(4, 7))
    fates = st.sampled_from(["", "", "", "", "request", "reply", "twice"])
    attempts = draw(
        st.lists(
            st.fixed_dictionaries(
                {(phase, name): fates for phase in range(PHASES) for name in names_of(count)}
            ),
            min_size=1,
            max_size=4,
        )
    )
    return count, attempts


@settings(max_examples=60, deadline=None)
@given(histories())
def test_a_sum_is_exact_or_void_and_a_quiet_attempt_recovers(
    history: tuple[int, list[dict[tuple[int, str], str]]],
) -> None:
    count, attempts = history
    fed = federation(count)
    cold = True
    for losses in attempts:
        try:
            total = run(fed, losses, cold=cold, following=True)
        except AttemptVoid:
            cold = True
            continue
        assert np.array_equal(total.total, fed.expected(total.survivors))
        assert len(total.survivors) >= max(fed.terms.threshold, fed.terms.n_min)
        assert total.honest >= fed.terms.n_min - fed.terms.colluders
        cold = fed.coordinator._prepared is None
    # Whatever went before, a cold start with all sites alive sums over all of them.
    fed.coordinator._prepared = None
    total = run(fed, {}, cold=True, following=False)
    assert total.survivors == tuple(names_of(count))
    assert np.array_equal(total.total, fed.expected(total.survivors))


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_up_to_n_minus_t_sites_may_drop_out_at_every_stage(data: st.DataObject) -> None:
    """The same or fewer sites stay dead once they died: the sum over the survivors is exact."""
    count = data.draw(st.integers(4, 9))
    fed = federation(count, n_min=3)
    spare = count - max(fed.terms.threshold, 3)
    dying = data.draw(st.permutations(names_of(count)))[:spare]
    deaths = {name: data.draw(st.integers(0, PHASES - 1)) for name in dying}
    mode = data.draw(st.sampled_from(["request", "reply"]))
    losses = {
        (phase, name): mode if phase == death else "request"
        for name, death in deaths.items()
        for phase in range(death, PHASES)
    }
    alive = set(names_of(count)) - set(dying)
    # A roster that lost sites needs t > (R + c)/2 still; it does, since t held for all.
    total = run(fed, losses, cold=True, following=True)
    assert alive <= set(total.survivors)
    assert set(total.survivors) == alive | {n for n, death in deaths.items() if death > 2}
    assert np.array_equal(total.total, fed.expected(total.survivors))
    # In the steady state too, the dead ones staying dead.
    silent = {(phase, name): "request" for name in dying for phase in range(PHASES)}
    cold = fed.coordinator._prepared is None
    total = run(fed, silent, cold=cold, following=True)
    assert set(total.survivors) == alive
    assert np.array_equal(total.total, fed.expected(total.survivors))


@pytest.mark.parametrize("lost", ["request", "reply"])
@pytest.mark.parametrize("phase", range(PHASES))
@pytest.mark.parametrize("count", [4, 5, 7, 8])
def test_any_number_of_drop_outs_up_to_n_minus_t_at_any_one_stage(
    count: int, phase: int, lost: str
) -> None:
    """None, one, ... n - t sites die together, in a cold start and in the steady state."""
    spare = count - federation(count, n_min=3).terms.threshold
    assert spare >= 1
    for dying in range(spare + 1):
        for cold in (True, False):
            if not cold and phase < 2:
                continue
            fed = federation(count, n_min=3)
            if not cold:
                run(fed, {}, cold=True, following=True)
            dead = names_of(count)[:dying]
            losses = {
                (later, name): lost if later == phase else "request"
                for name in dead
                for later in range(phase, PHASES)
            }
            total = run(fed, losses, cold=cold, following=False)
            # Whose vector has arrived is in the sum, whatever becomes of the site afterwards.
            summed = names_of(count) if phase > 2 else names_of(count)[dying:]
            assert total.survivors == tuple(summed)
            assert np.array_equal(total.total, fed.expected(summed))


@pytest.mark.parametrize("phase", range(PHASES))
def test_one_drop_out_below_the_threshold_voids_the_attempt(phase: int) -> None:
    fed = federation(7, n_min=3)
    dead = names_of(7)[: 7 - fed.terms.threshold + 1]
    losses = {(later, name): "request" for name in dead for later in range(phase, PHASES)}
    with pytest.raises(AttemptVoid) as void:
        run(fed, losses, cold=True, following=True)
    expected = (
        "threshold-too-high",
        "too-few-sites",
        "too-few-survivors",
        "too-few-confirmations",
        "too-few-shares",
    )
    assert void.value.code == expected[phase]


def test_forty_seven_attempts_in_a_row_take_three_phases_each() -> None:
    fed = federation(8)
    phases = []
    exchange = exchange_with(fed.sites)

    def count(requests: Requests) -> dict[str, wire.VaultReply]:
        phases.append(next(iter(requests.values())).WhichOneof("request"))
        return exchange(requests)

    for index in range(47):
        total = drive(fed.attempt(following=index < 46), count)
        assert np.array_equal(total.total, fed.expected(names_of(8)))
        assert total.seq == index + 1
    assert phases == ["advertise", "share"] + ["contribute", "confirm", "unmask"] * 47


def test_a_site_that_was_dead_joins_the_next_attempt_again() -> None:
    fed = federation(8)
    losses = {(2, "site-3"): "request"}
    first = run(fed, losses, cold=True, following=True)
    assert first.dropped == ("site-3",)
    second = run(fed, {}, cold=False, following=True)
    assert second.survivors == tuple(names_of(8))
    assert fed.coordinator.refusals == {}


def test_merchants_with_several_sites_count_as_one_colluder() -> None:
    names = names_of(8)
    merchants = {name: f"merchant-{index // 2}" for index, name in enumerate(names)}
    fed = SumFederation.create(
        {name: np.ones(3, dtype=np.int64) for name in names},
        now=NOW,
        merchants=merchants,
        n_min=6,
    )
    assert fed.terms.threshold == 6  # 2 t > 8 + 2
    total = run(fed, {}, cold=True, following=True)
    assert total.honest == 6
    # Seven survivors hold five honest ones, and n_min - c = 5 were reserved for; six hold four.
    total = run(fed, {(2, "site-0"): "request"}, cold=False, following=True)
    assert total.honest == 5
    with pytest.raises(AttemptVoid, match="too-few-survivors"):
        run(
            fed,
            {(2, "site-0"): "request", (2, "site-2"): "request"},
            cold=False,
            following=True,
        )
