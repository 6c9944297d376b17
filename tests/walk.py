"""Every address of the site, read from its URLconf, for tests that must miss no route."""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from django.urls import URLPattern, URLResolver, get_resolver

PARAMETER = re.compile(r"<(?:(\w+):)?(\w+)>")
NAMED_GROUP = re.compile(r"\(\?P<(\w+)>[^)]*\)")
# What stands for a row that a test has none of.
ANY = {"int": "1", "uuid": "11111111-1111-4111-8111-111111111111"}


class Route(NamedTuple):
    name: str
    path: str

    def address(self, rows: Mapping[str, object]) -> str:
        """The route with its parameters filled in: `rows["images"]` is what `/images/<…>/` gets."""

        def value(found: re.Match[str]) -> str:
            before = self.path[: found.start()].rstrip("/").rpartition("/")[2]
            return str(rows.get(before, ANY.get(found[1], "x")))

        return "/" + PARAMETER.sub(value, self.path)


def routes(
    patterns: list[URLPattern | URLResolver] | None = None, prefix: str = "", space: str = ""
) -> Iterator[Route]:
    """All of them, those of Django's admin and of the accounts included."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        path = prefix + NAMED_GROUP.sub(r"<\1>", str(pattern.pattern)).replace("^", "").replace("$", "")
        if isinstance(pattern, URLResolver):
            inside = f"{space}{pattern.namespace}:" if pattern.namespace else space
            yield from routes(pattern.url_patterns, path, inside)
        else:
            yield Route(f"{space}{pattern.name}" if pattern.name else path, path)
