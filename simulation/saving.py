"""The trained model as a standard checkpoint, with its model card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from groundswell.shared.checkpoint import Checkpoint, model_weights, save
from groundswell.shared.config_file import LoadedConfig
from groundswell.shared.demand_release import without_noise
from groundswell.shared.features import LabelSpace
from groundswell.shared.model import InterestModel, initialise, load_weights
from groundswell.shared.plan import Plan
from groundswell.shared.results import Privacy, Row
from groundswell.shared.spec import NEXT, REPEAT, ModelSpec
from groundswell.shared.transfer import ModelState
from groundswell.simulation.regions import Released
from groundswell.simulation.setting import Setting


def effective_config(loaded: LoadedConfig, setting: Setting, plan: Plan, folder: Path) -> str:
    """The effective configuration as TOML, and what the data and the plan decided, as comments."""
    times = setting.dataset.times
    lines = [
        f"# Decided in this run: delta {plan.delta:g}, n_min {plan.n_min}, "
        f"{len(times.validation)} validation and {len(times.test)} test windows."
    ]
    if loaded.config.is_demo:
        lines.append(
            "# The demo's data brings its own windows and task (docs/benchmarks.md): of "
            "[evaluation]\n# and [task] only history counts."
        )
    first, rest = loaded.effective(folder).split("\n", 1)
    return "\n".join([first, *lines, rest])


def save_trained(
    folder: Path,
    setting: Setting,
    plan: Plan,
    state: ModelState,
    privacy: Privacy,
    rows: Sequence[Row] = (),
    regions: Mapping[str, Released] = MappingProxyType({}),
) -> None:
    """Write the checkpoint; the folder is replaced as a whole.

    Args:
        rows: what was measured, for the model card.
        regions: what the sites of each region released by themselves.
    """
    spec = ModelSpec.from_dict(plan.model)
    catalogue = setting.dataset.catalogue
    model = InterestModel(spec, setting.backbone, LabelSpace.of(catalogue, setting.encoded.unit))
    initialise(model, plan.hash())
    load_weights(model, state.weights)
    statistics = {
        **state.statistics,
        **{name: each for own in regions.values() for name, each in own.tensors.items()},
    }
    data = setting.config.data
    columns = {
        name: column for name, column in data.columns.model_dump().items() if column is not None
    }
    save(
        folder,
        Checkpoint(
            spec=spec,
            task=setting.dataset.task,
            catalogue=catalogue,
            backbone_hash=setting.backbone.hash,
            weights=model_weights(model),
            # A run without privacy releases by a plan whose noise it never adds.
            statistics=statistics if privacy.private else without_noise(statistics),
            statistics_as_of=plan.schedule.train_until,
            columns=columns,
            profile=data.profile,
            timezone=data.timezone or "UTC",
            privacy=privacy.model_dump(mode="json"),
            card=_card(setting, plan, privacy, rows),
            regions={name: each.release for name, each in regions.items()},
        ),
        setting.backbone,
    )


_HEADS = {REPEAT: "shoppers return to the labels", NEXT: "one item leads to the next"}
_LIMITS = {
    REPEAT: "The model forecasts aggregated, habitual demand well and sudden change less well.",
    NEXT: "The model forecasts which item comes next; less well what is bought again.",
}


def _card(setting: Setting, plan: Plan, privacy: Privacy, rows: Sequence[Row]) -> str:
    users = len(setting.sites.pooled.histories)
    spec = ModelSpec.from_dict(plan.model)
    lines = [
        "# Model card",
        "",
        "A Groundswell model: a probability distribution of a shopper's interest over the",
        f"{len(setting.dataset.catalogue)} labels of a public catalogue, for the coming",
        f"{setting.dataset.task.window.days} days.",
        "",
        f"- Data: {setting.dataset.name}"
        + (" (generated)" if setting.dataset.generated else "")
        + f", {users} users at {len(setting.sites.names)} sites.",
        f"- Backbone: {setting.backbone.name}, frozen; the adapter is LoRA of rank",
        f"  {spec.rank} on the top layers. Head: {spec.head} ({_HEADS[spec.head]}).",
        "",
        "## Privacy",
        "",
        "Unit: all of one user's events at one site (add or remove), over the whole run.",
        "",
    ]
    if privacy.private:
        lines += [
            "| tier | epsilon | delta | largest true-positive rate of a membership test at 1 % "
            "false positives |",
            "|---|---|---|---|",
            f"| C, central | {privacy.central.epsilon:.2f} | {privacy.delta:.0e} | "
            f"{privacy.central.tpr_at_1pct_fpr:.3f} |",
            f"| L, local | {privacy.local.epsilon:.2f} | {privacy.delta:.0e} | "
            f"{privacy.local.tpr_at_1pct_fpr:.3f} |",
            "",
        ]
    else:
        lines += ["**No privacy: this model was trained with --no-privacy.**", ""]
    if privacy.excludes:
        lines += ["The figures do not cover:", "", *(f"- {each};" for each in privacy.excludes)]
    if rows:
        lines += ["", "## Measured", "", "| model | slice | NDCG@10 |", "|---|---|---|"]
    for row in rows:
        metric = row.metrics.get("ndcg@10")
        if metric is not None:
            lines.append(f"| {row.model} | {row.slice} | {metric.mean:.4f} |")
    lines += [
        "",
        "## Limits",
        "",
        _LIMITS[spec.head] + " A user",
        "without history gets the prior of the catalogue. It must not be used to decide about",
        "people in matters of credit, insurance, employment or health.",
        "",
    ]
    return "\n".join(lines)
