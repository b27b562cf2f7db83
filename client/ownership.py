"""Gives a site's files to the Unix users that its processes run as.

Three users keep three things apart: the vault's has data, keys and ledger; the relay's has the
SuperNode's key and reaches one socket; callers of the shop reach the other socket. Needs root once,
when the site starts.
"""

from __future__ import annotations

import grp
import os
import pwd
from pathlib import Path

from groundswell.client.site import Site
from groundswell.shared.errors import InputError


def hand_over(site: Site) -> None:
    """Own the folder as the site's settings say; nothing happens where they name no users.

    Raises:
        InputError: a user is missing, only one of the two is named, or this is not root.
    """
    settings = site.settings
    if not settings.relay_user and not settings.vault_user:
        return
    if not settings.relay_user or not settings.vault_user:
        raise InputError(
            "relay_user",
            settings.relay_user or settings.vault_user,
            "one user alone separates nothing",
            "name both relay_user and vault_user in site.toml",
        )
    if os.geteuid() != 0:
        raise InputError(
            "vault_user", settings.vault_user, "only root can start as other users", "use sudo"
        )
    vault, relay = _user(settings.vault_user), _user(settings.relay_user)
    relay_group = relay.pw_gid
    callers = _group(settings.callers_group) if settings.callers_group else vault.pw_gid
    for path in (site.folder, *_below(site.folder)):
        os.chown(path, vault.pw_uid, vault.pw_gid, follow_symlinks=False)
    for path in (site.relay_keys, *_below(site.relay_keys)):
        os.chown(path, relay.pw_uid, relay_group, follow_symlinks=False)
    # Others may pass through to what is theirs, and see nothing on the way.
    site.folder.chmod(0o711)
    # The vault's log may tell of users, and the supervisor opens all logs.
    for path in (site.keys, site.folder / "store", site.folder / "plans", site.logs):
        path.chmod(0o700)
    for path in (site.relay_keys, site.relay_socket.parent, site.local_socket.parent):
        path.mkdir(exist_ok=True)
        path.chmod(0o750)
    os.chown(site.relay_socket.parent, vault.pw_uid, relay_group)
    os.chown(site.local_socket.parent, vault.pw_uid, callers)
    for path in site.folder.iterdir():
        if path.is_file():
            path.chmod(0o600)


def _below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError as error:
        raise InputError("user", name, "there is no such user", "make it first") from error


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError as error:
        raise InputError("callers_group", name, "there is no such group", "make it") from error
