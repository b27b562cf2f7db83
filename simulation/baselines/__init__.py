"""Central baselines without privacy, by their names in ``results.json``.

They are made here and imported only when asked for: trees and neural models load heavy libraries.
"""

from __future__ import annotations

from importlib import import_module

from groundswell.simulation.baselines.baseline import Baseline

QUICK = ("popularity", "personal_frequency", "backoff")
ALL = (
    "popularity",
    "recent_popularity",
    "personal_frequency",
    "backoff",
    "markov",
    "logistic",
    "boosted_trees",
    "gru4rec",
    "sasrec",
)
# Fitted anew for every seed; the others depend on none.
SEEDED = frozenset({"boosted_trees", "gru4rec", "sasrec", "logistic"})


def make(name: str) -> Baseline:
    """An unfitted baseline; raises KeyError for a name that is not in ``ALL``."""
    module, attribute = {
        "popularity": ("frequency", "popularity"),
        "recent_popularity": ("frequency", "recent_popularity"),
        "personal_frequency": ("frequency", "PersonalFrequency"),
        "backoff": ("frequency", "Backoff"),
        "markov": ("markov", "Markov"),
        "logistic": ("tabular", "Logistic"),
        "boosted_trees": ("tabular", "BoostedTrees"),
        "gru4rec": ("sequence", "gru4rec"),
        "sasrec": ("sequence", "sasrec"),
    }[name]
    factory = vars(import_module(f"{__name__}.{module}"))[attribute]
    baseline: Baseline = factory()
    return baseline
