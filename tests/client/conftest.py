"""A small plan, a policy that just covers it, and attempts of its rounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from groundswell.client.attempt import Admission, Unmasking
from groundswell.client.policy import SitePolicy
from groundswell.client.site import Site, SiteSettings
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.identity import SigningKey
from groundswell.shared.invitation import Invitation
from groundswell.shared.plan import (
    CatalogueReference,
    OptimiserPlan,
    Phase,
    Plan,
    PlannedRelease,
    Schedule,
)
from groundswell.shared.scaling import scale
from groundswell.shared.sizing import KindBudget, size_plan
from groundswell.shared.task import Task

SITES = tuple(f"site-{number}" for number in range(1, 9))
ROUNDS = 6


def make_plan() -> Plan:
    """Eight sites, n_min 6, c 1: one statistic twice, six rounds with a retry, one evaluation."""
    sized = size_plan(
        [
            KindBudget("popularity", 1.0, 2, share=0.6),
            KindBudget("gradient", 0.5, ROUNDS, 1, share=0.4),
            KindBudget("evaluation", 1.0, 1, share=0.02),
        ],
        eps_c=3.0,
        eps_l=8.0,
        delta=1e-6,
        n_min=6,
        colluders=1,
    )
    shapes = {
        "popularity": ((Phase.STATISTICS, Phase.REFRESH), 2.0, 300),
        "gradient": ((Phase.ROUNDS,), 0.1, 2000),
        "evaluation": ((Phase.EVALUATION,), 1.41, 2),
    }
    releases = []
    for entry in sized.kinds:
        phases, clip_norm, dimension = shapes[entry.kind]
        releases.append(
            PlannedRelease(
                kind=entry.kind,
                phases=phases,
                noise_multiplier=entry.noise_multiplier,
                sampling_rate=entry.sampling_rate,
                clip_norm=clip_norm,
                scale=scale(entry.noise_multiplier, dimension),
                dimension=dimension,
                max_nonzero=dimension,
                count=entry.count,
                retries=entry.retries,
            )
        )
    return Plan(
        run="ab" * 16,
        threshold=6,
        n_min=6,
        colluders=1,
        delta=1e-6,
        eps_c=3.0,
        eps_l=8.0,
        rounds=ROUNDS,
        examples_per_user=2,
        clipping="flat",
        releases=tuple(releases),
        catalogues=(CatalogueReference(name="demo", hash="c0" * 32, labels=300),),
        backbone="all-MiniLM-L6-v2",
        backbone_hash="b0" * 32,
        initial_model_hash="10" * 32,
        task={},
        model={},
        schedule=Schedule(train_from=None, stats_until=None, train_until=None, step=1),
        optimiser=OptimiserPlan(
            name="adam",
            learning_rate=0.1,
            adapter_learning_rate=0.01,
            momentum=0.9,
            beta2=0.99,
            cosine=True,
            average_from=0.5,
            weight_decay=0.0,
            l1=0.0,
        ),
        seconds_per_slot=0.0,
    )


def invite(plan: Plan, catalogue: Catalogue) -> Invitation:
    """What a coordinator of this plan, over this catalogue, hands to a site."""
    reference = CatalogueReference(name="shop", hash=catalogue.hash, labels=len(catalogue))
    task = Task().model_dump(mode="json")
    proposal = plan.model_copy(update={"catalogues": (reference,), "task": task})
    coordinator = SigningKey.generate()
    data = proposal.canonical_bytes()
    return Invitation(
        "fleet.example.org:443",
        "-----BEGIN CERTIFICATE-----\n",
        SigningKey.generate().public,
        coordinator.public,
        data,
        coordinator.sign_bytes("Plan", data),
        "shop",
        catalogue.canonical_bytes(),
    )


def create_site(folder: Path, invitation: Invitation) -> Site:
    """The site ``north`` as its invitation founds it, without data."""
    settings = SiteSettings(name="north", merchant="acme", users=120, address=invitation.address)
    return Site.create(folder, settings, invitation, SitePolicy.for_plan(invitation.proposal()))


@pytest.fixture(scope="session")
def plan() -> Plan:
    return make_plan()


@pytest.fixture
def policy(plan: Plan) -> SitePolicy:
    return SitePolicy.for_plan(plan)


@pytest.fixture(scope="session")
def key() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def admit() -> Callable[..., Admission]:
    """Makes what the secure sum hands over before a contribution."""

    def make(seq: int, kind: str = "gradient", round_number: int | None = None) -> Admission:
        return Admission(
            seq=seq,
            kind=kind,
            round=seq if round_number is None else round_number,
            model_hash=bytes([seq % 256]) * 32,
            sharers=SITES,
            honest=7,
            declared=dict.fromkeys(SITES, 100),
        )

    return make


@pytest.fixture
def unmask() -> Callable[..., Unmasking]:
    """Makes the confirmed end of an attempt with so many survivors."""

    def make(seq: int, survivors: int = 8) -> Unmasking:
        sites = SITES[:survivors]
        return Unmasking(
            seq=seq,
            survivors=sites,
            honest=survivors - 1,
            confirmations=tuple((site, b"signature") for site in sites[:6]),
            reply=b"",
        )

    return make
