"""Opens one simulated site's vault from values that can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from groundswell.client.contributions import SiteData
from groundswell.client.ledger import Ledger
from groundswell.client.mechanism import Randomness
from groundswell.client.policy import SitePolicy
from groundswell.client.prepared import PreparedSite
from groundswell.client.vault import Identity, Vault
from groundswell.shared.backbone import Backbone, Encoded
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.identity import SigningKey
from groundswell.shared.plan import Plan
from groundswell.simulation.secure_sites import Consortium
from groundswell.simulation.seeded import NoNoise, SeededRandomness


@dataclass(frozen=True)
class SeededSource:
    """Sample and noise that can be repeated: the output is a rehearsal, not a release.

    Attributes:
        noisy: False under ``--no-privacy``; the sample is drawn as ever.
    """

    seed: int
    site: str
    noisy: bool = True

    def sample(self, kind: str, round_number: int) -> Randomness:
        """The stream of one attempt's sample and rounding."""
        return SeededRandomness(self.seed, "sample", self.site, kind, round_number)

    def noise(self, kind: str, round_number: int) -> Randomness:
        """The stream of one attempt's noise."""
        if not self.noisy:
            return NoNoise()
        return SeededRandomness(self.seed, "noise", self.site, kind, round_number)


class NoPace:
    """In a simulation nobody watches the clock: only sampled users are computed, at once."""

    def slots(self, declared: int, rate: float) -> int | None:
        """As many as were sampled."""
        return None

    def wait(self, started: float, seconds: float) -> None:
        """Not at all."""

    def failed(self, error: Exception) -> None:
        """Raise it: a fault in a rehearsal should be seen."""
        raise error


@dataclass(frozen=True)
class Agreed:
    """What certificates and policies say beyond one run of all sites.

    Attributes:
        regions: the region in each site's certificate, of those that have one.
        policies: each site's policy, where it pays for more than one run of the plan.
    """

    regions: Mapping[str, str] = field(default_factory=dict)
    policies: Mapping[str, SitePolicy] = field(default_factory=dict)


@dataclass(frozen=True)
class VaultRecipe:
    """Everything that one site's vault is made of, but for the backbone.

    Attributes:
        folder: the run's folder: keys, and ``sites/NAME/ledger.sqlite``.
        declared: declared users of every site; their keys lie in ``folder/keys``.
        now: Unix seconds, from which certificates hold.
    """

    site: str
    folder: Path
    plan: Plan
    declared: Mapping[str, int]
    now: int
    prepared: PreparedSite = field(repr=False)
    catalogue: Catalogue = field(repr=False)
    encoded: Encoded | None = field(repr=False)
    seed: int
    noisy: bool
    agreed: Agreed = Agreed()

    @property
    def policy(self) -> SitePolicy:
        """The site's own rules."""
        return self.agreed.policies.get(self.site) or SitePolicy.for_plan(self.plan)

    def consortium(self) -> Consortium:
        """The federation's keys, from the run's folder; each site is a merchant of its own."""
        merchants = {name: name for name in self.declared}
        return Consortium.kept(
            self.folder / "keys",
            merchants,
            now=self.now,
            declared=self.declared,
            regions=self.agreed.regions,
        )

    def ledger(self) -> Ledger:
        """The site's ledger; it begins with the site's first run in this folder."""
        key = SigningKey.read(self.folder / "keys" / f"{self.site}.key")
        path = ledger_path(self.folder, self.site)
        if path.exists():
            return Ledger.open(path, key, self.policy)
        path.parent.mkdir(parents=True, exist_ok=True)
        return Ledger.create(path, key, self.site, self.policy)

    def data(self, backbone: Backbone) -> SiteData:
        """The site's users, in memory."""
        return SiteData(self.prepared, self.catalogue, backbone, self.encoded)

    def identity(self) -> Identity:
        """The site's key, from the run's folder, and whom it trusts."""
        consortium = self.consortium()
        member = consortium.members[self.site]
        return Identity(member.key, member.certificate, consortium.trust)

    def vault(self, ledger: Ledger, data: SiteData, make: Callable[..., Vault] = Vault) -> Vault:
        """The open vault; ``make`` takes what ``Vault`` takes."""
        return make(
            self.identity(),
            self.policy,
            ledger,
            data,
            randomness=SeededSource(self.seed, self.site, self.noisy),
            pace=NoPace(),
        )


def ledger_path(folder: Path, site: str) -> Path:
    """Where a simulated site keeps its ledger."""
    return folder / "sites" / site / "ledger.sqlite"
