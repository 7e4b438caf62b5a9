"""Statistics of a few seeds. Numbers in, numbers out.

`scipy.stats` takes half the time of a report to import, so what the report needs stands on
`scipy.special`; tests hold each result against `scipy.stats`.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence

import numpy as np
from scipy import special

CONFIDENCE = 0.95
LEVEL = 0.05
POWER = 0.8
MARGIN = 0.1
"""Points below which two accuracies count as equal: ten of the 10,000 test images."""

ENOUGH_PAIRS = 6
"""Pairs from which on the bootstrap and the sign-flip test are used.

The smallest two-sided p value of a sign-flip test is 2 / 2**n: five pairs cannot reach 0.05. And
resampling so few values gives "95 %" intervals that are too narrow: simulated with normal
differences, BCa covers the truth in 71 % of cases at n = 3, 86 % at 6 and 90 % at 10. So below six
pairs interval and test are Student's.
"""

_RESAMPLES = 9999
_EXACT_PAIRS = 20
"""Pairs up to which all 2**n sign patterns are counted."""


@dataclasses.dataclass(frozen=True)
class Sample:
    """Mean and spread of n runs of one setting, in the unit of the values.

    `deviation` has n - 1 in the denominator. `low` and `high` are the ends of the 95 % t interval
    of the mean, `mean -+ t s / sqrt(n)`; `prediction_low` and `prediction_high` those of the 95 %
    prediction interval, `mean -+ t s sqrt(1 + 1/n)`, with which one more run is compared. NaN:
    `mean` without runs, the others below 2 runs.
    """

    n: int
    mean: float = math.nan
    deviation: float = math.nan
    low: float = math.nan
    high: float = math.nan
    prediction_low: float = math.nan
    prediction_high: float = math.nan

    @property
    def margin(self) -> float:
        """Half the width of the interval of the mean."""
        return (self.high - self.low) / 2


def summarise(values: Sequence[float]) -> Sample:
    """Compute mean, spread and intervals of one number per run."""
    values, n = np.asarray(values, float), len(values)
    if n == 0:
        return Sample(0)
    mean = float(values.mean())
    if n == 1:
        return Sample(1, mean)
    deviation = float(values.std(ddof=1))
    reach = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * deviation
    of_mean, of_one = reach / math.sqrt(n), reach * math.sqrt(1 + 1 / n)
    return Sample(n, mean, deviation, mean - of_mean, mean + of_mean, mean - of_one, mean + of_one)


@dataclasses.dataclass(frozen=True)
class Difference:
    """Mean of n paired differences and its tests, in the unit of the differences.

    Attributes:
        n: Number of pairs.
        mean: Mean difference; NaN without pairs.
        deviation: Standard deviation of the differences; this and the rest are NaN below 2 pairs.
        low: Lower end of the 95 % interval of the mean: BCa bootstrap, below 6 pairs t.
        high: Upper end.
        p_value: Of the two-sided sign-flip test. Below 6 pairs it cannot reach 0.05.
    """

    n: int
    mean: float = math.nan
    deviation: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p_value: float = math.nan

    def p_below(self, bound: float) -> float:
        """p value of the one-sided t test that the true difference is below a bound.

        NaN below 2 pairs. Without spread it is 0, 1, or one half at the bound itself.
        """
        if self.n < 2:
            return math.nan
        distance = self.mean - bound
        if self.deviation == 0:
            return float(1 + np.sign(distance)) / 2
        return float(special.stdtr(self.n - 1, distance / (self.deviation / math.sqrt(self.n))))

    def p_above(self, bound: float) -> float:
        """p value of the one-sided t test that the true difference is above a bound."""
        return 1 - self.p_below(bound)

    @property
    def sign_p(self) -> float:
        """p value of "the true difference is zero", two-sided; NaN below 2 pairs.

        Of the sign-flip test, which is exact; below 6 pairs of the t test.
        """
        if self.n >= ENOUGH_PAIRS or self.n < 2:
            return self.p_value
        return min(1.0, 2 * min(self.p_below(0), self.p_above(0)))

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to lie within `MARGIN` of zero: two one-sided t tests.

        Reference:
            Schuirmann: A comparison of the two one-sided tests procedure ..., J. Pharmacokinetics
            and Biopharmaceutics 15, 1987.
        """
        return max(self.p_above(-MARGIN), self.p_below(MARGIN)) < LEVEL

    @property
    def direction(self) -> int:
        """1 if the difference is shown to be above zero, -1 if below, 0 if neither, at 0.05."""
        return self.direction_at(self.sign_p)

    def direction_at(self, p_value: float) -> int:
        """The same by a p value that was corrected for several tests."""
        return int(math.copysign(1, self.mean)) if p_value < LEVEL else 0


NO_RUNS, NO_PAIRS = Sample(0), Difference(0)


