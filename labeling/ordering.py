"""An order of rows that is told by their keys: what comes after one of them, and what before.

Asked of the database by key, so that a neighbour is found in any list, and also of a row that has left it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from django.db.models import F, Q, QuerySet


class Key(NamedTuple):
    """A field to sort by. Rows that lack it come last, in either direction."""

    name: str
    descending: bool = False


def ordered(rows: QuerySet, keys: Sequence[Key]) -> QuerySet:
    """`rows` by their keys, of which the last must tell any two apart."""
    return rows.order_by(
        *(
            F(key.name).desc(nulls_last=True) if key.descending else F(key.name).asc(nulls_last=True)
            for key in keys
        )
    )


def after(rows: QuerySet, keys: Sequence[Key], at: Mapping[str, Any]) -> QuerySet:
    """Those that come after the place whose values are `at`, nearest first."""
    return ordered(rows, keys).filter(_beyond(keys, at, forward=True))


def before(rows: QuerySet, keys: Sequence[Key], at: Mapping[str, Any]) -> QuerySet:
    """Those that come before the place whose values are `at`, nearest first."""
    return ordered(rows, keys).filter(_beyond(keys, at, forward=False)).reverse()


def _beyond(keys: Sequence[Key], at: Mapping[str, Any], forward: bool) -> Q:
    """The same in every key up to one, and further on in that one."""
    beyond, same = Q(pk__in=[]), Q()
    for name, descending in keys:
        value = at[name]
        if value is None:
            further = Q(pk__in=[]) if forward else Q(**{f"{name}__isnull": False})
            equal = Q(**{f"{name}__isnull": True})
        else:
            further = Q(**{f"{name}__{'lt' if descending == forward else 'gt'}": value})
            if forward:
                further |= Q(**{f"{name}__isnull": True})
            equal = Q(**{name: value})
        beyond |= same & further
        same &= equal
    return beyond
