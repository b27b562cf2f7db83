"""Several data sets, each with a catalogue of its own, whose sites learn one model together.

Adapter and head are everybody's. Statistics are each catalogue's own: of every release one block,
in which the sites of the other catalogues have nothing but noise (``shared/blocks.py``).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from groundswell.client.contributions import SiteData, Workplace
from groundswell.server.applying import Surroundings
from groundswell.server.planning import Federation, ModelFacts, make_plan, size
from groundswell.shared.backbone import Backbone
from groundswell.shared.blocks import check_together
from groundswell.shared.config import Config
from groundswell.shared.errors import InputError
from groundswell.shared.plan import Plan
from groundswell.shared.sizing import SizedPlan
from groundswell.shared.spec import ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.setting import Setting


@dataclass(frozen=True)
class JointSetting:
    """The participants of one run over several data sets.

    Attributes:
        parts: one for each catalogue, in the plan's order.

    Raises:
        InputError: the catalogues can't stand in one plan, two sites share a name, or tasks or
            windows differ.
    """

    parts: tuple[Setting, ...] = field(repr=False)

    def __post_init__(self) -> None:
        check_together("[catalogue].file", [part.dataset.catalogue for part in self.parts])
        sites = [name for part in self.parts for name in part.names]
        twice = sorted({name for name in sites if sites.count(name) > 1})
        if twice:
            raise InputError("[sites]", twice[0], "two of a run share this name", "rename one")
        first = self.parts[0].dataset
        for part in self.parts[1:]:
            same = all(
                np.array_equal(getattr(part.dataset.times, use), getattr(first.times, use))
                for use in ("train", "validation", "test")
            )
            same &= part.dataset.times.examples == first.times.examples
            if part.dataset.task != first.task or not same:
                raise InputError(
                    "[task]",
                    part.dataset.name,
                    f"it is not forecast as {first.name} is",
                    "give all parts one task and the same windows",
                )

    @property
    def backbone(self) -> Backbone:
        return self.parts[0].backbone

    @property
    def names(self) -> tuple[str, ...]:
        """Of all sites, sorted."""
        return tuple(sorted(name for part in self.parts for name in part.names))

    @property
    def declared(self) -> dict[str, int]:
        """The declared number of users of each site."""
        return {name: users for part in self.parts for name, users in part.declared.items()}

    def site_data(self, name: str) -> SiteData:
        """One site's data, as its vault holds it."""
        return next(part for part in self.parts if name in part.names).site_data(name)

    def initial_model(self, spec: ModelSpec) -> ModelState:
        """Trainable weights before the first round; they rest on no catalogue."""
        return self.parts[0].initial_model(spec)

    def surroundings(self, *, bert: bool) -> tuple[Surroundings, ...]:
        """What post-processing uses, of each catalogue."""
        return tuple(part.surroundings_of(bert=bert) for part in self.parts)

    def sized(self, config: Config) -> SizedPlan:
        """The noise that a configuration needs in this federation."""
        return size(config, self._federation)

    @property
    def _federation(self) -> Federation:
        """What is public about the sites; each is a merchant of its own here."""
        return Federation(self.names, sum(self.declared.values()))

    def plan(self, config: Config, spec: ModelSpec, *, run: str | None = None) -> Plan:
        """One plan for all sites."""
        facts = ModelFacts(
            self.backbone.name, self.backbone.hash, spec.to_dict(), self.initial_model(spec)
        )
        dataset = self.parts[0].dataset
        return make_plan(
            config,
            self._federation,
            self.sized(config),
            [part.dataset.catalogue for part in self.parts],
            dataset.task,
            dataset.times,
            facts,
            run=run,
        )

    def workplaces(self, plan: Plan) -> list[Workplace]:
        """Of each catalogue, all users in one place, to measure on; simulation only."""
        return [part.pooled_workplace(plan) for part in self.parts]
