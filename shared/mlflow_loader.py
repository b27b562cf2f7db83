"""MLflow's way into an exported model: it calls ``_load_pyfunc`` and then ``predict``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from groundswell.shared.predict import Forecaster, load_model


class PythonFunction:
    """What ``mlflow.pyfunc`` wraps."""

    def __init__(self, forecaster: Forecaster) -> None:
        self._forecaster = forecaster

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Forecasts (pandas) from events (pandas); ``params["at"]`` says as of when."""
        return self._forecaster.predict(model_input, (params or {}).get("at")).to_pandas()


def _load_pyfunc(data_path: str) -> PythonFunction:
    """Load the exported folder."""
    return PythonFunction(load_model(Path(data_path)))
