"""A site's own answers from its folder: no model or input makes its vault fail, or says nothing."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import polars as pl
import pytest

from groundswell.cli import main
from groundswell.client import vault_process
from groundswell.client.local_client import LocalClient
from groundswell.client.scorer import Scorer
from groundswell.client.site import DATA_FILE, Site
from groundswell.client.site_data import import_events
from groundswell.shared.catalogue import Catalogue
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.plan import Plan
from tests.client.conftest import create_site, invite
from tests.conftest import write_model

Call = Callable[..., tuple[int, str, str]]


def found_site(folder: Path, plan: Plan, catalogue: Catalogue) -> Site:
    site = create_site(folder, invite(plan, catalogue))
    source = folder / "events.csv"
    items = sorted(catalogue.item_to_label)[:2]
    source.write_text(f"who,ts,sku\nann,2025-06-01,{items[0]}\nbob,2025-06-02,{items[1]}\n")
    (folder / DATA_FILE).write_text(
        f'[data]\nevents = "{source}"\ntimezone = "UTC"\n'
        'columns = {user = "who", time = "ts", item = "sku"}\n'
    )
    import_events(site)
    return site


@pytest.fixture
def site(plan: Plan, shop: Catalogue) -> Iterator[Site]:
    """Its path is short: a socket's may not be long."""
    with tempfile.TemporaryDirectory(prefix="gs-") as folder:
        yield found_site(Path(folder) / "north", plan, shop)


@pytest.fixture
def other_model(tmp_path: Path, shop: Catalogue) -> Path:
    """A model of another catalogue."""
    other = replace(shop, name="other", texts=tuple(f"other {text}" for text in shop.texts))
    return write_model(tmp_path / "other", other, (0.3, 0.2, 0.25, 0.15, 0.1))


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command line; returns exit code, output and error output."""

    def run(*arguments: str) -> tuple[int, str, str]:
        code = 0
        try:
            main(list(arguments))
        except SystemExit as left:
            code = int(left.code or 0)
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


@pytest.fixture
def serve(site: Site) -> Iterator[Callable[[], Site]]:
    """Serves the site's local socket as its vault does."""
    servers: list[grpc.Server] = []

    def start() -> Site:
        servers.append(vault_process.serve_local(site))
        return site

    yield start
    for server in servers:
        server.stop(None)


def one_line(answer: tuple[int, str, str]) -> str:
    code, _, error = answer
    assert code == 2, error
    (line,) = error.strip().splitlines()
    return line


def test_a_model_of_another_catalogue_is_refused_and_the_old_one_stays(
    site: Site, model_folder: Path, other_model: Path, call: Call
) -> None:
    assert call("site", "model", str(model_folder), str(site.folder))[0] == 0
    kept = (site.model_folder / "manifest.json").read_bytes()
    line = one_line(call("site", "model", str(other_model), str(site.folder)))
    assert "MODEL" in line
    assert "is of the catalogue other" in line
    assert (site.model_folder / "manifest.json").read_bytes() == kept
    assert not (site.folder / ".model.new").exists()


def test_a_damaged_model_is_refused_and_the_old_one_stays(
    site: Site, make_model: Callable[[Path, float], Path], call: Call, tmp_path: Path
) -> None:
    sound = make_model(tmp_path / "sound", 0.2)
    assert call("site", "model", str(sound), str(site.folder))[0] == 0
    kept = (site.model_folder / "manifest.json").read_bytes()
    damaged = make_model(tmp_path / "damaged", 0.1)
    (damaged / "head.safetensors").write_bytes(b"nothing")
    assert "can't be read" in one_line(call("site", "model", str(damaged), str(site.folder)))
    assert "no readable manifest" in one_line(
        call("site", "model", str(tmp_path / "nowhere"), str(site.folder))
    )
    assert (site.model_folder / "manifest.json").read_bytes() == kept


def test_a_vault_without_a_usable_model_serves_and_says_why(
    site: Site, other_model: Path, serve: Callable[[], Site], call: Call
) -> None:
    other_model.rename(site.model_folder)
    serve()
    with LocalClient(site.local_socket, seconds=30) as client:
        for ask in (
            lambda: list(client.score()),
            lambda: client.audience("COFFEE", 1),
            client.trends,
            lambda: client.explain("anna"),
        ):
            with pytest.raises(Refusal, match="another catalogue") as refused:
                ask()
            assert refused.value.code == "no-model"
    code, _, error = call("site", "trends", str(site.folder))
    assert code == 1
    assert error.startswith("groundswell: no-model: ")
    assert "groundswell site model" in error


