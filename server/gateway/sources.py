"""Where the gateway finds models and trends: the seams, and one folder as the simplest source."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from groundswell.shared.answering import ServedModel
from groundswell.shared.errors import Refusal
from groundswell.shared.local_answers import version_of
from groundswell.shared.questions import ModelsAnswer, TrendsAnswer, TrendsRequest
from groundswell.shared.served import serve_folder
from groundswell.shared.text_engine_name import TextEngineName


class ModelSource(Protocol):
    """The versions that can be asked."""

    def ready(self, name: str | None) -> ServedModel | None:
        """A version or alias that is loaded, at once; None where it must be looked up."""

    def model(self, name: str | None) -> ServedModel:
        """A version or alias, loaded; None is the default. May block while it loads.

        Raises:
            Refusal: ``unknown-model``.
        """

    def listing(self) -> ModelsAnswer:
        """All versions."""

    def promote(self, version: str) -> ModelsAnswer:
        """Make a version the champion.

        Raises:
            Refusal: ``no-registry``, ``unknown-model`` or ``quality-gate``.
        """

    def rollback(self, line: str = "") -> ModelsAnswer:
        """Make the champion before this one the champion again.

        Raises:
            Refusal: ``no-registry`` or ``no-earlier-version``.
        """


class TrendSource(Protocol):
    """Demand over the sites."""

    def trends(self, request: TrendsRequest) -> TrendsAnswer:
        """Raises ``Refusal("no-trends")`` where nothing was released."""


class NoTrends:
    """No release of demand stands behind this gateway."""

    def trends(self, request: TrendsRequest) -> TrendsAnswer:
        """Always refuses."""
        raise Refusal("no-trends", "no federated demand was released for this model")


def load_fast(folder: Path, version: str | None = None) -> ServedModel:
    """Load a model with the fast text engine."""
    return serve_folder(folder, version, engine=TextEngineName.ONNX)


class FolderSource:
    """One model folder, as ``serve --model`` hosts it.

    Args:
        load: replaced in tests.
    """

    def __init__(self, folder: Path, load: Callable[[Path], ServedModel] = load_fast) -> None:
        self._model = load(folder)

    def ready(self, name: str | None) -> ServedModel | None:
        """The one model, where ``name`` means it."""
        known = (None, "latest", "champion", self._model.version)
        return self._model if name in known else None

    def model(self, name: str | None) -> ServedModel:
        """The one model; its own version and ``latest`` name it too."""
        found = self.ready(name)
        if found is None:
            raise Refusal("unknown-model", f"there is no model {name}; see /v1/models")
        return found

    def listing(self) -> ModelsAnswer:
        """The one version."""
        return ModelsAnswer(
            default=self._model.version, models=(version_of(self._model, ("latest", "champion")),)
        )

    def promote(self, version: str) -> ModelsAnswer:
        """Refused: a folder has one version."""
        raise Refusal("no-registry", "this gateway serves one folder; start it on a registry")

    def rollback(self, line: str = "") -> ModelsAnswer:
        """Refused: a folder has one version."""
        raise Refusal("no-registry", "this gateway serves one folder; start it on a registry")
