"""How sure a handful of seeds can make us. Numbers in, numbers out; SciPy does the work."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from scipy import special, stats

CONFIDENCE = 0.95
POWER = 0.8
ONE_SIDE = (1 - CONFIDENCE) / 2
"""Level of a one-sided test that agrees with an end of the two-sided interval."""
MARGIN = 0.1
"""Points below which two accuracies count as equal: ten of the 10,000 test images."""

ENOUGH_PAIRS = 6
"""Pairs from which on the bootstrap and the sign-flip test are used.

The smallest two-sided p value of a sign-flip test is 2 / 2**n: five pairs cannot reach 0.05. And
resampling so few values gives "95 %" intervals that are too narrow: simulated with normal
differences, BCa holds the truth in 71 % of cases at n = 3, 86 % at 6 and 90 % at 10. So below six
pairs the interval is Student's, and nothing is judged by the bootstrap: a direction is read off the
sign-flip test, and a bound off a one-sided t test.
"""


@dataclasses.dataclass(frozen=True)
class Sample:
    """What n runs of one setting say about it. Units are those of the values.

    Attributes:
        n: Number of runs.
        mean: Their mean; NaN without runs.
        deviation: Standard deviation between runs (n - 1 in the denominator); NaN below 2 runs.
        low: Lower end of the 95 % t interval of the mean; NaN below 2 runs.
        high: Upper end.
        prediction_low: Lower end of the 95 % prediction interval, of one more run.
        prediction_high: Upper end.
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
    """Mean, spread and interval of the runs of one setting.

    Args:
        values: One number per run.

    Returns:
        See `Sample`. The interval of the mean is `mean -+ t s / sqrt(n)`; the prediction interval,
        against which a single published number is held, is `mean -+ t s sqrt(1 + 1/n)`.
    """
    values = np.asarray(values, float)
    n = len(values)
    if n == 0:
        return Sample(0)
    mean = float(values.mean())
    if n == 1:
        return Sample(1, mean)
    deviation = float(values.std(ddof=1))
    reach = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * deviation
    of_mean, of_one = reach / math.sqrt(n), reach * math.sqrt(1 + 1 / n)
    return Sample(n, mean, deviation, mean - of_mean, mean + of_mean, mean - of_one, mean + of_one)


def rounded(*values: float, digits: int = 2) -> tuple[float, ...]:
    """Values as they are printed; -0.0 becomes 0.0, as the sign of a rounded nil means nothing."""
    return tuple(round(value, digits) + 0.0 for value in values)


def with_interval(mean: float, low: float, high: float, digits: int = 2, unit: str = "") -> str:
    """A difference in print: "+0.04 [-0.02, 0.11]", without the brackets where the ends are NaN.

    An end near nil gets up to two digits more: on which side of nil it is must be seen.
    """
    most = digits + 2
    while digits < most and any(end and round(end, digits) == 0 for end in (low, high)):
        digits += 1
    mean, low, high = rounded(mean, low, high, digits=digits)
    interval = "" if math.isnan(low) else f" [{low:.{digits}f}, {high:.{digits}f}]"
    return f"{mean:+.{digits}f}{unit}{interval}"


@dataclasses.dataclass(frozen=True)
class Difference:
    """What n pairs say about a difference. Units are those of the differences.

    Attributes:
        n: Number of pairs.
        mean: Mean difference; NaN without pairs.
        deviation: Standard deviation of the differences; NaN below 2 pairs.
        low: Lower end of the 95 % interval of the mean; NaN below 2 pairs.
        high: Upper end.
        method: How the interval was made: "BCa bootstrap", "t" (below 6 pairs), or "" (none).
        p_value: Of the two-sided sign-flip test; NaN below 2 pairs. Below 6 pairs it cannot
            reach 0.05, whatever the data.
        detectable: Smallest true difference that these n pairs would have found significant
            with probability 0.8; NaN below 2 pairs or without spread.
    """

    n: int
    mean: float = math.nan
    deviation: float = math.nan
    low: float = math.nan
    high: float = math.nan
    method: str = ""
    p_value: float = math.nan
    detectable: float = math.nan

    def p_below(self, bound: float) -> float:
        """p value of the one-sided t test that the true difference is below a bound.

        Small if it is shown to be; NaN below 2 pairs. Without spread it is the mean's: 0, 1, or
        one half at the bound itself.
        """
        return float(stats.t.cdf(self._distance(bound), self.n - 1))

    def p_above(self, bound: float) -> float:
        """p value of the one-sided t test that the true difference is above a bound."""
        return float(stats.t.sf(self._distance(bound), self.n - 1))

    def _distance(self, bound: float) -> float:
        """From a bound to the mean, in standard errors of the mean."""
        distance = self.mean - bound
        if self.n > 1 and self.deviation == 0:
            return math.copysign(math.inf, distance) if distance else 0.0
        return distance / (self.deviation / math.sqrt(self.n)) if self.n else math.nan

    @property
    def equivalence(self) -> float:
        """p value of the two one-sided t tests (TOST) that the true difference is within `MARGIN`.

        Reference:
            Schuirmann: A comparison of the two one-sided tests procedure ..., J. Pharmacokinetics
            and Biopharmaceutics 15, 1987.
        """
        return max(self.p_above(-MARGIN), self.p_below(MARGIN))

    @property
    def equivalent(self) -> bool:
        """Whether the difference is shown to lie within `MARGIN` of nil."""
        return self.equivalence < 1 - CONFIDENCE

    @property
    def direction(self) -> int:
        """1 if the difference is shown to be above nil, -1 if below, 0 if neither, at level 0.05.

        By the sign-flip test, which is exact; below 6 pairs by the t interval.
        """
        if self.n >= ENOUGH_PAIRS:
            shown = self.p_value < 1 - CONFIDENCE
        else:
            shown = self.low > 0 or self.high < 0
        return int(math.copysign(1, self.mean)) if shown else 0


