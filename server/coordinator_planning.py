"""Plans of a coordinator: from its folder's configuration and the sites that it has admitted."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from groundswell.server.applying import Surroundings
from groundswell.server.coordinator import TASK_FILE, Coordinator
from groundswell.server.planning import (
    Federation,
    ModelFacts,
    make_plan,
    region_plan_terms,
    size,
)
from groundswell.shared.backbone import Backbone, Encoded, encode_catalogue, load_backbone
from groundswell.shared.batches import Inputs
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import Checkpoint
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError
from groundswell.shared.inputs import task_from
from groundswell.shared.invitation import Invitation
from groundswell.shared.model import InterestModel, initialise, weights_of
from groundswell.shared.plan import Plan, microseconds
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import held_back
from groundswell.shared.transfer import ModelState


@dataclass(frozen=True)
class Workshop:
    """What the coordinator computes with: all of it public.

    Attributes:
        encoded: the catalogue's texts through the backbone.
    """

    config: Config
    catalogue: Catalogue = field(repr=False)
    backbone: Backbone = field(repr=False)
    encoded: Encoded = field(repr=False)

    @classmethod
    def open(cls, coordinator: Coordinator, *, rounds: int | None = None) -> Workshop:
        """Load configuration, catalogue and backbone.

        Args:
            rounds: instead of the configuration's; 0 is the refresh of the statistics alone.
        """
        overrides = {"train.rounds": rounds}
        config = load_config(coordinator.folder / TASK_FILE, overrides).config
        catalogue = coordinator.catalogue()
        backbone = load_backbone(config.model.backbone, download=config.model.download)
        encoded = encode_catalogue(backbone, catalogue, config.model.layers)
        return cls(config, catalogue, backbone, encoded)

    @property
    def surroundings(self) -> Surroundings:
        """What post-processing uses."""
        return Surroundings(self.catalogue, self.encoded.unit)

    def model(self, spec: ModelSpec) -> InterestModel:
        """A model of this specification over the catalogue."""
        task = task_from(self.config)
        inputs = Inputs(spec, task, self.catalogue, self.backbone, encoded=self.encoded)
        return InterestModel(spec, self.backbone, inputs.space)

    def initial_state(self, plan: Plan, start: Checkpoint | None = None) -> ModelState:
        """The model before the first round.

        Args:
            start: a released model whose head and statistics are the beginning. Its adapter is not:
                the frozen half of an adapter follows from the plan's hash (``model.initialise``).

        Raises:
            InputError: the plan names another first model, or ``start`` does not fit it.
        """
        model = self.model(ModelSpec.from_dict(plan.model))
        initialise(model, plan.hash())
        weights = weights_of(model)
        if ModelState(weights, {}).hash().hex() != plan.initial_model_hash:
            raise InputError(
                "plan", plan.run, "names another first model than this one", "make the plan anew"
            )
        if start is None:
            return ModelState(weights, {})
        if start.catalogue.hash != self.catalogue.hash or start.spec.to_dict() != plan.model:
            raise InputError(
                "--from",
                start.catalogue.name,
                "the model has another catalogue or architecture than the plan",
                "start without it",
            )
        if plan.region:  # its demand rests on nothing that was released before
            return ModelState(weights, {})
        head = {name: value for name, value in start.weights.items() if "lora_" not in name}
        return ModelState({**weights, **head}, dict(start.statistics))


def federation_of(coordinator: Coordinator, region: str = "") -> Federation:
    """What is public about the sites: the admitted ones, or those expected until there are any.

    Args:
        region: the admitted sites of this region alone.
    """
    if region:
        own = [m.certificate for m in coordinator.members() if m.certificate.region == region]
        return Federation([each.merchant for each in own], sum(e.declared_users for e in own))
    members = coordinator.members()
    expected = coordinator.settings.expected_sites
    if len(members) < expected:
        names = [f"expected-{number}" for number in range(expected)]
        return Federation(names, coordinator.settings.expected_users)
    return Federation(
        [member.certificate.merchant for member in members],
        sum(member.certificate.declared_users for member in members),
    )


def new_plan(coordinator: Coordinator, workshop: Workshop, region: str = "") -> Plan:
    """A plan under a fresh run id.

    Args:
        region: a plan for the sites of this region alone, to release their demand.

    Raises:
        InputError: the data's days hold no window to train on, or the caps leave no noise.
        Refusal: ``region-too-small``.
    """
    config, settings = workshop.config, coordinator.settings
    task = task_from(config)
    spec = ModelSpec.of(config.model)
    initial = ModelState(weights_of(workshop.model(spec)), {})
    federation = federation_of(coordinator, region)
    if region:
        everyone = federation_of(coordinator)
        config, sized = region_plan_terms(config, region, federation, everyone)
    else:
        sized = size(config, federation)
    first = _day("data_from", settings.data_from)
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    last = _day("data_until", settings.data_until or yesterday.isoformat())
    times = held_back(
        task,
        first + task.day_offset_us,
        last + task.day_offset_us,
        validation=config.evaluation.validation,
        test=config.evaluation.test,
    )
    facts = ModelFacts(workshop.backbone.name, workshop.backbone.hash, spec.to_dict(), initial)
    return make_plan(
        config,
        federation,
        sized,
        workshop.catalogue,
        task,
        times,
        facts,
        seconds_per_slot=settings.seconds_per_slot,
        region=region,
    )


def invitation(coordinator: Coordinator, workshop: Workshop) -> Invitation:
    """The file for a new site, with a proposal in it."""
    plan = new_plan(coordinator, workshop).canonical_bytes()
    key, trust = coordinator.key, coordinator.trust
    return Invitation(
        coordinator.settings.address,
        coordinator.tls.root.read_text(),
        trust.authority,
        trust.coordinator,
        plan,
        key.sign_bytes("Plan", plan),
        workshop.catalogue.name,
        workshop.catalogue.canonical_bytes(),
    )


def _day(key: str, text: str) -> int:
    try:
        return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError as error:
        raise InputError(
            key, text, "is no day", "write it like 2026-01-31 in coordinator.toml"
        ) from error
