"""Elementary functions in plain arithmetic, for compiled loops, and the key that compiled code is kept under."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numba.extending import intrinsic

HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
LN2_HIGH, LN2_LOW, PER_LN2 = 6.93147180369123816490e-01, 1.90821492927058770002e-10, 1.0 / math.log(2.0)
"""log 2 in two parts, the first short enough for exact products."""
LAST = 1.479819860511658591e-01
"""The last coefficient of `log`'s series."""
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
LEAST_NORMAL, MOST_NORMAL = float(np.finfo(float).tiny), float(np.finfo(float).max)
TO_WHOLE, TO_WHOLE_BITS = 6755399441055744.0, 0x4338000000000000
"""1.5 2^52, and its bits: adding it rounds to a whole number, which then stands in the last bits."""

# Inlined into the loops that call them, so that those are done several at a time.
inlined = nb.njit(error_model="numpy", nogil=True, _nrt=False, forceinline=True)  # type: ignore[call-overload]


def sources_in(*places: Path) -> list[Path]:
    """This file, the files given, and those of the folders given."""
    of_folders = (sorted(place.glob("*.py")) if place.is_dir() else [place] for place in places)
    return [Path(__file__), *(path for found in of_folders for path in found)]


def digest_of_sources(*places: Path) -> int:
    """Of this file, others, and those of folders: compiled code that is kept on disk holds it in a closure, hence in its key.

    Numba itself asks for one file alone, and would run what was compiled from a former state of the others.
    """
    text = b"".join(path.read_bytes() for path in sources_in(*places))
    return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "little")


