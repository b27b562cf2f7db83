"""What a simulation refuses before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest

from groundswell.shared.config_file import load_config
from groundswell.shared.errors import InputError
from groundswell.simulation import audit_data
from groundswell.simulation.setting import Setting


def test_two_sites_need_an_n_min_of_two() -> None:
    """As ``privacy plan`` says it: the default is max(3, sites - 2) for both."""
    dataset = audit_data.invent(2, 6, np.random.default_rng(1))
    with pytest.raises(InputError) as refused:
        Setting.build(load_config(None).config, dataset, 0)
    assert (refused.value.key, refused.value.value) == ("[privacy].n_min", 3)
    assert "with 2 the central tier equals the local one" in refused.value.remedy
    allowed = load_config(None, {"privacy.n_min": 2}).config
    assert len(Setting.build(allowed, dataset, 0).names) == 2
