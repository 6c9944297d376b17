"""How probabilities and similarities are written on pages."""

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
