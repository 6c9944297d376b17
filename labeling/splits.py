"""Train, val and test: each image falls into one by its hash and a seed, near-duplicates always together."""

import hashlib
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from itertools import accumulate

from django.core.exceptions import ValidationError

NAMES = ("train", "val", "test")


def read_shares(text: str) -> tuple[int, ...]:
    """The percents of `80/10/10` or `80/20`, as (train, val, test). Raises ValidationError."""
    parts = text.split("/")
    shares = tuple(int(part) for part in parts if part.isascii() and part.isdecimal() and len(part) < 4)
    if not 2 <= len(shares) == len(parts) <= 3 or sum(shares) != 100:
        raise ValidationError("A split is written as percents for train, val and test, such as 80/10/10.")
    return shares + (0,) * (3 - len(shares))


class Splits:
    """Where images go. The same image goes to the same place in every export with this seed, whatever
    comes or goes beside it.

    `pairs`: ids of images that are near-duplicates; what they connect stays together. `hashes`: of theirs.
    """

    def __init__(
        self,
        shares: Sequence[int],
        seed: int,
        pairs: Iterable[tuple[int, int]] = (),
        hashes: dict[int, str] | None = None,
    ) -> None:
        self.shares = tuple(shares)
        self.bounds = list(accumulate(shares))[:-1]
        self.seed = seed
        self.keys = _keys(pairs, hashes or {})

    def of(self, ids: Sequence[int], hashes: Sequence[str]) -> list[str]:
        """The split of each image."""
        return [self._split(self.keys.get(pk, sha256)) for pk, sha256 in zip(ids, hashes, strict=True)]

    def _split(self, key: str) -> str:
        drawn = hashlib.sha256(f"{self.seed}:{key}".encode()).digest()
        return NAMES[bisect_right(self.bounds, int.from_bytes(drawn[:8], "big") / 2**64 * 100)]


def _keys(pairs: Iterable[tuple[int, int]], hashes: dict[int, str]) -> dict[int, str]:
    """Of each image in a pair, what it is drawn by: the least hash of all that hang together with it."""
    parents: dict[int, int] = {}

    def root(pk: int) -> int:
        while parents.setdefault(pk, pk) != pk:
            parents[pk] = parents[parents[pk]]
            pk = parents[pk]
        return pk

    for first, second in pairs:
        parents[root(first)] = root(second)
    least: dict[int, str] = {}
    for pk in parents:
        least[root(pk)] = min(least.get(root(pk), "g"), hashes.get(pk, "g"))
    return {pk: least[root(pk)] for pk in parents}
