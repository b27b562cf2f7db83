"""Models of a registry, loaded when first asked for and held while they are in use."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

from groundswell.server.gateway.sources import load_fast
from groundswell.server.registry import CHAMPION, LATEST, Registry
from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import Refusal
from groundswell.shared.questions import ModelsAnswer

LOADED = 3  # models held in memory
LOOK_AGAIN_AFTER = 2.0  # seconds for which an alias is taken to stand


class RegistrySource:
    """``sources.ModelSource`` over a registry; several gateways may share one.

    Args:
        load: replaced in tests.
        clock: seconds, never falling.
        line: whose champion answers by default, where there are models of several catalogues.
    """

    def __init__(
        self,
        registry: Registry,
        load: Callable[[Path, str], ServedModel] = load_fast,
        clock: Callable[[], float] = time.monotonic,
        line: str = "",
    ) -> None:
        self._registry = registry
        self._load = load
        self._clock = clock
        self._line = line
        self._default = f"{CHAMPION}@{line}" if line else CHAMPION
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, ServedModel] = OrderedDict()
        self._aliases: dict[str, tuple[str, float]] = {}

    def ready(self, name: str | None) -> ServedModel | None:
        """A loaded version, where its alias was looked up a moment ago."""
        version = name or self._default
        if _is_alias(version):
            known = self._aliases.get(version)
            if known is None or self._clock() - known[1] > LOOK_AGAIN_AFTER:
                return None
            version = known[0]
        return self._loaded.get(version)

    def model(self, name: str | None) -> ServedModel:
        """A version or alias, loaded; raises ``Refusal("unknown-model")``, ModelError."""
        asked = name or self._default
        version = self._registry.show(asked).version
        if _is_alias(asked):
            self._aliases[asked] = (version, self._clock())
        return self._held(version)

    def listing(self) -> ModelsAnswer:
        """All versions."""
        return self._registry.listing(self._line)

    def promote(self, version: str) -> ModelsAnswer:
        """Make a version the champion; it is loaded first, so that nobody waits for it.

        Raises:
            Refusal: ``unknown-model`` or ``quality-gate``.
        """
        self._held(self._registry.show(version).version)
        self._registry.promote(version)
        self._aliases.clear()
        return self.listing()

    def rollback(self, line: str = "") -> ModelsAnswer:
        """Go back to a line's champion before; raises ``Refusal("no-earlier-version")``."""
        self._registry.rollback(line or self._line)
        self._aliases.clear()
        return self.listing()

    def _held(self, version: str) -> ServedModel:
        with self._lock:
            found = self._loaded.pop(version, None)
            if found is None:
                found = self._load(self._registry.folder(version), version)
            self._loaded[version] = found
            while len(self._loaded) > LOADED:
                self._loaded.popitem(last=False)
            return found


def _is_alias(name: str) -> bool:
    return name.partition("@")[0] in (CHAMPION, LATEST)


def check_not_empty(registry: Registry) -> None:
    """Raises ``Refusal("unknown-model")`` where there is nothing to serve."""
    if not registry.lines():
        raise Refusal("unknown-model", "the registry holds no version yet; add one first")
