import any_rate_dataset
import numpy as np

from clef_jax.building.clinical import Settings
from clef_jax.data import age_sex, index as index_lib


def test_the_risk_is_that_of_preparing_with_age_and_sex(mixed_dir, tmp_path):
    index = index_lib.load(index_lib.find(mixed_dir, "any_rate"), "train")
    assert np.isnan(index.risk).all()
    filled = age_sex.fill(index)
    want = any_rate_dataset.build_cohort(tmp_path, clinical=Settings(score="age_sex"))
    np.testing.assert_array_equal(filled.risk, want.risk)
    np.testing.assert_array_equal(filled.completeness, want.completeness)
    assert np.isnan(filled.risk).sum() == 2
    assert len(np.unique(filled.risk)) > 30
    assert age_sex.fill(want) is want


def test_a_data_set_without_age_and_sex_stays_as_it_is(tmp_path):
    signal = any_rate_dataset.ecg(0, 3.0, 300.0)
    index = any_rate_dataset.build(tmp_path, {"a": (signal, 300.0), "b": (signal, 300.0)})
    assert age_sex.fill(index) is index
