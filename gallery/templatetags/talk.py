"""Comments and guidelines in templates."""

from django import template
from django.template import Context
from django.utils.safestring import SafeString

from gallery import comments, guidelines
from gallery.models import Comment

register = template.Library()


@register.filter
def pieces(comment: Comment) -> list[tuple[str, str]]:
    """Its text in pieces, each with the name that it mentions, or with nothing."""
    names = [user.get_username() for user in comment.mentions.all()]
    return list(comments.pieces(comment.text, names))


@register.filter
def markdown(text: str) -> SafeString:
    return guidelines.render(text)


@register.simple_tag(takes_context=True)
def mention_count(context: Context) -> int:
    """How many open comments name the person whom the page is for: one query."""
    return comments.naming(context["user"]).count()
