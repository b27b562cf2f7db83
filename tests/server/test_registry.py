"""The registry: immutable signed versions, aliases, quality gate, roll back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from groundswell.server.registry import Registry, check_quality
from groundswell.server.versions import MODEL_FILES, Provenance
from groundswell.shared.errors import InputError, ModelError, Refusal
from groundswell.shared.identity import SigningKey

Make = Callable[[Path, float], Path]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory, make_model: Make) -> list[Path]:
    folder = tmp_path_factory.mktemp("models")
    return [make_model(folder / str(i), 0.1 + i / 10) for i in range(3)]


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry.open(str(tmp_path / "registry"))


def measured(ndcg: float, se: float = 0.01) -> Provenance:
    return Provenance(metrics={"ndcg@10": ndcg, "ndcg@10_se": se})


def test_versions_count_up_and_the_first_answers(registry: Registry, models: list[Path]) -> None:
    first = registry.add(models[0], Provenance(run="a" * 32, round=40))
    second = registry.add(models[1], Provenance())
    assert (first.version, second.version) == ("v1", "v2")
    assert registry.champion() == "v1"
    listed = registry.listing()
    assert [each.version for each in listed.models] == ["v2", "v1"]
    assert listed.models[0].aliases == ("latest",)
    assert listed.models[1].aliases == ("champion",)
    assert listed.models[1].round == 40
    assert all(each.signed for each in listed.models)
    assert listed.models[1].privacy.local.epsilon == 11.0


def test_the_same_model_again_is_the_same_version(registry: Registry, models: list[Path]) -> None:
    registry.add(models[0], Provenance())
    assert registry.add(models[0], Provenance(round=3)).version == "v1"
    assert len(registry.entries()) == 1


def test_promote_and_roll_back(registry: Registry, models: list[Path]) -> None:
    for model in models:
        registry.add(model, Provenance())
    registry.promote("latest")
    registry.promote("v2")
    assert registry.champion() == "v2"
    assert registry.rollback().version == "v3"
    assert registry.rollback().version == "v1"
    with pytest.raises(Refusal, match="no version was champion before"):
        registry.rollback()
    registry.promote("v2")
    assert registry.rollback().version == "v1"
    with pytest.raises(Refusal, match="there is no model v9"):
        registry.promote("v9")


def test_models_of_several_catalogues_have_lines_of_their_own(
    registry: Registry, models: list[Path]
) -> None:
    registry.add(models[0], Provenance(line="office"))
    assert registry.champion() == "v1"  # of the only line
    registry.add(models[1], Provenance(line="tools"))
    registry.add(models[2], Provenance(line="tools"))
    assert registry.champion("office") == "v1"
    assert registry.show("champion@tools").version == "v2"
    assert registry.show("latest@office").aliases == ("latest@office", "champion@office")
    with pytest.raises(Refusal, match="champion@office or champion@tools"):
        registry.show("champion")
    assert registry.listing().default == ""
    registry.promote("latest@tools")
    assert (registry.champion("tools"), registry.champion("office")) == ("v3", "v1")
    assert registry.rollback("tools").version == "v2"
    with pytest.raises(Refusal, match="no version was champion before"):
        registry.rollback("office")
    with pytest.raises(Refusal, match="no models are called garden"):
        registry.show("champion@garden")


def test_the_gate_closes_on_a_fall_beyond_the_noise_alone() -> None:
    check_quality(measured(0.46), measured(0.50))  # .04 < 3 x .01414
    check_quality(measured(0.60), measured(0.50))
    check_quality(Provenance(), measured(0.50))
    check_quality(measured(0.10), Provenance())
    with pytest.raises(Refusal, match="3 standard errors"):
        check_quality(measured(0.45), measured(0.50))


def test_the_gate_can_be_forced(registry: Registry, models: list[Path]) -> None:
    registry.add(models[0], measured(0.5))
    registry.add(models[1], measured(0.1))
    with pytest.raises(Refusal, match="fell from"):
        registry.promote("v2")
    assert registry.champion() == "v1"
    registry.promote("v2", force=True)
    assert registry.champion() == "v2"


@pytest.mark.parametrize("name", MODEL_FILES)
def test_a_changed_or_missing_file_is_refused(
    registry: Registry, models: list[Path], name: str
) -> None:
    registry.add(models[0], Provenance())
    path = registry.folder("v1") / name
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ModelError, match="changed after signing"):
        registry.folder("v1")
    path.unlink()
    with pytest.raises(ModelError, match="missing"):
        registry.folder("v1")


def test_a_record_that_the_key_did_not_sign_is_refused(
    registry: Registry, models: list[Path], tmp_path: Path
) -> None:
    registry.add(models[0], Provenance())
    with registry.engine.begin() as connection:
        changed = registry.entries()[0].signed_bytes.replace(b"11.0", b"10.0")
        connection.execute(text("UPDATE versions SET record = :r"), {"r": changed})
    with pytest.raises(ModelError, match="did not sign"):
        registry.folder("v1")
    assert not registry.listing().models[0].signed
    with registry.engine.begin() as connection:
        connection.execute(text("UPDATE versions SET record = :r"), {"r": b"{}"})
    with pytest.raises(ModelError, match="damaged"):
        registry.listing()


def test_another_key_is_not_trusted(models: list[Path], tmp_path: Path) -> None:
    Registry.open(str(tmp_path)).add(models[0], Provenance())
    stranger = SigningKey.generate().public
    with pytest.raises(ModelError, match="did not sign"):
        Registry.open(str(tmp_path), public_key=stranger).folder("v1")


def test_a_folder_without_a_model_is_refused(registry: Registry, tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        registry.add(tmp_path, Provenance())
    assert registry.entries() == []


def test_files_may_lie_in_object_storage(models: list[Path], tmp_path: Path) -> None:
    key = tmp_path / "key"
    SigningKey.generate().write(key)
    url = f"sqlite:///{tmp_path / 'r.sqlite'}"
    registry = Registry.open(url, files="memory://versions", key=key)
    registry.add(models[0], Provenance())
    folder = registry.folder("champion")
    assert sorted(path.name for path in folder.iterdir()) == sorted(MODEL_FILES)
    assert (folder / "manifest.json").read_bytes() == (models[0] / "manifest.json").read_bytes()


def test_a_database_needs_files_and_a_key(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--files"):
        Registry.open(f"sqlite:///{tmp_path / 'r.sqlite'}")
    with pytest.raises(InputError) as caught:
        Registry.open("nosuch://user:hunter2@host/db", files=str(tmp_path), public_key=b"x" * 32)
    assert "hunter2" not in str(caught.value)
