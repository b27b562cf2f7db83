"""What every model of one simulation shares: data, times, backbone, and the rows to measure on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from groundswell.client.contributions import SiteData, Workplace
from groundswell.server.applying import Surroundings
from groundswell.server.planning import Federation, ModelFacts, make_plan, size
from groundswell.shared.backbone import Backbone, Encoded, encode_catalogue, load_backbone
from groundswell.shared.config import Config
from groundswell.shared.errors import InputError
from groundswell.shared.features import LabelSpace
from groundswell.shared.identity import declared_users
from groundswell.shared.model import InterestModel, weights_of
from groundswell.shared.plan import Plan
from groundswell.shared.sizing import SizedPlan, check_n_min
from groundswell.shared.spec import ModelSpec
from groundswell.shared.task import EvaluationTimes, Task
from groundswell.shared.transfer import ModelState
from groundswell.simulation.central import train_centrally
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.evaluate import EvaluationSet, Measurement, evaluate, merged
from groundswell.simulation.federation_data import Sites, prepare_sites
from groundswell.simulation.scoring import model_scorer


@dataclass(frozen=True)
class Setting:
    """One data set made ready.

    Attributes:
        encoded: the catalogue's texts through the backbone, computed once for all sites.
        measured: the rows that models are measured on: test windows, or validation without any.
    """

    config: Config
    dataset: Dataset = field(repr=False)
    sites: Sites = field(repr=False)
    backbone: Backbone = field(repr=False)
    encoded: Encoded = field(repr=False)
    measured: EvaluationSet = field(repr=False)

    @classmethod
    def build(
        cls, config: Config, dataset: Dataset, seed: int, of_sites: int | None = None
    ) -> Setting:
        """Prepare the sites and encode the catalogue.

        Args:
            of_sites: number of sites of the whole federation, where these are but some of it.

        Raises:
            InputError: the sites are too few, or no user can be measured.
        """
        sites = prepare_sites(dataset, seed)
        number = of_sites or len(sites.names)
        check_n_min("[privacy].n_min", config.resolved_n_min(number), number)
        backbone = load_backbone(config.model.backbone, download=config.model.download)
        encoded = encode_catalogue(backbone, dataset.catalogue, config.model.layers)
        times, labels = dataset.times, len(dataset.catalogue)
        measured = EvaluationSet.build(sites.pooled.histories, times.measured, dataset.task, labels)
        _check_measured(measured, times, dataset.task)
        return cls(config, dataset, sites, backbone, encoded, measured)

    @property
    def names(self) -> tuple[str, ...]:
        """Of the sites, sorted."""
        return self.sites.names

    @property
    def federation(self) -> Federation:
        """What is public about the sites; each is a merchant of its own here."""
        return Federation(self.sites.names, sum(self.declared.values()))

    @property
    def declared(self) -> dict[str, int]:
        """The declared number of users of each site."""
        return {
            name: declared_users(len(site.histories)) for name, site in self.sites.by_name.items()
        }

    def sized(self, config: Config) -> SizedPlan:
        """The noise that a configuration needs in this federation."""
        return size(config, self.federation)

    def plan(self, config: Config, spec: ModelSpec, *, run: str | None = None) -> Plan:
        """A plan for a variant of the configuration."""
        facts = ModelFacts(
            self.backbone.name, self.backbone.hash, spec.to_dict(), self.initial_model(spec)
        )
        return make_plan(
            config,
            self.federation,
            self.sized(config),
            [self.dataset.catalogue],
            self.dataset.task,
            self.dataset.times,
            facts,
            run=run,
        )

    def initial_model(self, spec: ModelSpec) -> ModelState:
        """Trainable weights before the first round; they are public constants."""
        space = LabelSpace.of(self.dataset.catalogue, self.encoded.unit)
        return ModelState(weights_of(InterestModel(spec, self.backbone, space)), {})

    def site_data(self, name: str) -> SiteData:
        """One site's data, as its vault holds it."""
        return SiteData(
            self.sites.by_name[name], self.dataset.catalogue, self.backbone, self.encoded
        )

    def pooled_workplace(self, plan: Plan) -> Workplace:
        """All users in one place under a plan; simulation only."""
        return Workplace(
            SiteData(self.sites.pooled, self.dataset.catalogue, self.backbone, self.encoded), plan
        )

    def measure_local_only(
        self, plan: Plan, seed: int, advanced: Callable[[], None]
    ) -> Measurement:
        """Each site's own model, without privacy, on the site's own users."""
        found = []
        for number, name in enumerate(self.sites.names):
            workplace = Workplace(self.site_data(name), plan)
            state = train_centrally(
                workplace, plan, self.surroundings_of(bert=self.config.model.bert), seed
            )
            own = self.measured.of_users(self.sites.owner == number)
            found.append(evaluate(model_scorer(workplace, state), own))
            advanced()
        return merged(found)

    def surroundings_of(self, *, bert: bool) -> Surroundings:
        """What the coordinator's post-processing uses; without BERT no text is alike any other."""
        embeddings = self.encoded.unit if bert else np.zeros_like(self.encoded.unit)
        return Surroundings(self.dataset.catalogue, embeddings)

    def surroundings(self, *, bert: bool) -> tuple[Surroundings, ...]:
        """The same for a run: of each catalogue, which is one here."""
        return (self.surroundings_of(bert=bert),)


def _check_measured(measured: EvaluationSet, times: EvaluationTimes, task: Task) -> None:
    """Refuse data of which nothing could be measured, before anything is trained."""
    if len(measured.row):
        return
    histories = measured.histories
    if not ((histories.label >= 0) & (histories.weight > 0)).any():
        raise InputError(
            "[task].actions",
            ", ".join(task.actions),
            "no event of a known label has one of these actions",
            "name the actions of the data, as `groundswell check` lists them",
        )
    raise times.empty()
