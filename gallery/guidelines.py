"""The guidelines of a project, from Markdown to HTML that does no harm."""

import re
from functools import cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

TAGS = {
    *("h3", "h4", "h5", "h6", "p", "br", "hr", "blockquote", "pre", "code", "strong", "em", "s", "a", "img"),
    *("ul", "ol", "li", "div", "table", "thead", "tbody", "tr", "th", "td"),
}
ATTRIBUTES = {
    "a": {"href", "title"},
    "img": {"src", "alt", "title"},
    "ol": {"start"},
    "div": {"class", "role", "aria-label", "tabindex"},
    "th": {"class"},
    "td": {"class"},
}
# A wide table scrolls by itself, by keys too.
TABLE = (
    '<div class="prose-table" role="group" aria-label="Table" tabindex="0">\n<table>\n',
    "</table>\n</div>\n",
)
# How a column is aligned: the site's policy allows no style attribute, which the renderer would write.
ALIGNED = {"text-align:center": "text-center", "text-align:right": "text-end"}
# Pictures of this site alone, which asks of every reader whether they may see them.
OURS = re.compile(r"/images/\d+/(thumbnail|preview)/")


def render(text: str) -> SafeString:
    """The HTML of a Markdown text: no raw HTML, no script, no picture from elsewhere, headings from h3 on.

    20,000 characters take some tens of milliseconds, and the worst that are known about one second.
    """
    cleaned = nh3.clean(
        _markdown().render(text),
        tags=TAGS,
        attributes=ATTRIBUTES,
        url_schemes={"http", "https", "mailto"},
        link_rel="noopener noreferrer nofollow",
        # Who looks something up while they review doesn't lose their place.
        set_tag_attribute_values={"a": {"target": "_blank"}},
    )
    return mark_safe(cleaned)


@cache
def _markdown() -> MarkdownIt:
    markdown = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])
    markdown.core.ruler.push("fit_in", _fit_in)
    for name, html in zip(("table_open", "table_close"), TABLE, strict=True):
        markdown.add_render_rule(name, lambda *args, html=html: html)
    return markdown


def _fit_in(state: StateCore) -> None:
    """Change what was parsed so that it fits into a page of this site."""
    # Whichever levels are used, they begin below the page's own headings and skip none.
    levels = sorted({token.tag for token in state.tokens if token.type == "heading_open"})
    for token in state.tokens:
        if token.type in ("heading_open", "heading_close"):
            token.tag = f"h{min(6, 3 + levels.index(token.tag))}"
        elif token.type in ("th_open", "td_open"):
            name = ALIGNED.get(str(token.attrs.pop("style", "")))
            token.attrs |= {"class": name} if name else {}
        elif token.children:
            token.children = [_pictured(child) for child in token.children]


def _pictured(token: Token) -> Token:
    """A picture of another site is only what it is said to show."""
    if token.type != "image" or OURS.fullmatch(str(token.attrs["src"])):
        return token
    return Token("text", "", 0, content=token.content)