def test_a_vault_without_any_model_points_to_the_command_that_sets_one(
    site: Site, serve: Callable[[], Site], call: Call
) -> None:
    serve()
    _, _, error = call("site", "audience", str(site.folder), "--label", "COFFEE")
    assert "no-model: the site has no model yet; `groundswell site model" in error


def test_a_vault_whose_model_fails_in_an_unknown_way_serves_too(
    site: Site,
    model_folder: Path,
    serve: Callable[[], Site],
    monkeypatch: pytest.MonkeyPatch,
    call: Call,
) -> None:
    call("site", "model", str(model_folder), str(site.folder))

    def fail(*_: object) -> None:
        raise OSError("secret")

    monkeypatch.setattr(vault_process, "serve_folder", fail)
    serve()
    with (
        LocalClient(site.local_socket, seconds=30) as client,
        pytest.raises(Refusal, match="no-model") as refused,
    ):
        client.trends()
    assert "secret" not in str(refused.value)


def test_a_vault_that_is_starting_or_down_is_told_as_such(site: Site, call: Call) -> None:
    code, _, error = call("site", "trends", str(site.folder))
    assert code == 1
    assert "starting" in error
    assert "groundswell site status" in error


@pytest.fixture
def answering(
    site: Site, model_folder: Path, serve: Callable[[], Site], call: Call
) -> Callable[[], Site]:
    """Serves the site with a model."""
    call("site", "model", str(model_folder), str(site.folder))
    return serve


def test_scores_appear_whole_or_not_at_all(
    answering: Callable[[], Site], call: Call, tmp_path: Path
) -> None:
    site = answering()
    for name, read in (("s.parquet", pl.read_parquet), ("s.csv", pl.read_csv)):
        out = tmp_path / "scores" / name
        out.parent.mkdir(exist_ok=True)
        assert call("site", "score", str(site.folder), "--out", str(out))[0] == 0
        frame = read(out)
        assert len(frame) == 2 * 5
        assert frame.columns == ["user", "label", "probability", "lift", "trend"]
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["s.csv", "s.parquet"]


@pytest.mark.parametrize("name", ["nowhere/x.parquet", "x.xlsx", "x"])
def test_a_file_that_scores_cant_go_to_is_refused_before_anybody_is_scored(
    site: Site, name: str, call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def score(*_: object) -> None:
        pytest.fail("users were scored")

    monkeypatch.setattr(LocalClient, "score", score)
    line = one_line(call("site", "score", str(site.folder), "--out", str(tmp_path / name)))
    assert "--out" in line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("at", ["1970-01-01T00:00", "0001-01-01", "9999-12-31"])
def test_a_time_outside_the_years_is_refused_where_it_is_asked(
    site: Site, at: str, call: Call
) -> None:
    line = one_line(call("site", "trends", str(site.folder), "--at", at))
    assert f"--at: '{at}': must lie in the years 1971..2200" in line


def test_a_time_that_reads_as_unset_is_refused_by_the_client(site: Site) -> None:
    with LocalClient(site.local_socket) as client, pytest.raises(InputError, match="1971"):
        client.trends(at=0)


def test_a_plan_outside_the_years_is_one_line(site: Site, call: Call, tmp_path: Path) -> None:
    plan = tmp_path / "plan.csv"
    plan.write_text("label,from,to,share\nCOFFEE,2025-06-01,9999-12-31,1\n")
    line = one_line(call("site", "trends", str(site.folder), "--plan", str(plan)))
    assert "line 1: to: '9999-12-31': must lie in the years 1970..2200" in line


def test_wrong_input_that_the_vault_finds_is_its_line_and_exit_code_2(
    answering: Callable[[], Site], call: Call
) -> None:
    site = answering()
    line = one_line(call("site", "audience", str(site.folder), "--label", "nothing"))
    assert line.startswith("groundswell: label: 'nothing': the catalogue holds no such label; ")
    line = one_line(call("site", "explain", "nobody", str(site.folder)))
    assert line.startswith("groundswell: USER: 'nobody': ")


def test_what_fails_inside_travels_as_a_code_alone(
    answering: Callable[[], Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    site = answering()

    def fail(*_: Any) -> None:
        raise OverflowError("4711 bought COFFEE")

    for name in ("score", "audience", "trends", "explain"):
        monkeypatch.setattr(Scorer, name, fail)
    at = round(datetime(2025, 6, 3, tzinfo=UTC).timestamp() * 1e6)
    with LocalClient(site.local_socket, seconds=30) as client:
        for ask in (
            lambda: list(client.score(at)),
            lambda: client.audience("COFFEE", 1),
            client.trends,
            lambda: client.explain("anna"),
        ):
            with pytest.raises(Refusal) as refused:
                ask()
            assert refused.value.code == "internal"
            assert "COFFEE" not in str(refused.value)
