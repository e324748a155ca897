"""The mode of a component's posterior and its curvature there: how its effects are best sampled, and on what scale.

Both only make sampling quicker: NUTS draws from the posterior itself, in coordinates in which it is about standard normal.
Its sums are plain ones, see `triangles`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from clvforecast.components import Component
from clvforecast.components.target import Target, raw_parameters, target_of
from clvforecast.components.whitening import Whitening, unmoved
from clvforecast.errors import FitError
from clvforecast.machine import available_threads
from clvforecast.triangles import inverse_of_root, lower_root, solved

Floats = NDArray[np.float64]

POINTS = 200
"""At which the coordinates that a component may have are compared."""
STEP = 1e-4
"""Of the differences of slopes; parameters are scaled so that their priors lie about (-1, 1)."""
MOST = 1500
"""Parameters beyond which the curvature costs more than it saves (n slopes, and n^2 a step): they are sampled as they are."""
NEWTON_STEPS = 60
CLOSE_ENOUGH = 1e-6
"""Newton's gain in log density below which the mode is reached."""
REUSED = 0.5
"""A curvature is used again while each step gains less than this share of the last one's gain."""
NO_DAMPING = 1e-2
FARTHEST = 5.0
"""No parameter moves more in one step of Newton's."""
TAIL = 1.0
"""Of what is positive or a share, see `whitening`: a density that is flat about zero falls like e^x, x its logarithm."""
LEAST_PRECISION = 0.04
"""Where a posterior is flatter than Normal(0, 5^2), its scale is taken for that."""


def prepared(component: Component) -> Target:
    """The component's target in those of the coordinates it may have in which its posterior is nearest to a standard normal."""
    targets = [target_of(one, whitening(one)) for one in placed(component)]
    return targets[0] if len(targets) == 1 else min(targets, key=unevenness)


def unevenness(target: Target) -> float:
    """How far the log density is from a standard normal's, on average over points drawn from that, but for a constant."""
    points = np.random.default_rng(0).standard_normal((POINTS, target.n_dim))
    excess = np.array([target.value_and_slope(z)[0] + 0.5 * float(z @ z) for z in points])
    return float(np.abs(excess - np.median(excess)).mean())


def placed(component: Component) -> tuple[Component, ...]:
    """The component with its effects sampled relative to what the data say of them, with their SDs held at the priors'."""
    if component.refined is None or component.n_dim > MOST:
        return (component,)
    target = target_of(component)
    free = np.concatenate([np.full(p.size, p.name != "sd") for p in component.parameters])
    start = np.zeros(component.n_dim)
    start[~free] = np.log(component.held_sds.ravel())
    mode = mode_from(target, start, free)
    variance = np.zeros(component.n_dim)
    variance[free] = variances(-hessian(target, mode, free))
    untransformed, first = {}, 0
    for p in component.parameters:
        untransformed[p.name] = variance[first : first + p.size].reshape(p.shape)
        first += p.size
    return component.refined(raw_parameters(component, mode), untransformed)


def whitening(component: Component) -> Whitening:
    """``y = mode + spread z``, ``spread spread' = (minus the Hessian)^-1``: z is standard normal if y is normal."""
    n = component.n_dim
    if n > MOST:
        return unmoved(n)
    free = np.ones(n, bool)
    kink = mode_from(target_of(component), np.zeros(n), free)
    tail = np.concatenate([np.full(p.size, TAIL if p.transform else 0.0) for p in component.parameters])
    bent = replace(unmoved(n), kink=np.where(tail > 0.0, kink, 0.0), tail=tail)
    target = target_of(component, bent)
    mode = mode_from(target, target.whitened(kink), free)
    root, _ = solid_root(-hessian(target, mode, free))
    return replace(bent, centre=mode, spread=inverse_of_root(root).T, back=root.T)


def mode_from(target: Target, start: Floats, free: NDArray[np.bool_]) -> Floats:
    """Newton's way up from `start` over the `free` parameters; where it ends early, the place reached.

    A curvature, which costs two slopes a parameter, is used again as long as steps with it close in on the mode quickly.
    """
    x = start.copy()
    value, slope = target.value_and_slope(x)
    damping, last_gain = 0.0, 0.0
    inverse: Floats | None = None
    for _ in range(NEWTON_STEPS):
        is_new = inverse is None
        if inverse is None:
            root, added = solid_root(-hessian(target, x, free), damping)
            inverse = inverse_of_root(root)
        step = solved(inverse, slope[free])
        step *= min(1.0, FARTHEST / np.abs(step).max())
        tried = x.copy()
        tried[free] += step
        new_value, new_slope = target.value_and_slope(tried)
        gain = new_value - value
        if not gain > 0.0:
            if is_new and abs(gain) < CLOSE_ENOUGH:
                break
            damping, inverse = max(4.0 * added, 1.0) if is_new else added / 32.0, None
            continue
        x, value, slope = tried, new_value, new_slope
        if gain < CLOSE_ENOUGH and added < NO_DAMPING:
            break
        if not (is_new or gain < REUSED * last_gain):
            damping, inverse = added / 32.0 if added > NO_DAMPING else 0.0, None
        last_gain = gain
    # Rounded, so that nothing hangs on the last step's last bits.
    return x.round(6)


def hessian(target: Target, x: Floats, free: NDArray[np.bool_]) -> Floats:
    """Second derivatives by the free parameters: differences of slopes, made symmetric; `FitError` if they are not finite."""

    def row(k: int) -> Floats:
        above, below = x.copy(), x.copy()
        above[k] += STEP
        below[k] -= STEP
        return (target.value_and_slope(above)[1] - target.value_and_slope(below)[1])[free] / (2.0 * STEP)

    with ThreadPoolExecutor(available_threads()) as pool:
        found = np.array(list(pool.map(row, np.flatnonzero(free))))
    if not np.isfinite(found).all():
        raise FitError(
            f"component {target.component.name!r}: its log density has no finite curvature where sampling would begin. Look for "
            "extreme values among the priors given, or in the ledger's amounts."
        )
    return np.asarray(0.5 * (found + found.T), float)


def solid_root(precision: Floats, damping: float = 0.0) -> tuple[Floats, float]:
    """Cholesky's lower root of a precision matrix, of which as much is added to the diagonal as makes it one; and how much."""
    added = damping
    while True:
        is_one, root = lower_root(precision, added, LEAST_PRECISION)
        if is_one:
            return root, added
        added = max(4.0 * added, LEAST_PRECISION)


def variances(precision: Floats) -> Floats:
    """The diagonal of the inverse."""
    inverse = inverse_of_root(solid_root(precision)[0])
    return np.asarray((inverse**2).sum(axis=0), float)
