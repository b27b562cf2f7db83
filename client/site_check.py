"""What a site's operator should know before a run: what is missing, and what would be refused."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from groundswell.client import enrolment
from groundswell.client.ledger import verify
from groundswell.client.policy import check_delta
from groundswell.client.site import Site
from groundswell.shared import armour
from groundswell.shared.errors import GroundswellError, Refusal
from groundswell.shared.identity import SigningKey, declared_users
from groundswell.shared.plan import Plan
from groundswell.shared.supervision import read_state

_DAY = 86_400


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    subject: str
    good: bool
    text: str


def findings(site: Site) -> list[Finding]:
    """Everything that a run needs of this site, each with a word."""
    return [
        _looked("data", lambda: _data(site)),
        _looked("store", lambda: _store(site)),
        _looked("certificate", lambda: _certificate(site)),
        _looked("ledger", lambda: _ledger(site)),
        _looked("policy", lambda: _policy(site)),
        _looked("backbone", lambda: _backbone(site)),
        _users(site),
    ]


def plan_changes(before: Plan, after: Plan) -> list[str]:
    """One line for each value that differs, the run's own name left out."""
    old, new = _flat(before.model_dump(mode="json")), _flat(after.model_dump(mode="json"))
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old | new)
        if old.get(key) != new.get(key) and key != "run"
    ]


def status_figures(site: Site) -> dict[str, Any]:
    """What ``status --json`` prints: state, ledger and processes."""
    state = read_state(site.state_file)
    running = state["services"] if state else {}
    well = bool(running) and all(each["state"] == "ready" for each in running.values())
    row = 0
    if site.ledger_file.exists():
        row = verify(site.ledger_file).head.row
    return {
        "site": site.settings.name,
        "state": ("up" if well else "starting") if state else "down",
        "ledger_row": row,
        "relay_user": site.settings.relay_user or None,
        "services": {
            name: {key: each[key] for key in ("state", "restarts", "last_exit")}
            for name, each in running.items()
        },
    }


def _looked(subject: str, look: Any) -> Finding:
    try:
        return Finding(subject, True, look())
    except Refusal as error:
        return Finding(subject, False, f"{error.code}: {error.rule}")
    except (GroundswellError, OSError) as error:
        return Finding(subject, False, str(error))


def _data(site: Site) -> str:
    from groundswell.client.preparation import Preparation
    from groundswell.client.site_data import data_of

    preparation = Preparation(data_of(site), site.catalogue(), site=site.settings.name)
    users = sum(part["user"].n_unique() for part in preparation.events())
    rejected = preparation.report.rejected
    return f"{users} users; {rejected} rows would be rejected"


def _store(site: Site) -> str:
    manifest = site.store().manifest()
    if manifest.catalogue != site.catalogue().hash:
        raise Refusal(
            "unknown-catalogue", "the store was made with another catalogue; import again"
        )
    return f"{manifest.events} events of {manifest.users} users"


def _certificate(site: Site) -> str:
    path = site.keys / enrolment.CERTIFICATE_FILE
    if not path.exists():
        raise GroundswellError("none yet: groundswell site request, then site certificate FILE")
    now = int(time.time())
    read = site.trust.certificate(armour.read_signed(path, armour.CERTIFICATE), now)
    return f"{read.name} of {read.merchant}, {(read.not_after - now) // _DAY} days left"


def _ledger(site: Site) -> str:
    if not site.ledger_file.exists():
        raise GroundswellError("none: it begins with the first `site certificate`")
    key = SigningKey.read(site.keys / enrolment.KEY_FILE)
    checked = verify(site.ledger_file, key.public)
    if checked.problems:
        raise GroundswellError("; ".join(checked.problems[:3]))
    return f"row {checked.head.row}, sound"


def _policy(site: Site) -> str:
    policy = site.policy()
    newest = (site.plans() or [site.proposal()])[-1]
    check_delta(newest, declared_users(site.settings.users))
    price = policy.accept_plan(newest)
    menu = policy.price()
    return (
        f"plan {newest.hash().hex()[:16]} is accepted at eps_C {price.eps_c:.3f} and eps_L "
        f"{price.eps_l:.3f}; the whole menu of {policy.window_days} days costs "
        f"{menu.eps_c:.3f} and {menu.eps_l:.3f}"
    )


def _backbone(site: Site) -> str:
    from groundswell.client.vault_process import site_backbone

    found = site_backbone(site)
    if found.hash not in site.policy().backbone_hashes:
        raise Refusal("unknown-backbone", f"{found.hash} is not in [policy].backbone_hashes")
    return f"{found.name}, {found.hash[:16]}"


def _users(site: Site) -> Finding:
    settings = site.settings
    if settings.relay_user and settings.relay_user != settings.vault_user:
        return Finding("separation", True, f"the relay runs as {settings.relay_user}")
    return Finding(
        "separation",
        True,
        "vault and relay run as one user: for development; in production set relay_user and "
        "vault_user, or use the containers",
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {
            name: inner
            for key, each in value.items()
            for name, inner in _flat(each, f"{prefix}{key}.").items()
        }
    if isinstance(value, list) and value and isinstance(value[0], dict) and "kind" in value[0]:
        return _flat({each["kind"]: each for each in value}, prefix)
    return {prefix.rstrip("."): value}
