"""How probabilities, similarities and durations are written on pages."""

from datetime import timedelta

from django import template

register = template.Library()


@register.filter
def percent(probability: float | None) -> str:
    """`97 %`. Nothing is called certain or impossible that only rounds to it."""
    if probability is None:
        return ""
    if 0.995 <= probability < 0.9999:
        return "> 99 %"
    if 0 < probability < 0.005:
        return "< 1 %"
    return f"{probability:.0%}".replace("%", " %")


@register.filter
def cosine(similarity: float | None) -> str:
    """`0.287`, with a minus sign as wide as a digit."""
    return "" if similarity is None else f"{similarity:.3f}".replace("-", "−")


@register.filter
def duration(time: timedelta | None) -> str:
    """`40 min`, `3 h 20 min`, `12 days`: as exact as helps to plan with."""
    if time is None:
        return ""
    minutes = round(time.total_seconds() / 60)
    if minutes < 1:
        return "less than a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
    return f"{round(minutes / 60 / 24):,} days"
