"""The priors of the reliability of plans, in one place, each with its reason."""

from __future__ import annotations

from pydantic import Field

from clvforecast.components.component import Priors


class PlanPriors(Priors):
    """Priors of how far plans can be relied on; without any history they are what a forecast uses."""

    intercept_mean: float = Field(
        -0.2, description="log odds of a step stated at 50%: slightly below even, as those who plan hope; 45%"
    )
    intercept_sd: float = Field(0.8, gt=0, description="a step stated at 50% comes with 14% to 80% (95% of the prior)")
    stated_slope_mean: float = Field(
        0.8, description="log odds per log odds stated: below 1, as people say 90% of what comes with 80%"
    )
    stated_slope_sd: float = Field(0.4, gt=0, description="0 (stating says nothing) and 1.6 both lie at two SDs")
    unstated_mean: float = Field(
        0.6,
        description="log odds of a step without a stated probability against one at 50%: plans say what is likely; 60%",
    )
    unstated_sd: float = Field(1.0, gt=0, description="between a fifth and nine tenths of such steps come")
    effect_sd: float = Field(
        0.5,
        gt=0,
        description="SD of the effects of kinds, of segment levels and of CSMs, log odds: a factor of 1.6 in the odds",
    )
    delay_mean_mean: float = Field(
        10.0, description="days, of all kinds but renewals: steps are late rather than early"
    )
    delay_mean_sd: float = Field(20.0, gt=0, description="days: a month early to seven weeks late")
    delay_scale_median: float = Field(
        20.0, gt=0, description="days: half of the steps within two weeks of their kind's usual day"
    )
    delay_scale_spread: float = Field(0.7, gt=0, description="lognormal, 95% between 5 and 80 days")
    lag_mean: float = Field(10.0, description="days: middle of the delays of renewals; late rather than early")
    lag_scale: float = Field(
        80.0,
        gt=0,
        description="days: half of the renewals are booked within two months of that, one in six after a quarter",
    )
    lag_spread: float = Field(
        2.0,
        gt=0,
        description="SD of the log share of each bin of days: ledgers book early, at once, by quarters, or months late",
    )
    share_mean_mean: float = Field(
        -0.1,
        description="log of actual over planned amount: half of the steps bring less than 90% of the plan; their mean is 98%",
    )
    share_mean_sd: float = Field(0.2, gt=0, description="the middle lies between 61% and 134% of the plan")
    share_effect_sd: float = Field(0.15, gt=0, description="SD of the kinds' mean log shares: they differ by some 15%")
    share_sd_median: float = Field(0.25, gt=0, description="single steps come in at 0.6 to 1.6 times their middle")
    share_sd_spread: float = Field(
        0.5, gt=0, description="lognormal, 95% between .09 and .67; wider, and means would lie above the plan"
    )
