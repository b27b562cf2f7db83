"""A site's events: import from the sources that its operator named, and invented rows instead."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import polars as pl

from groundswell.client.preparation import Preparation, import_site
from groundswell.client.preparation_report import PreparationReport
from groundswell.client.pseudonyms import pseudonym
from groundswell.client.quarantine import forget_in_quarantine, read_quarantine
from groundswell.client.site import DATA_FILE, Site
from groundswell.shared.config_data import Data
from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError
from groundswell.shared.identity import declared_users


def data_of(site: Site) -> Data:
    """The section ``[data]`` of the site.

    Raises:
        InputError: no source is named.
    """
    data = load_config(site.folder / DATA_FILE).config.data
    if not data.events:
        raise InputError(
            "[data].events",
            "",
            "no source of events is named",
            f"name files in {site.folder / DATA_FILE}; `groundswell init` guesses the columns",
        )
    return data


def import_events(site: Site) -> PreparationReport:
    """Prepare all sources into the site's store; the old one stays until the new one is complete.

    Raises:
        InputError: as ``preparation.import_site``.
    """
    catalogue = site.catalogue()
    return import_site(
        Preparation(data_of(site), catalogue, site=site.settings.name),
        catalogue,
        site.task(),
        site.store(),
        site.data_key(),
        declared_users=declared_users(site.settings.users),
        quarantine=site.quarantine_file,
    )


def rejected_rows(site: Site) -> pl.DataFrame:
    """Every row that the last import set aside, with the reason, and users as in the sources.

    Raises:
        InputError: there is none.
    """
    return read_quarantine(site.quarantine_file, site.data_key())


def forget_users(site: Site, users: Iterable[str]) -> int:
    """Take users out of store and quarantine, now and in every later import.

    Args:
        users: as in the sources.

    Returns:
        The number of events and rejected rows that were removed.
    """
    key = site.data_key()
    gone = {pseudonym(user, key.pseudonym_key) for user in users}
    removed = site.store().forget(gone)
    return removed + forget_in_quarantine(site.quarantine_file, key, gone)


def mock_events(site: Site, users: int, events: int) -> pl.DataFrame:
    """Rows with the columns of the site's sources: invented users, public items, times of a year.

    Made from the schema, the public catalogue and the system's randomness: no event is read.
    """
    columns = data_of(site).columns
    catalogue, task = site.catalogue(), site.task()
    draw = secrets.SystemRandom()
    items = sorted(catalogue.item_to_label) or list(catalogue.labels)
    start = datetime.now(UTC) - timedelta(days=365)
    actions = list(task.actions)
    rows = []
    for user in range(users):
        for _ in range(events):
            item = draw.choice(items)
            label = catalogue.item_to_label.get(item, item)
            values = {
                columns.user: f"mock-{user}",
                columns.time: (start + timedelta(seconds=draw.randrange(365 * 86_400))).isoformat(),
                columns.action: draw.choice(actions),
                columns.item: item,
                columns.label: label,
                columns.text: catalogue.texts[catalogue.index[label]],
                columns.site: site.settings.name,
                columns.value: 1.0,
            }
            rows.append({name: value for name, value in values.items() if name is not None})
    return pl.DataFrame(rows)
