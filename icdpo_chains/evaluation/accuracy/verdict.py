"""`verdict`: the meaning of a measured preference accuracy for the default score, in words."""

from __future__ import annotations

from icdpo_chains.evaluation.accuracy.accuracy import PreferenceAccuracy
from icdpo_chains.evaluation.accuracy.measures import SCORERS, Setting
from icdpo_chains.scoring import InstantScorer

__all__ = ["default_setting", "verdict"]

_COIN = 0.5


def default_setting() -> Setting:
    """Returns the setting that `ICDPO.from_defaults` and `icdpo ask` use."""
    from icdpo_chains.config import ICDPOConfig

    config, scorer = ICDPOConfig(), InstantScorer()
    measure = next(name for name, other in SCORERS.items() if other == scorer)
    return Setting(measure, config.retriever, config.k)


def verdict(found: PreferenceAccuracy) -> str:
    """Returns the verdict on the default score, or on the first score if the default was not measured.

    Args:
        found: a measurement with at least one pair.
    """
    default = default_setting()
    setting = default if default in found.settings else found.settings[0]
    name = f"the default score ({setting.label})" if setting == default else f"the score {setting.label}"
    measured, count = found.accuracy(setting), len(found.pairs)
    figures = (
        f"it ranks {measured.mean:.0%} of {count} pairs right (95 % interval {measured.low:.0%} to "
        f"{measured.high:.0%}; a coin has 50 %)"
    )
    if measured.low > _COIN:
        said = f"{name} agrees with these preferences: {figures}."
    elif measured.high < _COIN:
        said = (
            f"{name} contradicts these preferences: {figures}. It would pick the worse answers: look for "
            "another setting by `icdpo tune`, or for a larger model."
        )
    else:
        said = (
            f"it is not shown that {name} is better than a coin: {figures}. More pairs may tell (--pairs), a "
            "larger model may do better."
        )
    others = [one for one in found.settings if one.measure in SCORERS and one != setting]
    best = max(others, key=lambda one: found.accuracy(one).mean, default=None)
    if best is not None and found.accuracy(best).mean > measured.mean:
        said += (
            f" Highest in this table is {best.label}, {found.accuracy(best).mean:.0%}: `icdpo tune` tells "
            "whether the difference is real."
        )
    return f"Verdict: {said}"
