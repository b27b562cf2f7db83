"""Plans of a coordinator: from its folder's configuration and the sites that it has admitted."""

from __future__ import annotations

from collections.abc import Sequence
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
    size_refresh,
)
from groundswell.shared.backbone import Backbone, Encoded, encode_catalogue, load_backbone
from groundswell.shared.blocks import marked
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.checkpoint import Checkpoint
from groundswell.shared.config import Config
from groundswell.shared.config_file import load_config
from groundswell.shared.demand_release import for_a_new_run
from groundswell.shared.errors import InputError
from groundswell.shared.features import LabelSpace
from groundswell.shared.histories import Float32
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
        catalogues: those of a plan, in its order.
        encoded: each one's texts through the backbone.
        usual_rounds: of the configuration, where another number was asked for.
    """

    config: Config
    catalogues: tuple[Catalogue, ...] = field(repr=False)
    backbone: Backbone = field(repr=False)
    encoded: tuple[Encoded, ...] = field(repr=False)
    usual_rounds: int | None = None

    @classmethod
    def open(cls, coordinator: Coordinator, *, rounds: int | None = None) -> Workshop:
        """Load configuration, catalogues and backbone.

        Args:
            rounds: instead of the configuration's; 0 is the refresh of the statistics alone.
        """
        usual = load_config(coordinator.folder / TASK_FILE).config
        overrides = {"train.rounds": rounds}
        config = load_config(coordinator.folder / TASK_FILE, overrides).config
        catalogues = coordinator.catalogues_in_use()
        backbone = load_backbone(config.model.backbone, download=config.model.download)
        layers = config.model.layers
        encoded = tuple(encode_catalogue(backbone, each, layers) for each in catalogues)
        return cls(config, catalogues, backbone, encoded, usual.train.rounds)

    @property
    def surroundings(self) -> tuple[Surroundings, ...]:
        """What post-processing uses, of each catalogue."""
        return tuple(
            Surroundings(catalogue, encoded.unit)
            for catalogue, encoded in zip(self.catalogues, self.encoded, strict=True)
        )

    def model(self, spec: ModelSpec) -> InterestModel:
        """A model of this specification; its weights rest on no catalogue."""
        space = LabelSpace.of(self.catalogues[0], self.encoded[0].unit)
        return InterestModel(spec, self.backbone, space)

    def initial_state(self, plan: Plan, start: Sequence[Checkpoint] = ()) -> ModelState:
        """The model before the first round.

        Args:
            start: the models of one released run, one for each of its catalogues, whose head and
                statistics are the beginning. The adapter is not: its frozen half follows from the
                plan's hash (``model.initialise``).

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
        statistics: dict[str, Float32] = {}
        for each in start:
            number = plan.catalogue_number(each.catalogue.hash)
            if number is None or each.spec.to_dict() != plan.model:
                raise InputError(
                    "--from",
                    each.catalogue.name,
                    "the model has another catalogue or architecture than the plan",
                    "start without it",
                )
            statistics |= marked(for_a_new_run(each.statistics), plan.catalogues, number)
        # A region's demand rests on nothing that was released before.
        if not start or plan.region:
            return ModelState(weights, {})
        head, *others = [
            {name: value for name, value in each.weights.items() if "lora_" not in name}
            for each in start
        ]
        if any((other[name] != head[name]).any() for other in others for name in head):
            raise InputError(
                "--from",
                ", ".join(each.catalogue.name for each in start),
                "these models are of different runs",
                "name the models of one run",
            )
        return ModelState({**weights, **head}, statistics)


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
    elif config.train.rounds == 0 and workshop.usual_rounds:
        sized = size_refresh(config, federation, workshop.usual_rounds)
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
        workshop.catalogues,
        task,
        times,
        facts,
        seconds_per_slot=settings.seconds_per_slot,
        region=region,
    )


def invitation(coordinator: Coordinator, workshop: Workshop, catalogue: str = "") -> Invitation:
    """The file for a new site, with a proposal in it.

    Args:
        catalogue: name of the site's own; may be left out where a plan holds one alone.

    Raises:
        InputError: no catalogue in use has the name, or it is left out where there are several.
    """
    names = [each.name for each in workshop.catalogues]
    if catalogue not in names and (catalogue or len(names) > 1):
        raise InputError(
            "--catalogue",
            catalogue,
            "a site works with one of the catalogues in use",
            f"name one of: {', '.join(names)}",
        )
    own = workshop.catalogues[names.index(catalogue) if catalogue else 0]
    plan = new_plan(coordinator, workshop).canonical_bytes()
    key, trust = coordinator.key, coordinator.trust
    return Invitation(
        coordinator.settings.address,
        coordinator.tls.root.read_text(),
        trust.authority,
        trust.coordinator,
        plan,
        key.sign_bytes("Plan", plan),
        own.name,
        own.canonical_bytes(),
    )


def _day(key: str, text: str) -> int:
    try:
        return microseconds(datetime.fromisoformat(text).replace(tzinfo=UTC))
    except ValueError as error:
        raise InputError(
            key, text, "is no day", "write it like 2026-01-31 in coordinator.toml"
        ) from error
