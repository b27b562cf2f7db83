"""The configuration file: what is refused, which value wins, and that it writes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from groundswell.shared.config import Config, Privacy
from groundswell.shared.config_docs import render
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError

EXAMPLE = """
[data]
events = "data/*.parquet"
columns = {user = "customer_id", time = "ts", action = "event", item = "sku"}
timezone = "Europe/Vienna"
[[data.also]]
events = ["web.csv", "app.csv"]
separator = ";"
[catalogue]
file = "items.csv"
label = "category"
text = ["title", "brand"]
[sites]
by = {field = "store", per_user = "home"}
[task]
window = "14d"
session_gap = "30m"
actions = {purchase = 1.0, "add to cart" = 0.5}
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "groundswell.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_command_line_stands_above_file_above_default(tmp_path: Path) -> None:
    path = write(tmp_path, "[train]\nrounds = 7\nsampling_rate = 0.1\n")
    loaded = load_config(path, {"train.rounds": 3, "train.seed": None})
    assert loaded.config.train.rounds == 3
    assert loaded.config.train.sampling_rate == 0.1
    assert loaded.origins["train.rounds"] == "command line"
    assert loaded.origins["train.sampling_rate"] == "groundswell.toml"
    text = loaded.effective(tmp_path)
    assert "rounds = 3  # command line" in text
    assert "sampling_rate = 0.1  # groundswell.toml" in text
    assert "seed = 0  # default" in text


def test_effective_file_reads_back_as_the_same_configuration(tmp_path: Path) -> None:
    loaded = load_config(write(tmp_path, EXAMPLE))
    elsewhere = tmp_path / "runs" / "one"
    elsewhere.mkdir(parents=True)
    text = loaded.effective(elsewhere)
    assert load_config(write(elsewhere, text)).config == loaded.config
    assert str(tmp_path) not in text


def test_paths_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, EXAMPLE)).config
    assert config.data.events == (str(tmp_path / "data/*.parquet"),)
    assert config.data.also[0].events[1] == str(tmp_path / "app.csv")
    assert config.catalogue.file == str(tmp_path / "items.csv")


def test_backbone_is_a_name_unless_there_is_a_folder_of_it(tmp_path: Path) -> None:
    path = write(tmp_path, '[model]\nbackbone = "org/encoder"\n')
    assert load_config(path).config.model.backbone == "org/encoder"
    (tmp_path / "org/encoder").mkdir(parents=True)
    assert load_config(path).config.model.backbone == str(tmp_path / "org/encoder")


@pytest.mark.parametrize(
    ("text", "key", "remedy"),
    [
        ("[trian]\n", "[trian]", "did you mean train?"),
        ("[train]\nround = 3\n", "[train].round", "did you mean rounds?"),
        ('[data]\ncolumns = {usr = "a"}\n', "[data].columns.usr", "did you mean user?"),
        ('[[data.also]]\nevent = "a"\n', "[data].also.event", "did you mean events?"),
        ("[privacy]\nxyzzy = 1\n", "[privacy].xyzzy", "known are: eps_c"),
    ],
)
def test_unknown_key_is_one_line_with_a_suggestion(
    tmp_path: Path, text: str, key: str, remedy: str
) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text))
    assert caught.value.key == key
    assert remedy in caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[train]\nrounds = "x"\n', "[train].rounds"),
        ('[task]\nwindow = "7 q"\n', "[task].window"),
        ('[data]\ntimezone = "Mars"\n', "[data].timezone"),
        ('[model]\nprompts = {en = "no place"}\n', "[model].prompts"),
        ('[sites]\nby = {field = "store", per_user = "work"}\n', "[sites].by.per_user"),
        ('[model]\nstatistics = ["mood"]\n', "[model].statistics"),
        ("train = 3\n", "[train]"),
        ("x = \n", "--config"),
    ],
)
def test_wrong_value_names_its_key(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(InputError) as caught:
        load_config(write(tmp_path, text))
    assert caught.value.key == key
    assert "\n" not in str(caught.value)


def test_password_in_the_file_is_refused_and_not_shown(tmp_path: Path) -> None:
    path = write(tmp_path, '[data]\nevents = "postgresql://shop:hunter2@db/shop"\n')
    with pytest.raises(InputError, match="PGPASSFILE") as caught:
        load_config(path)
    assert "hunter2" not in str(caught.value)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't be read"):
        load_config(tmp_path / "none.toml")


def test_defaults_are_the_demo() -> None:
    config = Config()
    assert config.is_demo
    assert config.resolved_n_min(8) == 6
    assert [config.resolved_n_min(sites) for sites in (2, 4, 5, 64)] == [3, 3, 3, 62]
    assert config.resolved_delta(2_469) == 1e-6
    assert config.resolved_delta(10**6) == 1e-7


def test_a_delta_that_is_large_for_the_users_is_refused() -> None:
    config = Config(privacy=Privacy(delta=1e-5))
    assert config.resolved_delta(10_000) == 1e-5
    with pytest.raises(InputError, match=r"\[privacy\]\.delta"):
        config.resolved_delta(10_001)


def test_documentation_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "config.md"
    assert page.read_text(encoding="utf-8") == render(), (
        "run: python -m groundswell.shared.config_docs docs/config.md"
    )


def test_a_head_brings_the_statistics_that_it_reads(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, '[model]\nhead = "next"\n')).config
    assert config.model.statistics == ("popularity", "transitions")
    assert Config().model.statistics == ("popularity", "h5", "pairs")


def test_what_a_file_names_stands_above_the_defaults_of_a_head(tmp_path: Path) -> None:
    text = '[model]\nhead = "next"\n[privacy]\nclip_norm = 0.3\n'
    loaded = load_config(write(tmp_path, text), {"train.learning_rate": 0.1})
    assert loaded.config.privacy.clip_norm == 0.3
    assert loaded.config.train.learning_rate == 0.1
    assert loaded.config.privacy.split["transitions"] == 0.77
    assert loaded.origins.get("privacy.split", "default") == "default"
    assert load_config(write(tmp_path, loaded.effective(tmp_path))).config == loaded.config


def test_a_statistic_that_the_head_does_not_read_is_refused(tmp_path: Path) -> None:
    text = '[model]\nhead = "next"\nstatistics = ["popularity", "pairs"]\n'
    with pytest.raises(InputError, match=r"model.*statistics.*reads no pairs"):
        load_config(write(tmp_path, text))
    with pytest.raises(InputError, match="reads no transitions"):
        load_config(write(tmp_path, '[model]\nstatistics = ["transitions"]\n'))


@pytest.mark.parametrize(("head", "kind"), [("repeat", "pairs"), ("next", "transitions")])
def test_a_statistic_that_rests_on_popularity_is_refused_without_it(
    head: str, kind: str, tmp_path: Path
) -> None:
    text = f'[model]\nhead = "{head}"\nstatistics = ["{kind}"]\n'
    with pytest.raises(InputError, match=f"{kind} are counted by what popularity releases"):
        load_config(write(tmp_path, text))
