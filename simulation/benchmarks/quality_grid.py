"""The cells of ``bench quality``: what is changed against the default recipe at eps_C 3."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from groundswell.shared.config import Model, Privacy
from groundswell.shared.errors import InputError

DEFAULT, ALL = "default", "all"
# No cap of the local tier: large enough that it never binds.
NO_CAP = 1e4


@dataclass(frozen=True)
class Cell:
    """One variant: values of the configuration by ``section.key``, and whether sites add noise."""

    variant: str
    overrides: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))
    noisy: bool = True


def _private(name: str, eps_c: float = 3.0, **overrides: object) -> Cell:
    values: dict[str, object] = {"privacy.eps_c": eps_c, "privacy.eps_l": NO_CAP}
    return Cell(name, values | {key.replace("__", "."): v for key, v in overrides.items()})


HEADLINE = _private("private_eps3")
_DEFAULT = (
    Cell("not_private", {"privacy.eps_l": NO_CAP}, noisy=False),
    HEADLINE,
    _private("private_eps8", 8.0),
)


def _split(statistics: float) -> dict[str, float]:
    """The default shares of the statistics among themselves, ``statistics`` of mu^2 in all."""
    default = Privacy().split
    total = sum(default[name] for name in Model().statistics)
    scaled: dict[str, float] = {
        name: statistics * default[name] / total for name in Model().statistics
    }
    return {**scaled, "rounds": 1 - statistics}


_ABLATIONS = (
    _private("private_eps1", 1.0),
    Cell("local_tier_alone_eps8", {"privacy.eps_c": NO_CAP, "privacy.eps_l": 8.0}),
    _private("no_statistics", model__statistics=()),
    _private("no_habit", model__habit=False),
    _private("no_bert", model__bert=False),
    _private("no_pairs", model__statistics=("popularity", "h5")),
    *(_private(f"rank_{rank}", model__rank=rank) for rank in (2, 32)),
    *(_private(f"layers_{layers}", model__layers=layers) for layers in (2, 3)),
    _private("trained_a", model__frozen_a=False),
    _private("prompt", model__input="prompt"),
    *(_private(f"q_{q}", train__sampling_rate=q) for q in (0.1, 0.25, 1.0)),
    *(_private(f"examples_{k}", train__examples_per_user=k) for k in (2, 4)),
    *(_private(f"clip_{c}", privacy__clip_norm=c) for c in (0.03, 0.3)),
    _private("auto_s", privacy__clipping="auto_s"),
    # Momentum steps by the gradient itself, so its rates are of another size than Adam's.
    *(
        _private(
            f"momentum_rate_{rate}",
            train__optimiser="momentum",
            train__learning_rate=rate,
            train__adapter_learning_rate=rate / 200,
        )
        for rate in (2.0, 20.0)
    ),
    _private("dp_adam_bc", train__optimiser="dp_adam_bc"),
    *(_private(f"statistics_{share}", privacy__split=_split(share)) for share in (0.5, 0.9)),
    *(_private(f"sites_{sites}", sites__number=sites) for sites in (4, 16, 32, 64)),
)


def cells(grid: str) -> tuple[Cell, ...]:
    """The cells of a grid by name; raises InputError for another name."""
    if grid == DEFAULT:
        return _DEFAULT
    if grid == ALL:
        return _DEFAULT + _ABLATIONS
    raise InputError("--grid", grid, f"must be {DEFAULT} or {ALL}", "choose one of them")
