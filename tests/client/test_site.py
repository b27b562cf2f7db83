"""A site's folder: made from an invitation, never overwritten, and read back as it was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from groundswell.cli import main
from groundswell.client.policy import SitePolicy
from groundswell.client.site import DATA_FILE, SITE_FILE, Site
from groundswell.client.site_check import findings, plan_changes, status_figures
from groundswell.client.site_data import (
    forget_users,
    import_events,
    mock_events,
    rejected_rows,
)
from groundswell.client.supervisor import RelaySettings, relay_services, services
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError
from groundswell.shared.identity import SigningKey
from groundswell.shared.invitation import Invitation, split_address
from groundswell.shared.plan import Plan
from tests.client.conftest import create_site, invite


@pytest.fixture
def catalogue() -> Catalogue:
    table = pl.DataFrame({"sku": ["1", "2", "3"], "kind": ["tea", "tea", "soap"]})
    return Catalogue.from_table(table, name="shop", label="kind", item="sku")


@pytest.fixture
def invitation(plan: Plan, catalogue: Catalogue) -> Invitation:
    return invite(plan, catalogue)


@pytest.fixture
def site(tmp_path: Path, invitation: Invitation) -> Site:
    return create_site(tmp_path / "north", invitation)


def test_an_invitation_reads_back_as_it_was_written(invitation: Invitation, tmp_path: Path) -> None:
    file = tmp_path / "invitation.json"
    invitation.write(file)
    read = Invitation.read(file)
    assert read == invitation
    assert read.fingerprint == invitation.fingerprint


@pytest.mark.parametrize("part", ["plan", "plan_signature", "catalogue", "coordinator", "address"])
def test_an_altered_invitation_is_refused(
    invitation: Invitation, tmp_path: Path, part: str
) -> None:
    file = tmp_path / "invitation.json"
    invitation.write(file)
    content = json.loads(file.read_text())
    content[part] = content[part][:-8] + ("00000000" if part != "address" else "")
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"no sound invitation|HOST:PORT"):
        Invitation.read(file)


def test_the_folder_reads_back_with_the_same_policy(site: Site, invitation: Invitation) -> None:
    again = Site.open(site.folder)
    assert again.settings == site.settings
    assert again.policy() == SitePolicy.for_plan(invitation.proposal())
    assert again.proposal() == invitation.proposal()
    assert again.catalogue().hash == invitation.read_catalogue().hash
    assert again.trust.coordinator == invitation.coordinator


def test_nothing_is_overwritten(site: Site, invitation: Invitation) -> None:
    before = (site.keys / "data.key").read_bytes()
    with pytest.raises(InputError, match="holds a data site already"):
        Site.create(site.folder, site.settings, invitation, site.policy())
    assert (site.keys / "data.key").read_bytes() == before


def test_secrets_are_their_owners_alone(site: Site) -> None:
    assert site.keys.stat().st_mode & 0o077 == 0
    for name in ("node.key", "superexec.secret"):
        assert (site.relay_keys / name).stat().st_mode & 0o077 == 0


def test_a_wrong_key_in_the_file_is_named(site: Site) -> None:
    path = site.folder / SITE_FILE
    path.write_text(path.read_text().replace("users = 120", "users = -1"))
    with pytest.raises(InputError, match=r"site\.users"):
        Site.open(site.folder)


def test_an_accepted_plan_is_part_of_the_policy(site: Site) -> None:
    site.accept("ab" * 32)
    assert site.policy().accepted_plans == ("ab" * 32,)


def test_plan_diff_names_what_changed_and_not_the_run(plan: Plan) -> None:
    other = plan.model_copy(update={"run": "cd" * 16, "n_min": 7})
    assert plan_changes(plan, plan.model_copy(update={"run": "cd" * 16})) == []
    assert plan_changes(plan, other) == ["n_min: 6 -> 7"]


def test_check_names_everything_that_is_missing(site: Site) -> None:
    found = {each.subject: each for each in findings(site)}
    assert not found["data"].good
    assert "site request" in found["certificate"].text
    assert not found["ledger"].good
    assert found["policy"].good


def test_status_of_a_site_that_does_not_run(site: Site) -> None:
    figures = status_figures(site)
    assert (figures["state"], figures["ledger_row"], figures["services"]) == ("down", 0, {})


def test_mock_rows_have_the_sources_columns_and_no_source_is_read(site: Site) -> None:
    (site.folder / DATA_FILE).write_text(
        '[data]\nevents = "/nowhere/*.csv"\ncolumns = {user = "who", time = "ts", item = "sku"}\n'
    )
    frame = mock_events(site, users=3, events=5)
    assert frame.columns == ["who", "ts", "sku"]
    assert len(frame) == 15
    assert set(frame["sku"]) <= {"1", "2", "3"}


def test_forgetting_leaves_nothing_of_a_user_on_the_disk_and_lets_nothing_back_in(
    site: Site, tmp_path: Path
) -> None:
    source = tmp_path / "events.csv"
    source.write_text(
        "who,ts,sku\nann,2025-06-01,1\nann,2999-01-01,2\nbob,2025-06-01,2\nbob,2999-01-01,1\n"
    )
    (site.folder / DATA_FILE).write_text(
        f'[data]\nevents = "{source}"\ntimezone = "UTC"\n'
        'columns = {user = "who", time = "ts", item = "sku"}\n'
    )
    import_events(site)
    assert set(rejected_rows(site)["user"]) == {"ann", "bob"}
    for path in site.folder.rglob("*"):
        if path.is_file():
            assert b"2999-01-01" not in path.read_bytes(), path
    assert forget_users(site, ["ann"]) == 2
    for _ in range(2):
        assert len(site.store().load().histories) == 1
        assert set(rejected_rows(site)["user"]) == {"bob"}
        import_events(site)


def test_users_can_be_forgotten_before_the_first_import(site: Site) -> None:
    assert forget_users(site, ["ann"]) == 0
    assert len(site.store().forgotten()) == 1


@pytest.mark.parametrize(("option", "value"), [("--name", "BAD NAME"), ("--metrics-port", "70000")])
def test_a_setting_that_breaks_its_rule_is_one_line_and_exit_code_2(
    option: str,
    value: str,
    invitation: Invitation,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    invitation.write(tmp_path / "invitation.json")
    arguments = {"--name": "north", "--merchant": "acme", "--users": "60", option: value}
    with pytest.raises(SystemExit) as left:
        main(
            ["site", "init", str(tmp_path / "south"), "--invite"]
            + [str(tmp_path / "invitation.json")]
            + [word for pair in arguments.items() for word in pair]
        )
    assert left.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert option in line
    assert not (tmp_path / "south").exists()


def test_a_proposal_above_its_own_caps_makes_no_site(
    invitation: Invitation, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A site's caps follow from the proposal: one that asks for more would widen them unseen."""
    plan = invitation.proposal()
    greedy = plan.model_copy(update={"later_refreshes": 200}).canonical_bytes()
    key = SigningKey.generate()
    signature = key.sign_bytes("Plan", greedy)
    wider = replace(invitation, coordinator=key.public, plan=greedy, plan_signature=signature)
    file = tmp_path / "invitation.json"
    wider.write(file)
    folder = str(tmp_path / "south")
    words = f"--invite {file} --name south --merchant acme --users 60".split()
    with pytest.raises(SystemExit) as left:
        main(["site", "init", folder, *words])
    assert left.value.code == 2
    assert "plan-overspends" in capsys.readouterr().err
    assert not (tmp_path / "south").exists()


def test_the_vault_starts_first_and_the_relay_is_told_nothing_of_the_data(site: Site) -> None:
    vault, supernode, relay = services(site)
    assert (vault.name, supernode.name, relay.name) == ("vault", "supernode", "relay")
    for service in (supernode, relay):
        words = " ".join([*service.command, *service.environment.values()])
        assert str(site.keys) not in words
        assert "ledger" not in words
    assert RelaySettings.read(site.relay_keys) == RelaySettings.of(site)


def test_another_flower_gets_the_stock_programs(site: Site) -> None:
    settings = RelaySettings.of(site)
    (supernode,) = relay_services(settings, site.relay_keys, site.relay_socket, None, warm=False)
    assert supernode.command[0].endswith("flower-supernode")
    assert "--isolation" not in supernode.command


@pytest.mark.parametrize("address", ["fleet", "fleet:", ":443", "fleet:0", "fleet:99999", "a:b"])
def test_an_address_needs_host_and_port(address: str) -> None:
    with pytest.raises(InputError, match="HOST:PORT"):
        split_address(address)