def paired_difference(differences: Sequence[float]) -> Difference:
    """Judge the mean of paired differences, one per pair; NaN is a pair that was not measured.

    Reference:
        Efron: Better bootstrap confidence intervals, JASA 82, 1987 (BCa).
    """
    values = np.asarray(differences, float)
    # Differences of fractions that are equal on paper differ in the last bit; not here.
    return _paired(tuple(np.round(values[~np.isnan(values)], 9).tolist()))


@functools.lru_cache(4096)  # one report asks for the same pairs several times
def _paired(values: tuple[float, ...]) -> Difference:
    n = len(values)
    if n < 2:
        return Difference(n, *values)
    p_value = _sign_flip(values)
    if len(set(values)) == 1:  # exactly: the mean of equal numbers may differ in the last bit
        return Difference(n, values[0], 0.0, values[0], values[0], p_value)
    sample = summarise(values)
    ends = (sample.low, sample.high) if n < ENOUGH_PAIRS else _bca_interval(np.array(values))
    return Difference(n, sample.mean, sample.deviation, *ends, p_value)


def _bca_interval(values: np.ndarray) -> tuple[float, float]:
    """What `scipy.stats.bootstrap` gives of the mean with `rng=default_rng(0)`."""
    n = len(values)
    drawn = np.random.default_rng(0).integers(0, n, (_RESAMPLES, n))
    means, mean = values[drawn].mean(axis=1), values.mean()
    below = (np.sum(means < mean) + np.sum(means <= mean)) / (2 * _RESAMPLES)
    bias, normal = special.ndtri(below), special.ndtri((1 - CONFIDENCE) / 2)
    left_out = (values.sum() - values) / (n - 1)  # the jackknife
    influence = (n - 1) * (left_out.mean() - left_out)
    skew = np.sum(influence**3) / n**3 / (6 * (np.sum(influence**2) / n**2) ** 1.5)
    shifted = bias + np.array([normal, -normal])
    ends = special.ndtr(bias + shifted / (1 - skew * shifted))
    return tuple(np.percentile(means, 100 * ends).tolist())


def _sign_flip(values: tuple[float, ...]) -> float:
    """Two-sided p value of zero: then each difference could as well have had the other sign."""
    if len(values) > _EXACT_PAIRS:
        from scipy import stats

        rng, options = np.random.default_rng(0), {"permutation_type": "samples"}
        options["n_resamples"] = _RESAMPLES
        return float(stats.permutation_test((values,), np.mean, rng=rng, **options).pvalue)
    sums = np.zeros(1)
    for value in values:
        sums = np.concatenate([sums - value, sums + value])
    return float(np.mean(np.abs(sums) >= abs(sum(values)) - 1e-9))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p values for their number. NaN is a test that was not made; it stays NaN.

    Reference:
        Holm: A simple sequentially rejective multiple test procedure, Scandinavian Journal of
        Statistics 6, 1979.
    """
    p_values = np.asarray(p_values, float)
    order = np.argsort(p_values)[: np.sum(~np.isnan(p_values))]  # NaN comes last
    factors = np.arange(len(order), 0, -1)
    corrected = np.full(len(p_values), math.nan)
    corrected[order] = np.minimum(np.maximum.accumulate(factors * p_values[order]), 1)
    return corrected.tolist()


MOST_RUNS = 1000


def runs_for_range(deviation: float, width: float) -> int | None:
    """The smallest number of runs, up to `MOST_RUNS`, with a 95 % prediction interval so wide."""
    n = np.arange(3, MOST_RUNS + 1)
    reach = special.stdtrit(n - 1, (1 + CONFIDENCE) / 2) * deviation * np.sqrt(1 + 1 / n)
    return next(iter(n[2 * reach <= width].tolist()), None)


@functools.lru_cache(4096)  # one report asks twice
def runs_needed(
    deviation: float, effect: float, *, sides: int = 2, level: float = LEVEL
) -> int | None:
    """The smallest number of pairs with which a t test at `level` has power 0.8.

    `effect` is the true difference, or its distance from the bound that is tested. With `sides` = 2
    there are enough pairs, too, for the test by sign flips, where that is the test, to reach the
    level. `None` above `MOST_RUNS`, or where the deviation is not known.
    """
    if not effect or math.isnan(deviation):
        return None
    if deviation == 0:
        return 2
    n = np.arange(2, MOST_RUNS + 1)
    critical = special.stdtrit(n - 1, 1 - level / sides)
    missed = special.nctdtr(n - 1, abs(effect) * np.sqrt(n) / deviation, critical)
    enough = missed <= 1 - POWER
    if sides == 2:
        enough &= (n < ENOUGH_PAIRS) | (2.0 ** (1 - n) <= level)
    return next(iter(n[enough].tolist()), None)
