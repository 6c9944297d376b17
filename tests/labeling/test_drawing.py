"""The drawn pictures and their captions."""

import dataclasses
import itertools
import random
import re
import subprocess
import sys

import numpy as np
import pytest

from labeling.starter import drawing
from labeling.starter.drawing import Drawing, Mention

RED_CIRCLE = Drawing("red", "circle", "solid", 1, "white", "large")


def pixels(what: Drawing, seed: int = 1, side: int = 64) -> np.ndarray:
    return np.asarray(drawing.draw(what, random.Random(seed), side))


def test_the_vocabulary_is_large_enough_for_64_labels() -> None:
    assert len(drawing.COLOURS) >= 8 and len(drawing.SHAPES) >= 8 and len(drawing.PATTERNS) >= 4
    assert set(drawing.OUTLINES) == set(drawing.SHAPES)


@pytest.mark.parametrize("side", [64, 320])
def test_a_seed_draws_the_same_picture_again(side: int) -> None:
    shown = drawing.random_drawing(random.Random(5))
    assert drawing.random_drawing(random.Random(5)) == shown
    assert np.array_equal(pixels(shown, 1, side), pixels(shown, 1, side))
    assert not np.array_equal(pixels(shown, 1, side), pixels(shown, 2, side))


@pytest.mark.parametrize("side", [16, 64, 320])
def test_every_kind_of_drawing_can_be_drawn(side: int) -> None:
    rng = random.Random(2)
    for shape, pattern, count, size in itertools.product(
        drawing.SHAPES, drawing.PATTERNS, drawing.COUNTS, drawing.SIZES
    ):
        colour, background = rng.choice(drawing.COLOURS), rng.choice(drawing.BACKGROUNDS)
        picture = drawing.draw(Drawing(colour, shape, pattern, count, background, size), rng, side)
        assert picture.mode == "RGB" and picture.size == (side, side)


def test_a_red_circle_is_red_in_the_middle_and_white_at_the_edge() -> None:
    shown = pixels(RED_CIRCLE, side=320)
    red, green, blue = shown[155:165, 155:165].mean(axis=(0, 1))
    assert red > 150 > 90 > max(green, blue)
    assert shown[0].mean() > 200


@pytest.mark.parametrize("count", drawing.COUNTS)
def test_there_are_as_many_shapes_as_the_drawing_says(count: int) -> None:
    for size, seed in itertools.product(drawing.SIZES, range(20)):
        radius, centres = drawing._places(
            dataclasses.replace(RED_CIRCLE, count=count, size=size), random.Random(seed)
        )
        assert len(centres) == count
        assert all(radius <= part <= 1 - radius for centre in centres for part in centre)


def test_too_small_a_side_is_refused() -> None:
    with pytest.raises(ValueError, match="16"):
        drawing.draw(RED_CIRCLE, random.Random(1), 8)


def test_a_caption_says_nothing_that_is_false() -> None:
    rng = random.Random(3)
    for _ in range(2_000):
        shown = drawing.random_drawing(rng)
        words = set(re.findall(r"[a-z-]+", drawing.caption(shown, rng)))
        for values, value in ((drawing.COLOURS, shown.colour), (drawing.BACKGROUNDS, shown.background)):
            assert words & set(values) <= {value}
        plurals = {f"{shown.shape}s", f"{shown.shape}es"}
        assert words & {*drawing.SHAPES, *(f"{shape}s" for shape in drawing.SHAPES)} <= {
            shown.shape,
            *plurals,
        }


def test_captions_come_in_many_wordings() -> None:
    rng = random.Random(4)
    captions = {drawing.caption(RED_CIRCLE, rng) for _ in range(500)}
    assert len(captions) > 200
    assert any("red circle" in caption for caption in captions)


def test_a_mention_fits_the_drawings_that_it_is_true_of() -> None:
    assert Mention().fits(RED_CIRCLE)
    assert Mention(colour="red", count=1).fits(RED_CIRCLE)
    assert not Mention(colour="red", count=2).fits(RED_CIRCLE)


def test_drawing_needs_no_torch() -> None:
    script = (
        "import sys, labeling.starter.drawing; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
