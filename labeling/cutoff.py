"""From which similarity on an image is a find. Plain NumPy."""

from typing import NamedTuple, Self

import numpy as np

# How far a find stands out from what the project's pictures are like by chance, in standard deviations.
STANDS_OUT = 3
# Images that stand for the most similar ones; bars that a valley is looked for in, and for counting all.
TOP, VALLEY_BARS, FINE = 5, 100, 4096
# A normal distribution over bars, to smooth their counts: its standard deviation is 4 of them.
SMOOTH = np.exp(-0.5 * (np.arange(-16, 17) / 4) ** 2)
SMOOTH /= SMOOTH.sum()


def stands_out(found: np.ndarray) -> float:
    """The similarity from which an image is a find, learned from those (n,) of the whole project.

    Most pictures are like any words by chance; finds are a second hill above that one, and the cut-off is
    the bottom of the valley between them (Prewitt & Mendelsohn 1966, the mode method). Where there is no
    second hill: STANDS_OUT standard deviations above the median, or halfway to the most similar ones if that
    is less. The deviation is that of the lower half, which holds no finds: of a normal distribution, the
    distance from the median to the 15.87th percentile.
    """
    top = float(np.partition(found, -min(TOP, len(found)))[-TOP:].mean())
    spread = Spread.of(found)
    for share in (0, 0.25, 0.5, 0.75):
        middle, deviation = spread.by_chance(share)
        if (cutoff := spread.valley(middle + 1.5 * deviation, top)) is not None:
            return cutoff
    middle, deviation = spread.by_chance()
    return min(middle + STANDS_OUT * deviation, (middle + deviation + top) / 2, top)


class Spread(NamedTuple):
    """How many images have which similarity, in FINE bars: of a million, each is looked at once."""

    places: np.ndarray  # the middle of each bar, ascending
    numbers: np.ndarray  # of images

    @classmethod
    def of(cls, found: np.ndarray) -> Self:
        numbers, edges = np.histogram(found, FINE)
        return cls((edges[:-1] + edges[1:]) / 2, numbers)

    def by_chance(self, share: float = 0) -> tuple[float, float]:
        """Median and standard deviation of the images that are no finds; finds are that share of all."""
        seen = self.numbers.cumsum()
        at = np.searchsorted(seen, np.array([0.5, 0.1587]) * (1 - share) * seen[-1])
        middle, low = self.places[at].tolist()
        return middle, middle - low

    def valley(self, start: float, top: float) -> float | None:
        """The bottom of the valley between two hills from `start` to `top`, if there is one."""
        if start >= top:
            return None
        counts, edges = np.histogram(self.places, VALLEY_BARS, (start, top), weights=self.numbers)
        density = np.convolve(np.pad(counts, len(SMOOTH) // 2, mode="edge"), SMOOTH, "valid")
        bottom = np.flatnonzero(density <= density.min() * 1.001 + 1e-9)
        place = int(bottom[len(bottom) // 2])
        rises = density[place:].max() > 2 * density[place] + 0.01
        falls = density[:place].max(initial=0) > density[place]
        return float((edges[place] + edges[place + 1]) / 2) if rises and falls else None
