"""Counter-based random numbers, keyed by (seed, line, draw).

The generator is Philox4x32-10 (Salmon, Moraes, Dror, Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3"):
block ``i`` of a stream is a pure function of its key and its counter, so a result cannot depend on row order, batch
size, number of threads or engine.  Here the key is the line's 64-bit hash and the 128-bit counter is
``(block, draw, seed low, seed high)``.

Normal and exponential numbers come from ziggurats (Marsaglia and Tsang 2000, "The ziggurat method for generating random
variables"), with the layer, the sign and the place in the layer from separate bits of one 64-bit word (Doornik 2005).

A stream's position lives in a small ``uint64`` array, so that the same functions run compiled and as plain Python
(``NUMBA_DISABLE_JIT=1`` or ``function.py_func``).
"""

import math
from collections.abc import Callable
from typing import Any

import numba as nb
import numpy as np
from numba import types
from numba.extending import lower_builtin, type_callable
from numpy.typing import NDArray

# Without Numba's reference counts: an atomic add for every array passed to a function took more than half of the kernel's
# time.  Compiled functions therefore make no arrays; they are given theirs.  And inlined: an array is passed as seven numbers,
# which took a third of what was left.
# No cache: what is kept is the machine code of the entry points, see `kernel`.
jit = nb.njit(error_model="numpy", nogil=True, _nrt=False, forceinline=True)  # type: ignore[call-overload]

# Steps that have one caller, put into it before it is compiled: every layer of calls is else compiled again with all below it.
part = nb.njit(error_model="numpy", nogil=True, _nrt=False, inline="always")  # type: ignore[call-overload]
# Larger functions that are called seldom stay on their own, which must be said: what is left out is taken over from the caller.
outside = nb.njit(error_model="numpy", nogil=True, _nrt=False, forceinline=False)  # type: ignore[call-overload]


def seldom() -> None:
    """Tell the compiler that the function that begins with this is called seldom: the ways to its calls are kept clear."""


@type_callable(seldom)  # type: ignore[untyped-decorator]
def _type_of_seldom(context: Any) -> Any:
    return lambda: types.none


@lower_builtin(seldom)  # type: ignore[untyped-decorator]
def _code_of_seldom(context: Any, builder: Any, signature: Any, given: Any) -> Any:
    builder.function.attributes.add("cold")
    return context.get_dummy_value()


_LOW32 = np.uint64(0xFFFFFFFF)
_SHIFT32 = np.uint64(32)
_SHIFT12 = np.uint64(12)
_MULTIPLY_0, _MULTIPLY_1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL_0, _WEYL_1 = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LAYER, _SIGN = np.uint64(0xFF), np.uint64(0x100)
_TO_UNIT = 1.0 / 4503599627370496.0  # 2^-52
_SQRT_HALF = math.sqrt(0.5)
LEAST_PLAIN_SHAPE = 0.1
"""Above it a gamma number is at least 2^(-53 / .1), far from underflow."""
LOW_EDGE = -1.0
"""Of a truncated normal: below it at least 84 of 100 normal numbers are accepted."""

# Slots of a stream: key words, counter words, how many of the words at hand are used, and these words: `BLOCKS` blocks of the
# generator are made at a time, which the processor does side by side.
KEY_0, KEY_1, BLOCK, DRAW, SEED_LOW, SEED_HIGH, USED, WORDS = range(8)
BLOCKS = 8
N_WORDS = 2 * BLOCKS
STREAM_SLOTS = WORDS + N_WORDS

EVENTS_BLOCK = 2**31
"""Block of a line's stream at which the numbers of its events begin; those of its decisions begin with the first."""
PLANNED_BLOCK, PLANNED_DAYS, BLOCKS_A_DAY = 3 * 2**30, 2**14, 2**16
"""Block at which those begin that only a planned renewal asks for, those of each day apart."""

LAYERS = 256
NORMAL_EDGE, NORMAL_AREA = 3.6541528853610088, 4.92867323399e-3
EXPONENTIAL_EDGE, EXPONENTIAL_AREA = 7.69711747013104972, 3.9496598225815571993e-3