def paired_difference(differences: Sequence[float]) -> Difference:
    """Judge the mean of paired differences.

    Args:
        differences: One number per pair.

    Returns:
        See `Difference`.

    Reference:
        Efron: Better bootstrap confidence intervals, JASA 82, 1987 (BCa).
    """
    # Differences of fractions that are equal on paper differ in the last bit; not here.
    values = np.round(np.asarray(differences, float), 9)
    n = len(values)
    if n < 2:
        return Difference(n, *map(float, values))
    if np.ptp(values) == 0:  # said exactly: the mean of equal numbers may differ from them a little
        same = float(values[0])
        return Difference(n, same, 0.0, same, same, "t", _sign_flip(values))
    sample = summarise(values)
    low, high, method = sample.low, sample.high, "t"
    if n >= ENOUGH_PAIRS:
        low, high = _bca_interval(values)
        method = "BCa bootstrap"
    return Difference(
        n=n,
        mean=sample.mean,
        deviation=sample.deviation,
        low=low,
        high=high,
        method=method,
        p_value=_sign_flip(values),
        detectable=detectable_difference(sample.deviation, n),
    )


def _bca_interval(values: np.ndarray) -> tuple[float, float]:
    interval = stats.bootstrap(
        (values,),
        np.mean,
        confidence_level=CONFIDENCE,
        method="BCa",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _sign_flip(values: np.ndarray) -> float:
    """Two-sided p value of nil: then each difference could as well have had the other sign."""
    test = stats.permutation_test(
        (values,),
        lambda flipped, axis: np.mean(flipped, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=9999,  # every one of the 2**n sign patterns where those are fewer
        rng=np.random.default_rng(0),
    )
    return float(test.pvalue)


def detectable_difference(deviation: float, n: int) -> float:
    """The smallest true difference that a paired t test finds with power 0.8 at level 0.05.

    Args:
        deviation: Standard deviation of the differences.
        n: Number of pairs, at least 2.

    Returns:
        `d` such that T, noncentral t with n - 1 degrees of freedom and noncentrality
        `d sqrt(n) / deviation`, satisfies `P(T > critical value) = 0.8`.
    """
    critical = stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)
    # P(T < -critical) is left out: below 1e-4 where P(T > critical) is 0.8.
    noncentrality = special.nctdtrinc(n - 1, 1 - POWER, critical)
    return float(noncentrality) * deviation / math.sqrt(n)


@dataclasses.dataclass(frozen=True)
class McNemar:
    """Two trained nets on the same images. It is about these two nets, not about their kinds.

    Attributes:
        only_first: Images that only the first net gets right.
        only_second: Images that only the second net gets right.
        p_value: Exact two-sided p value of "either is as likely".
    """

    only_first: int
    only_second: int
    p_value: float


def mcnemar(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> McNemar:
    """McNemar's exact test on two nets' predictions.

    Args:
        first: Classes that the first net predicts, shape `(n,)`.
        second: Classes that the second net predicts, shape `(n,)`.
        labels: True classes, shape `(n,)`.

    Raises:
        ValueError: if the shapes differ.

    Reference:
        McNemar: Note on the sampling error of the difference between correlated proportions,
        Psychometrika 12, 1947.
    """
    if not first.shape == second.shape == labels.shape:
        raise ValueError(
            "Expected as many predictions as labels. Received: shapes "
            f"{first.shape}, {second.shape}, labels {labels.shape}"
        )
    only_first = int(np.sum((first == labels) & (second != labels)))
    only_second = int(np.sum((first != labels) & (second == labels)))
    disagreements = only_first + only_second
    p_value = stats.binomtest(only_first, disagreements).pvalue if disagreements else 1.0
    return McNemar(only_first, only_second, float(p_value))
