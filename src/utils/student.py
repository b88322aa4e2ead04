"""Student's t, for intervals of the mean of few values."""

from __future__ import annotations

import math
import statistics

NORMAL = statistics.NormalDist().inv_cdf(0.975)  # what the quantile is with very many values, 1.96
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622)  # of 1 to 9 degrees of freedom


def student_quantile(freedom: int) -> float:
    """Quantile 0.975 of Student's t, for 95 % intervals.

    freedom: degrees of freedom, at least 1. Above nine of them by Fisher's expansion, to 0.0002.
    """
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))
