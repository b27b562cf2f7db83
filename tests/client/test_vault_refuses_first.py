"""What policy or ledger refuse is refused before any gradient: a spy sees no work being done."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.policy import SitePolicy
from groundswell.client.vault import Identity, Vault, terms_of
from groundswell.server.unmasking import Release, Requests, SecureSum, drive
from groundswell.shared.envelopes import parse, serialise
from groundswell.shared.errors import AttemptVoid
from groundswell.shared.identity import sealed_plan
from groundswell.shared.plan import Plan, PlannedRelease
from groundswell.shared.transfer import ModelState
from groundswell.shared.wire import groundswell_pb2 as wire
from groundswell.simulation.secure_sites import Consortium

SITES = [f"site-{number}" for number in range(1, 9)]
MODEL = ModelState({"head": np.zeros(3, dtype=np.float32)}, {})


@dataclass
class Spy:
    """Stands in the place of everything that touches data, and counts."""

    prepared: int = 0
    computed: int = 0

    def workplace(self, data: SiteData, plan: Plan) -> Spy:
        self.prepared += 1
        return self

    def job(self, release: PlannedRelease, round_number: int, model: ModelState) -> SpyJob:
        return SpyJob(self, release.dimension)


@dataclass
class SpyJob:
    spy: Spy
    dimension: int
    users: int = 40

    def integer_sum(
        self, rows: NDArray[np.int64], attempt_secret: bytes, slots: int | None
    ) -> NDArray[np.int64]:
        self.spy.computed += 1
        return np.zeros(self.dimension, dtype=np.int64)


@dataclass
class House:
    """Eight real vaults with real ledgers, and a coordinator."""

    consortium: Consortium
    vaults: dict[str, Vault]
    ledgers: dict[str, Ledger]
    spy: Spy
    coordinator: SecureSum = field(init=False)

    def join(self, plan: Plan) -> set[str]:
        """The codes with which the sites refuse a plan; an empty text for ready."""
        request = sealed_plan(plan.canonical_bytes(), self.consortium.coordinator)
        replies = self._ask(dict.fromkeys(SITES, wire.VaultRequest(join=request)))
        self.coordinator = SecureSum(
            self.consortium.trust, terms_of(plan), self.consortium.revocations()
        )
        return {reply.refused.code for reply in replies.values()}

    def round(self, kind: str, number: int, dimension: int) -> set[str]:
        """The codes with which the sites refuse an attempt; empty where it went through."""
        release = Release(kind, number, MODEL.pack(), MODEL.hash(), dimension)
        attempt = self.coordinator.attempt(
            release, sites=SITES, following=False, now=self.consortium.now
        )
        with contextlib.suppress(AttemptVoid):
            drive(attempt, self._ask)
        return set(self.coordinator.refusals.values())

    def _ask(self, requests: Requests) -> dict[str, wire.VaultReply]:
        return {
            name: parse(wire.VaultReply, self.vaults[name].handle(serialise(request)))
            for name, request in requests.items()
        }


@pytest.fixture
def house(tmp_path: Path, policy: SitePolicy, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    now = int(time.time())
    consortium = Consortium.create({name: name for name in SITES}, now=now)
    spy = Spy()
    monkeypatch.setattr("groundswell.client.vault.Workplace", spy.workplace)
    vaults, ledgers = {}, {}
    for name, member in consortium.members.items():
        ledger = Ledger.create(tmp_path / f"{name}.sqlite", member.key, name, policy)
        identity = Identity(member.key, member.certificate, consortium.trust)
        vaults[name] = Vault(identity, policy, ledger, cast(SiteData, None))
        ledgers[name] = ledger
    yield House(consortium, vaults, ledgers, spy)
    for ledger in ledgers.values():
        ledger.close()


def release(plan: Plan, kind: str, **fields: Any) -> Plan:
    """The plan with other fields of one release."""
    changed = tuple(
        each.model_copy(update=fields) if each.kind == kind else each for each in plan.releases
    )
    return plan.model_copy(update={"releases": changed})


WIDER: dict[str, tuple[Callable[[Plan], Plan], str]] = {
    "over budget": (lambda plan: release(plan, "gradient", count=60), "over-budget"),
    "lowered sigma": (
        lambda plan: release(plan, "gradient", noise_multiplier=1.0),
        "sigma-too-small",
    ),
    "raised q": (lambda plan: release(plan, "gradient", sampling_rate=0.9), "rate-too-large"),
    "raised C": (lambda plan: release(plan, "gradient", clip_norm=9.0), "clip-too-large"),
    "raised k": (
        lambda plan: plan.model_copy(update={"examples_per_user": 5}),
        "examples-too-many",
    ),
    "shrunk n_min": (lambda plan: plan.model_copy(update={"n_min": 5}), "n-min-too-small"),
}


@pytest.mark.parametrize("name", WIDER)
def test_a_wider_plan_is_refused_before_any_work(name: str, house: House, plan: Plan) -> None:
    change, code = WIDER[name]
    heads = {site: ledger.head() for site, ledger in house.ledgers.items()}
    assert house.join(change(plan)) == {code}
    assert house.spy == Spy(prepared=0, computed=0)
    assert {site: ledger.head() for site, ledger in house.ledgers.items()} == heads


def test_a_plan_of_another_coordinator_is_refused(house: House, plan: Plan) -> None:
    stranger = Consortium.create({"site-1": "site-1"}, now=house.consortium.now)
    request = sealed_plan(plan.canonical_bytes(), stranger.coordinator)
    reply = house.vaults["site-1"].handle(serialise(wire.VaultRequest(join=request)))
    assert parse(wire.VaultReply, reply).refused.code == "bad-plan-signature"
    assert house.spy.prepared == 0


def test_attempts_that_nothing_pays_for_are_refused_before_any_work(
    house: House, plan: Plan
) -> None:
    """Six rounds and one retry go through; the eighth request finds no work being done."""
    assert house.join(plan) == {""}
    for number in (1, 2, 3, 4, 5, 6, 6):
        assert house.round("gradient", number, 2000) == set()
    assert house.spy.computed == 7 * len(SITES)
    heads = {site: ledger.head() for site, ledger in house.ledgers.items()}
    assert house.round("gradient", 6, 2000) == {"too-many-attempts"}
    assert house.round("hazard", 1, 2000) == {"unknown-kind"}
    assert house.spy.computed == 7 * len(SITES)
    assert {site: ledger.head() for site, ledger in house.ledgers.items()} == heads
    # The next run of the same size is turned away at the door: the window is used up.
    second = plan.model_copy(update={"run": "cd" * 16})
    assert house.join(second) == {"over-budget"}
    assert house.spy.prepared == len(SITES)


def test_every_computed_vector_was_charged_and_closed(house: House, plan: Plan) -> None:
    house.join(plan)
    assert house.round("popularity", 0, 300) == set()
    for ledger in house.ledgers.values():
        spent = ledger.spend()
        assert spent.events == 1
        assert spent.central.epsilon < spent.reserved.epsilon
