"""``report.html``: one self-contained file that says what a simulation found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from groundswell.shared.plan import Plan
from groundswell.shared.results import Results, write_whole
from groundswell.simulation.evaluate import Measurement
from groundswell.simulation.report_parts.facts import Facts
from groundswell.simulation.report_parts.page import report_page
from groundswell.simulation.setting import Setting


def write_report(
    path: Path,
    setting: Setting,
    measured: Mapping[str, Sequence[Measurement]],
    results: Results,
    model_folder: Path,
    plan: Plan,
) -> None:
    """Write the report; the file appears whole or not at all.

    Args:
        setting: data, sites and times of the run.
        measured: measurements of each model, one a seed, over the users of ``setting``.
        model_folder: the saved model; plan: of its run.

    Raises:
        ModelError: the saved model can't be read.
    """
    facts = Facts.gather(setting, measured, results, model_folder, plan)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, report_page(results, facts).encode())
