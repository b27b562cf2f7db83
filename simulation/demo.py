"""The dress rehearsal: a coordinator and data sites as real processes on this machine.

Everything is done as its operators would: a CA, an invitation, requests, approvals, imports, and
then the services. Only the data are those of the demo, and all hosts are loopback.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from groundswell.client import enrolment
from groundswell.client.ledger import Ledger
from groundswell.client.ledger_file import read_records
from groundswell.client.ledger_rows import Closed, Reserved, check
from groundswell.client.policy import SitePolicy
from groundswell.client.site import DATA_FILE, Site, SiteSettings
from groundswell.client.site_data import import_events
from groundswell.client.site_running import start_in_background, wait_until_up
from groundswell.server import coordinator_running as running
from groundswell.server import run_folder
from groundswell.server.ca import LIST_FILE, PUBLIC_FILE, Authority
from groundswell.server.coordinator import Coordinator, settings_text
from groundswell.server.coordinator_planning import Workshop, invitation
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import GroundswellError, InputError
from groundswell.shared.identity import SigningKey
from groundswell.shared.invitation import Invitation
from groundswell.shared.plan import GRADIENT
from groundswell.shared.spec import REPEAT
from groundswell.shared.supervision import stop_supervisor
from groundswell.simulation.datasets import complete_journey
from groundswell.simulation.datasets.dataset import Dataset
from groundswell.simulation.processes import free_port

SITES = 4
ROUNDS = 2
STATISTICS = ("popularity", "h5", "pairs")
_MARK = "demo.toml"
_DAYS = 30
# A second training is within the sites' budget, for whoever plays on.
_RUNS = 2

_TASK = """\
[task]
day_offset = "5h"

[model]
head = "{head}"
statistics = {statistics}

