import math

import numpy as np
import pytest
from scipy import stats

from mnist_attention.evidence import statistics
from mnist_attention.evidence.statistics import (
    paired_difference,
    summarise,
)


def test_a_sample_computed_by_hand():
    sample = summarise([1, 2, 3])
    assert (sample.n, sample.mean, sample.deviation) == (3, 2, 1)
    # t(0.975, 2) = 4.302653, so the interval is 2 -+ 4.302653 / sqrt(3).
    assert (sample.low, sample.high) == pytest.approx((-0.484138, 4.484138), abs=1e-6)
    assert (sample.prediction_low, sample.prediction_high) == pytest.approx(
        (-2.968276, 6.968276), abs=1e-6
    )
    assert sample.margin == pytest.approx(2.484138, abs=1e-6)


def test_a_sample_agrees_with_scipy():
    values = np.random.default_rng(0).normal(98, 0.1, 10)
    interval = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    sample = summarise(values)
    assert (sample.low, sample.high) == pytest.approx(tuple(interval))


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert summarise([98.5]).mean == 98.5
    assert math.isnan(summarise([98.5]).low)
    assert math.isnan(summarise([]).mean)
    assert summarise([98.5, 98.5]).margin == 0


def simulate(repeats: int, n: int, seed: int, mean: float = 0.0) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 0.08, (repeats, n))


@pytest.mark.parametrize("n", [3, 10])
def test_the_interval_of_the_mean_holds_the_truth_95_times_in_100(n):
    samples = [summarise(values) for values in simulate(2000, n, seed=1)]
    coverage = np.mean([sample.low <= 0 <= sample.high for sample in samples])
    assert coverage == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("n", [3, 10])
def test_one_more_run_falls_in_its_range_95_times_in_100(n):
    values = simulate(2000, n + 1, seed=2)
    samples = [summarise(row[:-1]) for row in values]
    inside = [
        s.prediction_low <= row[-1] <= s.prediction_high
        for s, row in zip(samples, values, strict=True)
    ]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.015)


def test_a_difference_agrees_with_scipy():
    values = np.round(simulate(1, 10, seed=3, mean=0.05)[0], 9)
    found = paired_difference(values)
    below = stats.ttest_1samp(values, 0.1, alternative="less").pvalue
    above = stats.ttest_1samp(values, -0.1, alternative="greater").pvalue
    assert (found.p_below(0.1), found.p_above(-0.1)) == pytest.approx((below, above))
    assert found.equivalent == (max(below, above) < 0.05)


def test_the_sign_flip_test_by_hand():
    # All of six differences are positive: 2 of the 64 sign patterns are as far from zero.
    assert paired_difference([1, 2, 3, 4, 5, 6]).p_value == pytest.approx(2 / 64)
    # Of the patterns of (1, 1, -1): 8 of 8 have a mean of at least 1/3 in size.
    assert paired_difference([1, 1, -1]).p_value == 1


@pytest.mark.parametrize("n", [6, 7, 20, 21])
def test_tests_and_intervals_are_those_of_scipy(n):
    values = np.round(np.random.default_rng(n).normal(0.05, 0.1, n), 9)
    found = paired_difference(values)
    bootstrap = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(0))
    assert (found.low, found.high) == pytest.approx(tuple(bootstrap.confidence_interval))
    flips = 2**n if n < 10 else 20_000
    options = {"permutation_type": "samples", "n_resamples": flips, "rng": 1}
    permuted = stats.permutation_test((values,), np.mean, **options)
    assert found.p_value == pytest.approx(permuted.pvalue, abs=1e-9 if n < 10 else 0.02)


def test_below_six_pairs_the_sign_is_tested_by_students_t():
    values = [0.1, 0.3, 0.2, 0.25]
    assert paired_difference(values).sign_p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    six = paired_difference([1, 2, 3, 4, 5, 6])
    assert six.sign_p == six.p_value
    assert paired_difference([0.2, 0.2, 0.2]).sign_p == 0
    assert paired_difference([0, 0, 0]).sign_p == 1
    assert math.isnan(paired_difference([0.2]).sign_p)  # so Holm does not count it


def test_holm_by_hand():
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1, 1]
    corrected = statistics.holm([0.02, math.nan, 0.01])
    assert (corrected[0], corrected[2]) == pytest.approx((0.02, 0.02))
    assert math.isnan(corrected[1])
    assert statistics.holm([]) == []


def test_holm_errs_5_times_in_100_among_nine_equals():
    p_values = np.random.default_rng(0).uniform(size=(2000, 9))
    found = [min(statistics.holm(row)) < 0.05 for row in p_values]
    assert np.mean(found) == pytest.approx(0.05, abs=0.015)


def test_runs_needed_have_the_power():
    n = statistics.runs_needed(0.14, 0.1)
    differences = np.random.default_rng(6).normal(0.1, 0.14, (4000, n))
    p_values = stats.ttest_1samp(differences, 0, axis=1).pvalue
    assert np.mean(p_values < 0.05) == pytest.approx(0.8, abs=0.03)
    assert statistics.runs_needed(0.14, 0.1, sides=1) < n
    assert statistics.runs_needed(0.14, -0.1) == n
    assert statistics.runs_needed(0, 0.1) == 2
    assert statistics.runs_needed(10, 0.1) is None
    assert statistics.runs_needed(math.nan, 0.1) is None
    assert statistics.runs_needed(0.1, 0) is None