def _bits_of(typing: Any, x: Any) -> Any:
    """The 64 bits of a float as a whole number."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], context.get_value_type(types.int64))

    return types.int64(types.float64), code


def _float_of(typing: Any, bits: Any) -> Any:
    """The float of 64 bits."""

    def code(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.bitcast(given[0], context.get_value_type(types.float64))

    return types.float64(types.int64), code


bits_of: Any = intrinsic(_bits_of)
float_of: Any = intrinsic(_float_of)

# Logarithm and exponential in plain arithmetic: loops over them run four or eight at a time, which calls of the C library do not.


@inlined
def log(x: float) -> float:
    """Natural logarithm to a unit in the last place (FreeBSD's e_log.c): x = 2^k (1 + f), f about 0, s = f / (2 + f)."""
    bits = bits_of(x)
    k = (bits - SQRT_HALF_BITS) >> 52
    f = float_of(bits - (k << 52)) - 1.0
    s = f / (2.0 + f)
    z = s * s
    w = z * z
    odd = z * (6.666666666666735130e-01 + w * (2.857142874366239149e-01 + w * (1.818357216161805012e-01 + w * LAST)))
    even = w * (3.999999999940941908e-01 + w * (2.222219843214978396e-01 + w * 1.531383769920937332e-01))
    half_square, scale = 0.5 * f * f, float(k)
    found = s * (half_square + (odd + even)) + scale * LN2_LOW - half_square + f + scale * LN2_HIGH
    edge = (-math.inf if x >= 0.0 else math.nan) if x < LEAST_NORMAL else x
    return found if LEAST_NORMAL <= x <= MOST_NORMAL else edge


@inlined
def log1p(x: float) -> float:
    """log(1 + x) for x >= 0: the logarithm of the rounded sum, and what rounding took."""
    total = 1.0 + x
    return log(total) + (x - (total - 1.0)) / total


@inlined
def expm1_and_power(x: float) -> tuple[float, float]:
    """(expm1(r), 2^k) with x = k log 2 + r: ``exp = 2^k + 2^k expm1(r)``, ``expm1 = (2^k - 1) + 2^k expm1(r)``.

    Up to 709 either way, beyond which the exponential stays what it is there.
    """
    x = 709.0 if x > 709.0 else x
    x = -708.0 if x < -708.0 else x
    rounded = x * PER_LN2 + TO_WHOLE
    k = rounded - TO_WHOLE
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    # r^2/2! + ... + r^13/13!, in pairs and fours, which the processor takes side by side
    z = r * r
    w = z * z
    low = (1 / 2 + r * (1 / 6)) + z * (1 / 24 + r * (1 / 120))
    middle = (1 / 720 + r * (1 / 5040)) + z * (1 / 40320 + r * (1 / 362880))
    high = (1 / 3628800 + r * (1 / 39916800)) + z * (1 / 479001600 + r * (1 / 6227020800))
    small = r + z * (low + w * (middle + w * high))
    power = float_of((bits_of(rounded) - TO_WHOLE_BITS + 1023) << 52)
    return small, power


@inlined
def exp(x: float) -> float:
    """Exponential to two units in the last place."""
    small, power = expm1_and_power(x)
    return power + power * small


@inlined
def log_gamma_and_slope(x: float) -> tuple[float, float]:
    """log Gamma and its derivative at x > 0: Stirling's series, for a small x six steps further up.

    (Abramowitz and Stegun 6.1.41, 6.3.18 and the recurrences 6.1.15, 6.3.5.)
    """
    is_small = x < 6.0
    product, derivative = six_steps(x)
    product, derivative = (product if is_small else 1.0), (derivative if is_small else 0.0)
    x = x + (6.0 if is_small else 0.0)
    log_x, y = log(x), 1.0 / x
    rest, series = stirling(y)
    log_gamma = (x - 0.5) * log_x - x + HALF_LOG_2PI + rest
    return log_gamma - log(product), log_x - 0.5 * y - series - derivative / product


@inlined
def log_gamma_ratio_and_slopes(x: float, b: float) -> tuple[float, float, float]:
    """``log Gamma(x) - log Gamma(x + b)``, x > 0, b >= 0; the derivative of log Gamma at x, and that less the one at x + b.

    As `log_gamma_and_slope`; ``(x - 1/2) log x - (t - 1/2) log t = -(x - 1/2) log(1 + b/x) - b log t`` with t = x + b leaves
    nothing large to cancel, where x is a thousand million times b as elsewhere.
    """
    is_small = x < 6.0
    product, derivative = six_steps(x)
    product_t, derivative_t = six_steps(x + b)
    product, derivative = (product if is_small else 1.0), (derivative if is_small else 0.0)
    product_t, derivative_t = (product_t if is_small else 1.0), (derivative_t if is_small else 0.0)
    x = x + (6.0 if is_small else 0.0)
    t = x + b
    log_x, apart = log(x), log1p(b / x)
    inverse, of_products = 1.0 / (x * t), 1.0 / (product * product_t)
    y, y_t = t * inverse, x * inverse
    rest, series = stirling(y)
    rest_t, series_t = stirling(y_t)
    stirlings = (b - (x - 0.5) * apart) - b * (log_x + apart) + (rest - rest_t)
    of_product = derivative * product_t * of_products
    slope = log_x - 0.5 * y - series - of_product
    difference = -apart - 0.5 * b * inverse - (series - series_t)
    difference -= of_product - derivative_t * product * of_products
    return stirlings + log(product_t * product_t * of_products), slope, difference


@inlined
def six_steps(x: float) -> tuple[float, float]:
    """``x (x+1) ... (x+5) = v (v+4) (v+6)``, v = x (x+5), and its derivative."""
    v = x * (x + 5.0)
    return v * (v + 4.0) * (v + 6.0), (3.0 * v * v + 20.0 * v + 24.0) * (2.0 * x + 5.0)


@inlined
def ratio_of_betas(a: float, b: float, w: float) -> float:
    """``B(a + w, b) / B(a, b) = Gamma(a + w) Gamma(a + b) / (Gamma(a) Gamma(a + b + w))``, w >= 0: by Stirling's series s(x),
    six steps further up.

    ``log Gamma(x + w) - log Gamma(x) = (x - 1/2) log(1 + w/x) + w log(x + w) - w + s(x + w) - s(x)`` leaves nothing large to
    cancel; of x and y = x + b together, ``w log((x + w) / (y + w)) = -w log(1 + b/(x + w))``.
    """
    x, y = a + 6.0, a + b + 6.0
    x_w, y_w = x + w, y + w
    of_x, of_y = 1.0 / (x * x_w), 1.0 / (y * y_w)
    inverse_x, inverse_y = of_x * x_w, of_y * y_w
    inverse_x_w, inverse_y_w = of_x * x, of_y * y
    series = (stirling(inverse_x_w)[0] - stirling(inverse_x)[0]) - (stirling(inverse_y_w)[0] - stirling(inverse_y)[0])
    logs = (x - 0.5) * log1p(w * inverse_x) - (y - 0.5) * log1p(w * inverse_y) - w * log1p(b * inverse_x_w)
    steps = six_steps(a)[0] * six_steps(a + b + w)[0] / (six_steps(a + w)[0] * six_steps(a + b)[0])
    return steps * exp(logs + series)


@inlined
def stirling(y: float) -> tuple[float, float]:
    """The series in y = 1 / x of log Gamma and, but for its first terms, of minus its derivative."""
    z = y * y
    w = z * z
    rest = (1 / 12 - z * (1 / 360)) + w * (1 / 1260 - z * (1 / 1680))
    rest += w * w * ((1 / 1188 - z * (691 / 360360)) + w * (1 / 156))
    series = (1 / 12 - z * (1 / 120)) + w * (1 / 252 - z * (1 / 240))
    series += w * w * ((1 / 132 - z * (691 / 32760)) + w * (1 / 12))
    return y * rest, z * series


@inlined
def log1p_exp(x: float) -> float:
    """``log(1 + e^x)`` without overflow."""
    return (x if x > 0.0 else 0.0) + log1p(exp(-abs(x)))


@inlined
def logistic(x: float) -> float:
    """``1 / (1 + e^-x)`` without overflow."""
    small = exp(-abs(x))
    return 1.0 / (1.0 + small) if x >= 0.0 else small / (1.0 + small)
