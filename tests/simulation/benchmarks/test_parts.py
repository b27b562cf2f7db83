"""What the privacy parts cost is measured on what they really do."""

from __future__ import annotations

from groundswell.simulation.benchmarks import parts


def test_the_metered_sum_is_exact_and_its_bytes_hold_the_vector_both_ways() -> None:
    short, long = (parts.sum_cost(5, dim, repeats=1) for dim in (10, 1010))
    assert short.exact
    assert long.exact
    # One vector of 64-bit integers goes up; the release's model, which comes down, is empty here.
    assert 8_000 <= long.site_bytes - short.site_bytes < 8_200


def test_a_release_takes_room_in_the_ledger_and_more_of_it_with_more_sites() -> None:
    few, many = (parts.ledger_cost(sites, events=30) for sites in (5, 60))
    assert 300 < few.file_bytes < many.file_bytes
    assert few.seconds > 0


def test_times_are_of_work_that_was_done() -> None:
    assert parts.noise_seconds(400_000) > parts.noise_seconds(400)
    assert parts.clip_seconds(64, 2000) > parts.clip_seconds(1, 2000)
    assert parts.accounting_seconds(10) > 0