[train]
rounds = {rounds}
evaluations = 0
"""
_DATA = """\
[data]
events = "{file}"
columns = {{user = "user", time = "time", action = "action", item = "item", value = "value"}}
"""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Hosts:
    """Where the parts of a federation listen; None is a free port of the loopback address.

    Attributes:
        coordinator: where sites connect and the proxy listens.
        superlink, metrics: the coordinator's further ports; runtime: of each SuperNode.
        gateway: of the query gateway, HOST:PORT; empty: none.
        relay_user, vault_user: Unix users of the sites' processes; empty: whoever starts them.
    """

    coordinator: str | None = None
    listen: str | None = None
    superlink: int | None = None
    metrics: int | None = None
    runtime: int | None = None
    gateway: str = ""
    relay_user: str = ""
    vault_user: str = ""


@dataclass(frozen=True)
class DemoFederation:
    """A federation under one folder.

    Attributes:
        folder: holds ``ca``, ``coordinator`` and ``sites/NAME``.
    """

    folder: Path
    hosts: Hosts = Hosts()

    @property
    def coordinator(self) -> Coordinator:
        return Coordinator(self.folder / "coordinator")

    @property
    def sites(self) -> list[Site]:
        """All sites, by name."""
        return [Site.open(path.parent) for path in sorted(self.folder.glob("sites/*/site.toml"))]

    @classmethod
    def build(
        cls,
        folder: Path,
        tell: Tell,
        *,
        sites: int = SITES,
        rounds: int = ROUNDS,
        head: str = REPEAT,
        statistics: tuple[str, ...] = STATISTICS,
        hosts: Hosts | None = None,
        runs: int = _RUNS,
        regions: Mapping[str, str] | None = None,
        catalogues: Mapping[str, Catalogue] | None = None,
    ) -> DemoFederation:
        """Found a federation; an earlier demo in the folder is stopped and removed.

        Args:
            regions: site name to region, of those that have one.
            catalogues: site name to catalogue, of those that have another than the data's.

        Raises:
            InputError: the folder holds something else.
        """
        if folder.exists() and any(folder.iterdir()) and not (folder / _MARK).exists():
            raise InputError("--dir", str(folder), "holds no demo", "name another folder")
        demo = cls(folder.absolute(), hosts or Hosts())
        demo.down()
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / _MARK).write_text(f"sites = {sites}\nrounds = {rounds}\n")
        dataset = complete_journey.load(sites)
        tell(f"data of {len(dataset.sites)} sites, {len(dataset.catalogue)} labels")
        authority = Authority.create(demo.folder / "ca", now=int(time.time()) - 60, days=_DAYS)
        task = _TASK.format(rounds=rounds, head=head, statistics=list(statistics))
        other = catalogues or {}
        used = {each.name: each for each in (dataset.catalogue, *other.values())}
        coordinator = demo._found(dataset, task, used)
        workshop = Workshop.open(coordinator)
        for catalogue in used:
            invitation(coordinator, workshop, catalogue).write(demo._invitation(catalogue))
        for name in sorted(dataset.sites):
            region = (regions or {}).get(name, "")
            file = demo._invitation(other.get(name, dataset.catalogue).name)
            demo._enrol(name, dataset, Invitation.read(file), authority, runs, region)
            tell(f"{name}: enrolled, imported")
        return demo

    def _invitation(self, catalogue: str) -> Path:
        return self.folder / f"invitation-{catalogue}.json"

    def _found(
        self, dataset: Dataset, task: str, catalogues: Mapping[str, Catalogue]
    ) -> Coordinator:
        address = self.hosts.coordinator or f"127.0.0.1:{free_port()}"
        settings = settings_text(
            address=address,
            listen=self.hosts.listen or address,
            revocations=self.folder / "ca" / LIST_FILE,
            superlink_port=self.hosts.superlink or free_port(),
            metrics_port=self.hosts.metrics or free_port(),
            gateway=self.hosts.gateway,
            sites=len(dataset.sites),
            users=sum(frame["user"].n_unique() for frame in dataset.sites.values()),
            data_from="2017-01-01",
            data_until="2017-12-31",
            phase_seconds=120.0,
            join_seconds=240.0,
            seconds_per_slot=0.0,  # the demo's households are public
            catalogues=tuple(catalogues),
        )
        coordinator = Coordinator.create(
            self.folder / "coordinator",
            settings=settings,
            task=task,
            authority=self.folder / "ca" / PUBLIC_FILE,
        )
        for catalogue in catalogues.values():
            coordinator.add_catalogue(catalogue)
        return coordinator

    def _enrol(
        self,
        name: str,
        dataset: Dataset,
        invited: Invitation,
        authority: Authority,
        runs: int,
        region: str,
    ) -> None:
        frame = dataset.sites[name]
        file = self.folder / "data" / f"{name}.parquet"
        file.parent.mkdir(exist_ok=True)
        frame.write_parquet(file)
        settings = SiteSettings(
            name=name,
            merchant=name,
            users=frame["user"].n_unique(),
            address=invited.address,
            runtime_port=self.hosts.runtime or free_port(),
            metrics_port=free_port(),
            relay_user=self.hosts.relay_user,
            vault_user=self.hosts.vault_user,
        )
        policy = SitePolicy.for_plan(invited.proposal(), runs=runs)
        site = Site.create(self.folder / "sites" / name, settings, invited, policy)
        (site.folder / DATA_FILE).write_text(_DATA.format(file=file))
        asked = enrolment.request(site.keys, name=name, merchant=name, users=settings.users)
        now = int(time.time())
        _, certificate = authority.approve(
            asked.path, asked.fingerprint, now=now - 60, days=_DAYS, region=region
        )
        enrolment.accept_certificate(site.keys, certificate, site.trust, now)
        key = SigningKey.read(site.keys / enrolment.KEY_FILE)
        Ledger.create(site.ledger_file, key, name, site.policy()).close()
        self.coordinator.admit(certificate, site.relay_keys / "node.public")
        import_events(site)

    # --- running --------------------------------------------------------------------------------

    def up(self, tell: Tell) -> None:
        """Start the coordinator, then all sites at once, and wait until all of them serve.

        Raises:
            GroundswellError: something did not start.
        """
        running.detach(self.coordinator)
        tell(f"coordinator up at {self.coordinator.settings.address}")
        started = [(site, start_in_background(site)) for site in self.sites]
        for site, process in started:
            wait_until_up(site, process)
        tell(f"{len(started)} sites up")

    def train(self, tell: Tell, *, resume: bool = False) -> run_folder.RunStatus:
        """One run, or the rest of the newest; returns how it ended."""
        coordinator = self.coordinator
        run = (
            running.newest_run(coordinator) if resume else running.new_run(coordinator, None, None)
        )
        running.launch(coordinator, run)
        return running.follow(run, tell)

    def closed(self, kind: str) -> dict[str, int]:
        """Releases of a kind that each site's own ledger holds as closed."""
        found = {}
        for site in self.sites:
            key = SigningKey.read(site.keys / enrolment.KEY_FILE)
            checked = check(read_records(site.ledger_file), key.public)
            rows = [row for _, row in checked.rows]
            of_kind = {row.seq for row in rows if isinstance(row, Reserved) and row.kind == kind}
            found[site.settings.name] = len(
                {row.seq for row in rows if isinstance(row, Closed)} & of_kind
            )
        return found

    def down(self) -> None:
        """Stop everything; what does not run is left alone."""
        files = [site.state_file for site in self.sites]
        if (self.folder / "coordinator" / "coordinator.toml").exists():
            files.append(self.coordinator.state_file)
        with ThreadPoolExecutor(max(1, len(files))) as pool:
            list(pool.map(stop_supervisor, files))


def up(folder: Path, tell: Tell) -> None:
    """Found, start and train; return when two rounds are closed at every site.

    Raises:
        GroundswellError: why that did not come to be.
    """
    demo = DemoFederation.build(folder, tell)
    demo.up(tell)
    status = demo.train(tell)
    closed = demo.closed(GRADIENT)
    if status.state != run_folder.FINISHED or min(closed.values()) < ROUNDS:
        rounds = ", ".join(f"{name} {count}" for name, count in closed.items())
        raise GroundswellError(
            f"the run is {status.state} ({status.reason or 'no reason given'}); rounds closed at "
            f"the sites: {rounds}; logs under {folder}"
        )
    tell(f"two secure rounds are closed at every site; model in {_model(demo)}")


def _model(demo: DemoFederation) -> Path:
    return running.newest_run(demo.coordinator).model_folder