def ziggurat(
    edge: float, area: float, density: Callable[[float], float], inverse: Callable[[float], float]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Layers of equal ``area`` under a falling density, the lowest with the tail beyond ``edge`` (Marsaglia and Tsang 2000b).

    Width of each layer a 52-bit step, the number of steps below which all of it is under the density, and the density at
    its right end (for the lowest at 0).
    """
    right = np.empty(LAYERS)
    right[0], right[-1] = area / density(edge), edge
    for layer in range(LAYERS - 2, 0, -1):
        right[layer] = inverse(area / right[layer + 1] + density(right[layer + 1]))
    inner = np.concatenate(([edge, 0.0], right[1:-1]))
    heights = np.array([density(0.0), *(density(x) for x in right[1:])])
    return right * _TO_UNIT, np.floor(inner / right / _TO_UNIT), heights


NORMAL_STEP, NORMAL_SURE, NORMAL_HEIGHT = ziggurat(
    NORMAL_EDGE, NORMAL_AREA, lambda x: math.exp(-0.5 * x * x), lambda y: math.sqrt(-2.0 * math.log(y))
)
EXPONENTIAL_STEP, EXPONENTIAL_SURE, EXPONENTIAL_HEIGHT = ziggurat(
    EXPONENTIAL_EDGE, EXPONENTIAL_AREA, lambda x: math.exp(-x), lambda y: -math.log(y)
)


@jit
def nth(place: int) -> np.uint64:
    """A place in an array, never negative: compiled code need not ask whether it counts from the end, a fifteenth of its time."""
    return np.uint64(place)


@jit
def philox_round(
    x0: np.uint64, x1: np.uint64, x2: np.uint64, x3: np.uint64, key_0: np.uint64, key_1: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64, np.uint64, np.uint64]:
    """One round of Philox4x32 on a block's four 32-bit words, and the keys of the next."""
    product_0, product_1 = _MULTIPLY_0 * x0, _MULTIPLY_1 * x2
    y0, y2 = (product_1 >> _SHIFT32) ^ x1 ^ key_0, (product_0 >> _SHIFT32) ^ x3 ^ key_1
    return y0, product_1 & _LOW32, y2, product_0 & _LOW32, (key_0 + _WEYL_0) & _LOW32, (key_1 + _WEYL_1) & _LOW32


@jit
def next_blocks(stream: NDArray[np.uint64]) -> None:
    """Make the next `BLOCKS` blocks of a stream: first the lower words of each, then the upper."""
    block, draw = stream[BLOCK], stream[DRAW] & _LOW32  # words of 32 bits, and the compiler is to know it
    seed_low, seed_high = stream[SEED_LOW] & _LOW32, stream[SEED_HIGH] & _LOW32
    key_0, key_1 = stream[KEY_0] & _LOW32, stream[KEY_1] & _LOW32
    for lane in range(BLOCKS):
        x0, x1, x2, x3, k0, k1 = (block + np.uint64(lane)) & _LOW32, draw, seed_low, seed_high, key_0, key_1
        # Ten rounds, written out: with a loop in a loop, or behind a call, the blocks are made one after another.
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        x0, x1, x2, x3, k0, k1 = philox_round(x0, x1, x2, x3, k0, k1)
        stream[WORDS + lane] = (x1 << _SHIFT32) | x0
        stream[WORDS + BLOCKS + lane] = (x3 << _SHIFT32) | x2
    stream[BLOCK] = block + np.uint64(BLOCKS)
    stream[USED] = 0


@jit
def start_stream(stream: NDArray[np.uint64], line_key: int, seed: int, draw: int, first_block: int = 0) -> None:
    """Put ``stream`` at the beginning of the stream of one line and one draw, or at a later block of it."""
    key = np.uint64(line_key)
    wide_seed = np.uint64(seed)
    stream[KEY_0] = key & _LOW32
    stream[KEY_1] = key >> _SHIFT32
    stream[BLOCK] = np.uint64(first_block)
    stream[DRAW] = np.uint64(draw)
    stream[SEED_LOW] = wide_seed & _LOW32
    stream[SEED_HIGH] = wide_seed >> _SHIFT32
    next_blocks(stream)


@jit
def turn_aside(stream: NDArray[np.uint64], first_block: int) -> tuple[np.int64, np.int64]:
    """Go to another block of the same stream; returns where it was, for `turn_back`."""
    block, used = np.int64(stream[BLOCK]), np.int64(stream[USED])
    stream[BLOCK] = np.uint64(first_block)
    next_blocks(stream)
    return block, used


@jit
def turn_back(stream: NDArray[np.uint64], left: tuple[np.int64, np.int64]) -> None:
    """Go on where `turn_aside` left the stream."""
    stream[BLOCK] = np.uint64(left[0] - BLOCKS)
    next_blocks(stream)
    stream[USED] = np.uint64(left[1])


@outside
def refill(stream: NDArray[np.uint64]) -> None:
    """`next_blocks` for a stream that has run out, which few do."""
    seldom()
    next_blocks(stream)


@jit
def next_bits(stream: NDArray[np.uint64]) -> np.uint64:
    """The next 64 random bits of a stream."""
    if stream[USED] == N_WORDS:
        refill(stream)
    used = np.int64(stream[USED])
    stream[USED] = used + 1
    return stream[WORDS + used]


@jit
def uniform(stream: NDArray[np.uint64]) -> float:
    """A uniform number strictly between 0 and 1: the middle of one of 2^52 cells (of 2^53 the last would round to 1)."""
    return (float(next_bits(stream) >> _SHIFT12) + 0.5) * _TO_UNIT


@jit
def exponential(stream: NDArray[np.uint64]) -> float:
    """A standard exponential waiting time, by its ziggurat: in 98.9% of cases a multiplication and a comparison."""
    while True:
        bits = next_bits(stream)
        layer = np.int64(bits & _LAYER)
        steps = float(bits >> _SHIFT12)
        x = steps * EXPONENTIAL_STEP[layer]
        if steps < EXPONENTIAL_SURE[layer]:
            return x
        x = unsure_exponential(stream, layer, x)
        if x >= 0.0:
            return x


@outside
def unsure_exponential(stream: NDArray[np.uint64], layer: int, x: float) -> float:
    """What becomes of a point near a layer's end: ``x`` if it is under the density, −1 if not; in the tail, a new one."""
    seldom()
    if layer == 0:
        return EXPONENTIAL_EDGE - math.log(uniform(stream))
    above = EXPONENTIAL_HEIGHT[layer - 1] - EXPONENTIAL_HEIGHT[layer]
    return x if EXPONENTIAL_HEIGHT[layer] + above * uniform(stream) < math.exp(-x) else -1.0


@jit
def normal(stream: NDArray[np.uint64]) -> float:
    """A standard normal number, by its ziggurat; the tail as Marsaglia (1964)."""
    while True:
        bits = next_bits(stream)
        layer = np.int64(bits & _LAYER)
        steps = float(bits >> _SHIFT12)
        x = steps * NORMAL_STEP[layer]
        if steps >= NORMAL_SURE[layer]:
            x = unsure_normal(stream, layer, x)
            if x < 0.0:
                continue
        return -x if bits & _SIGN else x


@outside
def unsure_normal(stream: NDArray[np.uint64], layer: int, x: float) -> float:
    """What becomes of a point near a layer's end: ``x`` if it is under the density, −1 if not; in the tail, a new one."""
    seldom()
    if layer == 0:
        while True:
            beyond = -math.log(uniform(stream)) / NORMAL_EDGE
            if -2.0 * math.log(uniform(stream)) > beyond * beyond:
                return NORMAL_EDGE + beyond
    above = NORMAL_HEIGHT[layer - 1] - NORMAL_HEIGHT[layer]
    return x if NORMAL_HEIGHT[layer] + above * uniform(stream) < math.exp(-0.5 * x * x) else -1.0


@jit
def normal_quantile(p: float) -> float:
    """Standard normal quantile, algorithm AS 241 (Wichura 1988), relative error about 1e-16."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        return (
            q
            * (
                ((((((2509.0809287301226727 * r + 33430.575583588128105) * r + 67265.770927008700853) * r
                + 45921.953931549871457) * r + 13731.693765509461125) * r + 1971.5909503065514427) * r
                + 133.14166789178437745) * r + 3.387132872796366608
            )
            / (
                ((((((5226.495278852545925 * r + 28729.085735721942674) * r + 39307.89580009271061) * r
                + 21213.794301586595867) * r + 5394.1960214247511077) * r + 687.1870074920579083) * r
                + 42.313330701600911252) * r + 1.0
            )
        )  # fmt: skip
    r = math.sqrt(-math.log(min(p, 1.0 - p)))
    if r <= 5.0:
        r -= 1.6
        value = (
            ((((((7.7454501427834140764e-4 * r + 0.0227238449892691845833) * r + 0.24178072517745061177) * r
            + 1.27045825245236838258) * r + 3.64784832476320460504) * r + 5.7694972214606914055) * r
            + 4.6303378461565452959) * r + 1.42343711074968357734
        ) / (
            ((((((1.05075007164441684324e-9 * r + 5.475938084995344946e-4) * r + 0.0151986665636164571966) * r
            + 0.14810397642748007459) * r + 0.68976733498510000455) * r + 1.6763848301838038494) * r
            + 2.05319162663775882187) * r + 1.0
        )  # fmt: skip
    else:
        r -= 5.0
        value = (
            ((((((2.01033439929228813265e-7 * r + 2.71155556874348757815e-5) * r + 0.0012426609473880784386) * r
            + 0.026532189526576123093) * r + 0.29656057182850489123) * r + 1.7848265399172913358) * r
            + 5.4637849111641143699) * r + 6.6579046435011037772
        ) / (
            ((((((2.04426310338993978564e-15 * r + 1.4215117583164458887e-7) * r + 1.8463183175100546818e-5) * r
            + 7.868691311456132591e-4) * r + 0.0148753612908506148525) * r + 0.13692988092273580531) * r
            + 0.59983220655588793769) * r + 1.0
        )  # fmt: skip
    return -value if q < 0.0 else value


@jit
def normal_beyond(stream: NDArray[np.uint64], edge: float) -> float:
    """A standard normal number given that it exceeds ``edge``.

    Where most do, the first that does.  Else by inversion of the upper tail, Z = −Φ⁻¹(U Φ(−edge)); for an edge of 30, where Φ is
    nearly too small for a double, the tail's limit Z² = edge² − 2 log U.
    """
    if edge < LOW_EDGE:
        x = normal(stream)
        while x <= edge:
            x = normal(stream)
        return x
    u = uniform(stream)
    if edge > 30.0:
        return math.sqrt(edge * edge - 2.0 * math.log(u))
    return -normal_quantile(u * 0.5 * math.erfc(edge * _SQRT_HALF))


@jit
def log_gamma_variate(stream: NDArray[np.uint64], shape: float) -> float:
    """Logarithm of a Gamma(shape, 1) number (Marsaglia and Tsang 2000).

    In logarithms because a shape near 0 gives numbers that underflow, and a Beta from two such needs their ratio.
    For shape < 1: log G(shape) = log G(shape + 1) + log(U) / shape.
    """
    if shape < 1.0:
        return math.log(gamma_variate_large(stream, shape + 1.0)) - exponential(stream) / shape
    return math.log(gamma_variate_large(stream, shape))


@jit
def gamma_variate(stream: NDArray[np.uint64], shape: float) -> float:
    """A Gamma(shape, 1) number; 0 where it underflows. For shape < 1: G(shape) = G(shape + 1) U^(1 / shape)."""
    if shape < 1.0:
        return gamma_variate_large(stream, shape + 1.0) * math.exp(-exponential(stream) / shape)
    return gamma_variate_large(stream, shape)


@jit
def gamma_variate_large(stream: NDArray[np.uint64], shape: float) -> float:
    """`gamma_variate` for shape >= 1: accept d·v with v = (1 + x/√(9d))³, d = shape − 1/3.

    Most are accepted by the squeeze U < 1 − .0331 x⁴, which implies the exact test and needs no logarithm.
    """
    d = shape - 1.0 / 3.0
    scale = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = normal(stream)
        root = 1.0 + scale * x
        if root <= 0.0:
            continue
        v = root * root * root
        u, square = uniform(stream), x * x
        if u < 1.0 - 0.0331 * square * square or math.log(u) < 0.5 * square + d * (1.0 - v + math.log(v)):
            return d * v


@jit
def minus_log_beta(stream: NDArray[np.uint64], a: float, b: float) -> float:
    """−log X of a Beta(a, b) number X with b <= 1 and a >= 1 − b, from one gamma number.

    Its density y^(b−1) exp(−(a − (1−b)/2) y) s(y/2)^(b−1), s(x) = sinh(x)/x, is that of a gamma number accepted with the
    probability s(y/2)^(b−1).  That is at least 1 − (1−b) y²/24, which decides most cases without a logarithm.
    """
    rate = a - 0.5 * (1.0 - b)
    while True:
        y, u = gamma_variate(stream, b) / rate, uniform(stream)
        if u < 1.0 - (1.0 - b) * y * y * (1.0 / 24.0):
            return y
        if math.log(u) < (b - 1.0) * (0.5 * y + math.log(-math.expm1(-y) / y)):
            return y


@outside
def log_beta_variate(stream: NDArray[np.uint64], a: float, b: float) -> float:
    """Logarithm of a Beta(a, b) number.

    Where one gamma number does not do, log X = −log(1 + G_b / G_a), by logarithms where a gamma number may underflow.
    """
    if b <= 1.0 and a >= 1.0 - b:
        return -minus_log_beta(stream, a, b)
    if a > LEAST_PLAIN_SHAPE and b > LEAST_PLAIN_SHAPE:
        of_b = gamma_variate(stream, b)
        return -math.log1p(of_b / gamma_variate(stream, a))
    log_ratio = log_gamma_variate(stream, b)
    log_ratio -= log_gamma_variate(stream, a)
    if log_ratio > 0.0:
        return -log_ratio - math.log1p(math.exp(-log_ratio))
    return -math.log1p(math.exp(log_ratio))
