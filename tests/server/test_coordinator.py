"""A coordinator's folder: keys are made once, members are whom the CA vouches for."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import polars as pl
import pytest

from groundswell.client import enrolment
from groundswell.server import run_folder
from groundswell.server.audit_log import AuditLog
from groundswell.server.ca import LIST_FILE, PUBLIC_FILE, Authority
from groundswell.server.coordinator import Coordinator, settings_text
from groundswell.server.coordinator_planning import federation_of
from groundswell.server.coordinator_running import new_run, status_figures
from groundswell.server.planning import Federation
from groundswell.server.run_folder import RunFolder, RunStatus, SiteStatus
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError, ModelError

NOW = int(time.time())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.create(tmp_path / "ca", now=NOW - 60, days=30)


@pytest.fixture
def coordinator(tmp_path: Path, authority: Authority) -> Coordinator:
    text = settings_text(
        address="127.0.0.1:9443", revocations=authority.folder / LIST_FILE, sites=4
    )
    return Coordinator.create(
        tmp_path / "fleet", settings=text, task="", authority=authority.folder / PUBLIC_FILE
    )


def certified(authority: Authority, folder: Path, name: str, region: str = "") -> Path:
    made = enrolment.request(folder / name, name=name, merchant=name, users=10)
    _, path = authority.approve(made.path, made.fingerprint, now=NOW - 60, days=30, region=region)
    return path


def test_a_second_init_changes_nothing(coordinator: Coordinator, authority: Authority) -> None:
    key = (coordinator.folder / "keys" / "coordinator.key").read_bytes()
    with pytest.raises(InputError, match="holds a coordinator already"):
        Coordinator.create(
            coordinator.folder, settings="", task="", authority=authority.folder / PUBLIC_FILE
        )
    assert (coordinator.folder / "keys" / "coordinator.key").read_bytes() == key


def test_a_new_federations_sites_do_not_answer_as_soon_as_they_have_computed(
    coordinator: Coordinator,
) -> None:
    assert coordinator.settings.seconds_per_slot >= 1


def test_secrets_are_the_owners_alone(coordinator: Coordinator) -> None:
    for path in (coordinator.superexec_secret, coordinator.tls.key):
        assert path.stat().st_mode & 0o077 == 0


def test_an_unknown_key_in_the_file_is_named(coordinator: Coordinator) -> None:
    path = coordinator.folder / "coordinator.toml"
    path.write_text(path.read_text() + "rounds = 3\n")
    with pytest.raises(InputError, match="rounds"):
        Coordinator(coordinator.folder)


def test_members_are_those_whose_certificates_hold(
    coordinator: Coordinator, authority: Authority, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.write_text("ecdsa")
    for name in ("north", "south"):
        coordinator.admit(certified(authority, tmp_path, name), node)
    assert [each.certificate.name for each in coordinator.members()] == ["north", "south"]
    # The list on disk counts at once: no restart, no copy in memory.
    authority.revoke("north", now=NOW, days=30)
    assert [each.certificate.name for each in coordinator.members()] == ["south"]


def test_a_region_is_the_sites_whose_certificates_name_it(
    coordinator: Coordinator, authority: Authority, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.write_text("ecdsa")
    for name, region in (("oslo", "north"), ("rome", "south"), ("bergen", "north"), ("web", "")):
        coordinator.admit(certified(authority, tmp_path, name, region), node)
    assert federation_of(coordinator, "north") == Federation(["bergen", "oslo"], 20)
    assert federation_of(coordinator, "east") == Federation([], 0)
    assert len(federation_of(coordinator).merchants) == 4


def test_a_regions_demand_needs_a_model_to_go_with(coordinator: Coordinator) -> None:
    with pytest.raises(InputError, match="--from"):
        new_run(coordinator, None, None, "north")
    assert coordinator.runs() == []


def test_another_cas_certificate_is_not_admitted(coordinator: Coordinator, tmp_path: Path) -> None:
    other = Authority.create(tmp_path / "other", now=NOW - 60, days=30)
    with pytest.raises(InputError, match="certificate"):
        coordinator.admit(certified(other, tmp_path, "thief"), tmp_path / "ca" / PUBLIC_FILE)


def test_the_newest_catalogue_is_in_use_and_none_is_replaced(coordinator: Coordinator) -> None:
    with pytest.raises(InputError, match="none yet"):
        coordinator.catalogues_in_use()

    def table(*kinds: str) -> Catalogue:
        frame = pl.DataFrame({"sku": [str(n) for n in range(len(kinds))], "kind": list(kinds)})
        return Catalogue.from_table(frame, name="-".join(kinds), label="kind", item="sku")

    coordinator.add_catalogue(table("tea", "soap"))
    time.sleep(0.01)
    coordinator.add_catalogue(table("tea", "salt"))
    assert [each.name for each in coordinator.catalogues_in_use()] == ["tea-salt"]
    assert len(coordinator.catalogues()) == 2


def test_a_plan_holds_the_catalogues_that_the_settings_name(coordinator: Coordinator) -> None:
    for name in ("tea", "soap", "salt"):
        frame = pl.DataFrame({"kind": [name, f"more {name}"]})
        coordinator.add_catalogue(Catalogue.from_table(frame, name=name, label="kind"))
    path = coordinator.folder / "coordinator.toml"
    text = path.read_text()
    path.write_text(text.replace("catalogues = []", 'catalogues = ["tea", "salt"]'))
    assert [each.name for each in Coordinator(coordinator.folder).catalogues_in_use()] == [
        "tea",
        "salt",
    ]
    path.write_text(text.replace("catalogues = []", 'catalogues = ["tea", "pepper"]'))
    with pytest.raises(InputError, match="pepper"):
        Coordinator(coordinator.folder).catalogues_in_use()


def test_status_before_any_run_names_the_members(
    coordinator: Coordinator, authority: Authority, tmp_path: Path
) -> None:
    node = tmp_path / "node"
    node.write_text("ecdsa")
    coordinator.admit(certified(authority, tmp_path, "north"), node)
    figures = status_figures(coordinator)
    assert figures["state"] == "down"
    assert figures["sites"] == [{"name": "north", "state": "admitted", "ledger_row": 0}]


def test_a_run_whose_process_is_gone_is_interrupted(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    sites = (SiteStatus("north", "ready", 3),)
    folder.write_status(RunStatus(run_folder.RUNNING, "ab", sites=sites, pid=1, started=0))
    status = folder.status()
    assert status.state == run_folder.INTERRUPTED
    assert status.sites == sites
    folder.write_status(RunStatus(run_folder.FINISHED, "ab"))
    assert folder.status().state == run_folder.FINISHED


def test_a_damaged_status_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{")
    with pytest.raises(ModelError, match="resume"):
        RunFolder(tmp_path).status()


def test_lines_of_several_writers_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"

    def write(name: str) -> None:
        log = AuditLog(path)
        for number in range(50):
            log.write("event", writer=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(lines) == 200
    assert {line["writer"] for line in lines} == set("abcd")
