"""How class effects and level of renewal must move with phi and c for the survival curve to stay where it is.

phi, c and the effects of decision numbers all bend one curve: a ridge that NUTS walks slowly, and a curved one, on which it
diverges where the terms are all of a year and a decision's number is its tenure. The sampled effects are those less
``lean bend``, with ``bend = (phi, phi / (1 - phi), log c, c)`` less its values at a reference about where the posterior lies.
That is a shear, Jacobian one: the model does not depend on it.

- For phi, S stays where it was at the reference with W(t) = t^c when ``log (W(t1) - W(t0))`` moves by what `_slopes_by_phi`
  finds; phi and its odds 1 / (a + b) give that to a hundredth.
- For c, ``log (t1^c - t0^c)`` is to be taken back: ``c log t1`` where t0 = 0, about ``log c`` more where it is not. log c and c
  give it to three hundredths for log c between -1 and 1.
- What effects leave of the bend by phi, because the last class of decision numbers holds many or because their priors keep them
  short, c makes good as far as it can: log c is sampled less a lean of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from clvforecast.components.component import Floats
from clvforecast.likelihoods import log_survival


@dataclass(frozen=True)
class Reference:
    """Where nothing leans, but for c, and about which survival is held: polarisation, mean chance of a year, exponent.

    With the odds of phi the leans follow the ridge far up, as the posterior of many accounts does; that of few fills the
    prior instead, and what leans with odds tears it apart where phi is near 1.
    """

    phi: float
    mu: float
    c: float
    with_odds: bool = True


PRIOR_REFERENCE = Reference(phi=0.27, mu=0.8, c=1.0)
"""About the middle of the priors."""
PLAIN = (0.05, 0.9)
"""Beyond these phi and mu the slopes are those at the edge."""
AWAY = np.array([-2.0, -1.5, -1.0, -0.6, -0.3, 0.3, 0.6, 1.0, 1.5])
"""Log odds of phi from the reference's, at which the leans are fitted."""
LOG_CS = np.array([-0.9, -0.6, -0.4, -0.2, -0.1, 0.1, 0.2, 0.4, 0.6, 0.9])
"""At which they are fitted too."""
ALL_LOG_CS = np.linspace(-1.2, 1.2, 121)
"""Among which the likeliest is looked for."""
LOG_WS = np.linspace(-8.0, 60.0, 2000)
"""Weights among which survival is looked up."""


def leans(
    t0: Floats, t1: Floats, fixed: Floats, information: Floats, sd: Floats, log_c_sd: float, reference: Reference
) -> tuple[Floats, Floats, Floats]:
    """`lean` (P, 4) of the class effects, `level_lean` (4,) of what all steps have in common, `c_lean` (2,) of log c.

    Per step the bends move log w by known slopes; these are regressed on the class design. An effect can only lean as far as its
    prior SD lets it: the regression has the priors' precision beside the data's.

    Parameters
    ----------
    t0, t1 : (S,) years of tenure at the last decision before the step, and at its own.
    fixed : (S, P) 0/1 design of the effects that are not pooled.
    information : (S,) that the data have of each step's log w.
    sd : (P,) prior SDs of the effects.
    log_c_sd : prior SD of log c.
    reference : where they are taken.
    """
    root = np.sqrt(information)[:, None]
    X = np.column_stack([np.ones(len(t0)), fixed])
    Y = np.column_stack([_slopes_by_phi(t0, t1, reference), _slopes_by_c(t0, t1)])
    of_prior = np.column_stack([np.zeros(len(sd)), np.diag(1.0 / sd)])
    rows, targets = np.vstack([X * root, of_prior]), np.vstack([Y * root, np.zeros((len(sd), Y.shape[1]))])
    # Rounded, so that the last bits of LAPACK cannot make other draws: any lean will do.
    solution = np.linalg.lstsq(rows, targets, rcond=1e-12)[0].round(9)
    return solution[1:], solution[0], _lean_of_c(targets - rows @ solution, log_c_sd, reference.phi).round(9)


def _lean_of_c(left: Floats, log_c_sd: float, reference: float) -> Floats:
    """(2,) slopes by (phi, -log(1 - phi)) of the log c that makes good best what effects `left` (rows, 4) of the bends."""
    phi = expit(logit(reference) + AWAY)
    by_phi = _of_phi(phi, reference)
    by_c = np.column_stack([ALL_LOG_CS, np.expm1(ALL_LOG_CS)])
    # |left (by_phi, by_c)|^2 less what does not depend on c, and the prior of log c.
    squares = left.T @ left
    of_c = ((by_c @ squares[2:, 2:]) * by_c).sum(axis=1) + (ALL_LOG_CS / log_c_sd) ** 2
    cost = of_c + 2.0 * by_phi @ squares[:2, 2:] @ by_c.T
    basis = np.column_stack([phi - reference, np.log1p(-reference) - np.log1p(-phi)])
    return np.asarray(np.linalg.lstsq(basis, ALL_LOG_CS[np.argmin(cost, axis=1)], rcond=None)[0], float)


def _of_phi(phi: Floats, reference: float) -> Floats:
    """The bends by phi, (points, 2)."""
    return np.column_stack([phi - reference, phi / (1.0 - phi) - reference / (1.0 - reference)])


def _slopes_by_phi(t0: Floats, t1: Floats, reference: Reference) -> Floats:
    """(S, 2) slopes by (phi, its odds) of ``log (W(t1) - W(t0))`` with S, mu held and W(t) = t^c at the reference."""
    W0, W1 = t0**reference.c, t1**reference.c
    phis = expit(logit(reference.phi) + AWAY)
    held = np.stack([_held(W1, phi, reference) - _held(W0, phi, reference) for phi in phis])
    with np.errstate(divide="ignore"):
        moved = np.log(held) - np.log(W1 - W0)
    told = np.isfinite(moved).all(axis=1)  # weights beyond those that survival is looked up among have no slope
    basis, moved = _of_phi(phis, reference.phi)[told], moved[told]
    if reference.with_odds:
        return _fitted(basis, moved)
    return np.column_stack([_fitted(basis[:, :1], moved), np.zeros(len(t0))])


def _slopes_by_c(t0: Floats, t1: Floats) -> Floats:
    """(S, 2) slopes by (log c, c) of what takes ``log (t1^c - t0^c)`` back."""
    c = np.exp(LOG_CS)[:, None]
    moved = np.log(t1 - t0) - np.log(t1**c - t0**c)
    return _fitted(np.column_stack([LOG_CS, np.exp(LOG_CS) - 1.0]), moved)


def _fitted(basis: Floats, moved: Floats) -> Floats:
    """Least squares of the columns of `moved` (points, S) on two functions (points, 2), (S, 2)."""
    return np.asarray(np.linalg.lstsq(basis, moved, rcond=None)[0].T, float)


def _held(W: Floats, phi: float, reference: Reference) -> NDArray[np.float64]:
    """The weight at which survival with this phi is what it is at W with the reference's."""
    is_later = W > 0
    lost = np.log(-_log_survival(np.where(is_later, W, 1.0), reference.phi, reference.mu))
    log_W = np.interp(lost, np.log(-_log_survival(np.exp(LOG_WS), phi, reference.mu)), LOG_WS)
    return np.where(is_later, np.exp(log_W), 0.0)


def _log_survival(W: Floats, phi: float, mu: float) -> Floats:
    total = 1.0 / phi - 1.0
    return np.asarray(log_survival(W, mu * total, (1.0 - mu) * total), float)
