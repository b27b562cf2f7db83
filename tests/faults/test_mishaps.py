"""What goes wrong without a kill: a clear code for the site concerned, no loss for the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from groundswell.client.ledger import Ledger
from groundswell.server.ca import Authority
from groundswell.shared.errors import LedgerError
from groundswell.simulation.kill_matrix import SiteHost, Unreachable, run_cell

pytestmark = pytest.mark.end_to_end

VICTIM = "region-01"
YEAR = 366 * 86_400.0
Hosts = dict[str, SiteHost]


def the_others_went_on(survivors: tuple[tuple[str, ...], ...]) -> bool:
    return bool(survivors) and all(len(each) >= 3 for each in survivors)


def test_a_site_revoked_in_the_middle_is_out_from_the_next_attempt_on(
    copied: Callable[[], Path],
) -> None:
    folder = copied()

    def prepare(hosts: Hosts) -> None:
        def revoke(phase: str, number: int) -> None:
            # The first attempt ends with this phase; the next one is already prepared.
            if phase == "unmask" and not revoked:
                revoked.append(number)
                Authority(folder / "ca").revoke(VICTIM, now=int(time.time()), days=30)

        hosts["region-04"].mishap = revoke

    revoked: list[int] = []
    result = run_cell(folder, None, time.time(), prepare=prepare)
    assert revoked
    assert VICTIM in result.survivors[0]
    assert all(VICTIM not in each for each in result.survivors[1:])
    assert the_others_went_on(result.survivors)
    assert result.problems == ()


def test_a_site_whose_clock_is_a_year_ahead_refuses_with_its_certificates_code(
    copied: Callable[[], Path],
) -> None:
    def prepare(hosts: Hosts) -> None:
        host = hosts[VICTIM]
        host.start()
        host.kill()
        skewed = [0.0]
        host.clock = lambda: time.time() + skewed[0]
        host.start()
        skewed[0] = YEAR

    result = run_cell(copied(), None, time.time(), prepare=prepare)
    assert result.problems == ()
    assert all(VICTIM not in each for each in result.survivors)
    assert the_others_went_on(result.survivors)


def test_a_full_disk_at_the_ledger_releases_nothing_and_names_the_code(
    copied: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    full: list[Ledger] = []
    stock = Ledger.reserve

    def reserve(self: Ledger, *arguments: object) -> None:
        if self in full:
            raise LedgerError("database or disk is full")
        stock(self, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Ledger, "reserve", reserve)
    told: list[SiteHost] = []

    def prepare(hosts: Hosts) -> None:
        host = hosts[VICTIM]
        host.start()
        assert host.ledger is not None
        full.append(host.ledger)
        told.append(host)

    result = run_cell(copied(), None, time.time(), prepare=prepare)
    assert result.problems == ()
    assert told[0].vectors == {}
    assert all(VICTIM not in each for each in result.survivors)
    assert the_others_went_on(result.survivors)


def test_a_site_that_is_cut_off_for_a_while_comes_back(copied: Callable[[], Path]) -> None:
    def prepare(hosts: Hosts) -> None:
        def cut(phase: str, number: int) -> None:
            # As long as an attempt takes, from the middle of the first one on.
            if 4 <= number <= 5:
                raise Unreachable

        hosts[VICTIM].mishap = cut

    result = run_cell(copied(), None, time.time(), prepare=prepare)
    assert result.problems == ()
    assert VICTIM in result.survivors[-1]
    assert any(VICTIM not in each for each in result.survivors)
    assert the_others_went_on(result.survivors)


def test_a_site_that_is_always_too_late_costs_the_others_nothing(
    copied: Callable[[], Path],
) -> None:
    def prepare(hosts: Hosts) -> None:
        def late(phase: str, number: int) -> None:
            if phase == "contribute":
                # Its reply comes after the phase's time: nobody waits for it any more.
                raise Unreachable

        hosts[VICTIM].mishap = late

    result = run_cell(copied(), None, time.time(), prepare=prepare)
    assert result.problems == ()
    assert all(VICTIM not in each for each in result.survivors)
    assert the_others_went_on(result.survivors)