def test_runs_needed_can_reach_the_level_by_sign_flips():
    # Of n pairs of one sign the exact p value is 2 / 2**n.
    assert statistics.runs_needed(0.01, 1, level=0.05 / 25) == 3  # by the t test
    assert statistics.runs_needed(0.7, 1, level=0.05 / 25) > 10
    needed = statistics.runs_needed(0.45, 1, level=0.05 / 25)
    assert needed == 10  # not 8, which the t test asks for
    assert (
        paired_difference([1.0] * needed).p_value
        <= 0.05 / 25
        < paired_difference([1.0] * 9).p_value
    )
    assert statistics.runs_needed(0.45, 1, sides=1, level=0.05 / 25) < needed


def test_the_same_pairs_are_resampled_once(monkeypatch):
    values = [0.11, 0.12, 0.13, 0.1, 0.2, 0.3, 0.4]
    first = paired_difference(values)
    monkeypatch.setattr(statistics, "_bca_interval", None)
    assert paired_difference(np.array(values)) is first


def test_the_sign_flip_test_finds_what_is_not_there_5_times_in_100():
    found = [paired_difference(values).direction != 0 for values in simulate(300, 8, seed=4)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.025)


@pytest.mark.parametrize(("n", "expected"), [(3, 0.95), (10, 0.90)])
def test_the_interval_of_a_difference_holds_the_truth(n, expected):
    found = [paired_difference(values) for values in simulate(400, n, seed=5, mean=0.03)]
    coverage = np.mean([each.low <= 0.03 <= each.high for each in found])
    # The bootstrap of ten values is known to be somewhat too narrow; at three it would be 0.71.
    assert coverage == pytest.approx(expected, abs=0.03)


def test_the_pairs_needed_of_a_textbook_case():
    # 34 pairs find half a standard deviation with power 0.8 (Cohen 1988, Table 2.4.1).
    assert statistics.runs_needed(1, 0.5) == 34


def test_equivalence_is_shown_5_times_in_100_at_the_edge_and_always_at_zero():
    at_edge = [paired_difference(values) for values in simulate(300, 5, seed=7, mean=0.1)]
    assert np.mean([each.equivalent for each in at_edge]) == pytest.approx(0.05, abs=0.025)
    assert paired_difference([0.01, -0.01, 0.02, -0.02, 0]).equivalent
    assert not paired_difference([0.01, -0.01, 0.02, -0.02, 0.9]).equivalent


def test_a_bound_that_is_the_truth_is_passed_25_times_in_1000_on_either_side():
    found = [paired_difference(values) for values in simulate(2000, 5, seed=8, mean=0.1)]
    for p_values in ([each.p_below(0.1) for each in found], [each.p_above(0.1) for each in found]):
        assert np.mean(np.array(p_values) < 0.025) == pytest.approx(0.025, abs=0.01)


def test_an_end_of_the_t_interval_is_where_the_one_sided_test_turns():
    found = paired_difference([0.1, 0.3, 0.2, 0.25])
    assert found.p_below(found.high) == pytest.approx(0.025)
    assert found.p_above(found.low) == pytest.approx(0.025)


def test_too_few_pairs_for_a_statement():
    assert paired_difference([]).n == 0
    one = paired_difference([0.3])
    assert one.mean == 0.3
    assert math.isnan(one.low)
    assert math.isnan(one.p_value)
    assert (one.direction, one.equivalent) == (0, False)
    assert math.isnan(one.p_below(1))
    assert math.isnan(paired_difference([]).p_above(-1))


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_below_six_pairs_no_data_reach_significance_by_flipping_signs(n):
    differences = np.arange(1, n + 1)
    assert paired_difference(differences).p_value > 0.05
    assert paired_difference(np.arange(1, statistics.ENOUGH_PAIRS + 1)).p_value < 0.05


@pytest.mark.parametrize("n", [2, 3, 6, 10])
def test_equal_differences_are_judged_by_their_mean(n):
    # 0.3 - 0.2 and 0.2 - 0.1 differ in the last bit, and so does the mean of three times 0.1.
    same = paired_difference([0.3 - 0.2, *[0.2 - 0.1] * (n - 1)])
    assert (same.mean, same.low, same.high, same.deviation) == (0.1, 0.1, 0.1, 0)
    assert (same.p_below(0.2), same.p_below(0), same.p_below(0.1)) == (0, 1, 0.5)
    assert (same.p_above(0.2), same.p_above(0), same.p_above(0.1)) == (1, 0, 0.5)
    assert not same.equivalent  # it is at the margin
    assert (same.direction, paired_difference([-0.25] * n).direction) == (1, -1)
    zero = paired_difference([0.0] * n)
    assert (zero.direction, zero.equivalent) == (0, True)


def test_the_direction_is_that_of_the_mean():
    assert paired_difference([0.3, 0.31, 0.32]).direction == 1
    assert paired_difference([-0.3, -0.31, -0.32]).direction == -1
    assert paired_difference([0.3, -0.31, 0.32]).direction == 0
    assert paired_difference([-1, -2, -3, -4, -5, -6]).direction == -1
