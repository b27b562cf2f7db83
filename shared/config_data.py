"""The part of the schema of ``groundswell.toml`` that says where data are, and whose."""

from __future__ import annotations

from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

BY_FOLDER = "folder"
BY_HASH = "hash"


def listed(value: object) -> object:
    """One string where a list is meant."""
    return (value,) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(listed)]


class Section(BaseModel):
    """A table of the file: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Columns(Section):
    """Which column of the source holds which canonical value."""

    user: str = Field(default="user", description="who acted")
    time: str = Field(default="time", description="when: a time, or seconds, ms or us since 1970")
    action: str | None = Field(
        default=None, description="what was done; without it all are `purchase`"
    )
    item: str | None = Field(
        default=None, description="item of the catalogue; without it the label is it"
    )
    label: str | None = Field(default=None, description="label, where no catalogue gives it")
    text: str | None = Field(default=None, description="search text, or the text of the label")
    site: str | None = Field(default=None, description="site of the event")
    value: str | None = Field(
        default=None, description="quantity, price or rating; negative: taken back"
    )


class Source(Section):
    """One source of events."""

    events: Names = Field(
        default=(),
        description="files (`*.csv`, `*.parquet`, globs, several in a list), or one "
        "`postgresql://HOST/DATABASE` (password from PGPASSWORD or PGPASSFILE); empty: the demo's",
    )
    query: str | None = Field(
        default=None, description="PostgreSQL: a SELECT, or the name of a table"
    )
    columns: Columns = Field(default_factory=Columns, description="column of each canonical value")
    timezone: str | None = Field(
        default=None,
        description="zone of times that carry none; unset: UTC, and a mixture is an error",
    )
    separator: str = Field(
        default=",", min_length=1, max_length=1, description="CSV: between the columns"
    )
    time_format: str | None = Field(
        default=None, description="format of text times, as for strftime"
    )

    profile: Names = Field(
        default=(),
        description="columns of a coarse profile, such as an age group or a region; the newest "
        "before a forecast is one more token of the interest state. Off: none",
    )

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is not None and value not in available_timezones():
            raise ValueError("no such time zone; names are like Europe/Vienna or UTC")
        return value

    @field_validator("events")
    @classmethod
    def _no_password(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if any("://" in name and urlsplit(name).password for name in value):
            raise ValueError("a password has no place in the file; set PGPASSWORD or PGPASSFILE")
        return value


class Data(Source):
    """Events of the site, or of all sites of a simulation."""

    also: tuple[Source, ...] = Field(
        default=(), description="more sources, as `[[data.also]]` tables, joined with the first"
    )
    earliest: str = Field(
        default="1990-01-01", description="an event before this day has a wrong time"
    )
    latest: str | None = Field(
        default=None,
        description="an event after this day has a wrong time; unset: after the import began",
    )
    bot_events_per_day: int = Field(
        default=2000,
        ge=1,
        description="beyond so many events on one day a user is a bot from there on",
    )
    bot_instants_per_minute: int = Field(
        default=120, ge=1, description="beyond so many different times in one minute likewise"
    )
    generated: bool = Field(
        default=False, description="the events are invented, and every report says so"
    )

    @property
    def sources(self) -> tuple[Source, ...]:
        """All sources, the first one first."""
        return (self, *self.also)


class CatalogueSection(Section):
    """The public catalogue."""

    file: str | None = Field(default=None, description="CSV or Parquet, one row an item")
    item: str | None = Field(
        default=None, description="column of the item; unset: that of [data].columns"
    )
    label: str = Field(
        default="item", description="column that is forecast: a category, or the item"
    )
    text: Names = Field(default=(), description="columns whose texts describe an item")
    group: str | None = Field(
        default=None, description="column of a coarser group, brand or department"
    )


class HomeRule(Section):
    """A user belongs to the site where most of the user's own visits were."""

    field: str = Field(description="column of the place of each event")
    per_user: Literal["home"] = Field(default="home", description="the place visited most")


class Sites(Section):
    """How events are divided into sites; a data site of its own leaves this out."""

    by: HomeRule | str | None = Field(
        default=None,
        description='a column; `"folder"`: one folder per site; `{field = "store", per_user = '
        '"home"}`; unset or `"hash"`: users by hash into `number` sites',
    )
    number: int = Field(default=8, ge=2, description="sites of the demo data, by hash or by home")
