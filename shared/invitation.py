"""The one file that a coordinator hands to a site: where to connect, whom to trust, what is meant.

Nothing in it is secret. The site's operator compares its fingerprint with what the coordinator's
operator says by another way, and from then on the site trusts the keys in it and no others.
"""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from groundswell.shared.envelopes import PUBLIC_KEY_BYTES
from groundswell.shared.errors import InputError, Refusal
from groundswell.shared.identity import Trust
from groundswell.shared.plan import Plan
from groundswell.shared.wire import groundswell_pb2 as wire

if TYPE_CHECKING:
    # Imported where it is used: whoever only splits an address needs no tables.
    from groundswell.shared.catalogue import Catalogue

FORMAT = 1
_LARGEST_FILE = 256 << 20
_LARGEST_CATALOGUE = 1 << 30


@dataclass(frozen=True)
class Invitation:
    """What the file holds.

    Attributes:
        address: of the coordinator, ``HOST:PORT``.
        tls_root: PEM certificate that the coordinator's TLS is checked against.
        authority: the consortium CA's Ed25519 public key; coordinator: the coordinator's.
        plan: a proposal, signed; a run's own plan has another run id and the same terms.
        plan_signature: the coordinator's.
        catalogue_name, catalogue: the public catalogue, canonical bytes.
    """

    address: str
    tls_root: str = field(repr=False)
    authority: bytes = field(repr=False)
    coordinator: bytes = field(repr=False)
    plan: bytes = field(repr=False)
    plan_signature: bytes = field(repr=False)
    catalogue_name: str
    catalogue: bytes = field(repr=False)

    @property
    def trust(self) -> Trust:
        """The two keys."""
        return Trust(self.authority, self.coordinator)

    @property
    def fingerprint(self) -> str:
        """Over everything that is trusted: groups of four hex digits, for people to compare."""
        digest = hashlib.sha256()
        for part in (self.authority, self.coordinator, self.tls_root.encode(), self.plan):
            digest.update(hashlib.sha256(part).digest())
        digits = digest.hexdigest()[:40]
        return " ".join(digits[i : i + 4] for i in range(0, len(digits), 4))

    def proposal(self) -> Plan:
        """The proposed plan, after checking its signature.

        Raises:
            Refusal: ``bad-plan-signature``.
        """
        request = wire.JoinRequest(plan=self.plan, plan_signature=self.plan_signature)
        return Plan.parse(self.trust.plan(request))

    def read_catalogue(self) -> Catalogue:
        """The catalogue, which the plan must name.

        Raises:
            Refusal: ``unknown-catalogue``.
        """
        from groundswell.shared.catalogue import Catalogue

        catalogue = Catalogue.parse(self.catalogue, self.catalogue_name)
        if catalogue.hash not in {each.hash for each in self.proposal().catalogues}:
            raise Refusal("unknown-catalogue", "the proposal names another catalogue")
        return catalogue

    def write(self, path: Path) -> None:
        """Write the file."""
        content = {
            "groundswell_invitation": FORMAT,
            "fingerprint": self.fingerprint,
            "address": self.address,
            "tls_root": self.tls_root,
            "authority": self.authority.hex(),
            "coordinator": self.coordinator.hex(),
            "plan": self.plan.decode(),
            "plan_signature": self.plan_signature.hex(),
            "catalogue_name": self.catalogue_name,
            "catalogue": base64.b64encode(zlib.compress(self.catalogue, 9)).decode(),
        }
        path.write_text(json.dumps(content, indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Invitation:
        """Read the file, and check that its parts belong together.

        Raises:
            InputError: it is missing, no invitation, damaged, or not signed by the key in it.
        """
        try:
            if path.stat().st_size > _LARGEST_FILE:
                raise ValueError("too large")
            content = json.loads(path.read_bytes())
            if content["groundswell_invitation"] != FORMAT:
                raise ValueError("another format")
            packed = base64.b64decode(content["catalogue"], validate=True)
            unpacking = zlib.decompressobj()
            catalogue = unpacking.decompress(packed, _LARGEST_CATALOGUE)
            if not unpacking.eof:
                raise ValueError("the catalogue is cut off, or too large")
            invitation = cls(
                content["address"],
                content["tls_root"],
                bytes.fromhex(content["authority"]),
                bytes.fromhex(content["coordinator"]),
                content["plan"].encode(),
                bytes.fromhex(content["plan_signature"]),
                content["catalogue_name"],
                catalogue,
            )
            for key in (invitation.authority, invitation.coordinator):
                if len(key) != PUBLIC_KEY_BYTES:
                    raise ValueError("a key has not its length")
            split_address(invitation.address)
            invitation.read_catalogue()
        except OSError as error:
            raise InputError(
                "--invite", str(path), f"can't be read ({error.strerror})", "name the invitation"
            ) from error
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error, Refusal) as error:
            raise InputError(
                "--invite", str(path), f"is no sound invitation ({error})", "ask for it again"
            ) from error
        return invitation


def split_address(address: str) -> tuple[str, int]:
    """Host and port of ``HOST:PORT``.

    Raises:
        InputError: the port is missing or none.
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise InputError("address", address, "is not HOST:PORT", "name both, like fleet.org:443")
    return host.strip("[]"), int(port)
