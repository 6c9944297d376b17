"""Pictures of simple shapes, drawn from a random generator, and captions that describe them.

The starter model is trained on these pictures and `manage.py demo` fills an album with them.
"""

import colorsys
import dataclasses
import io
import math
import random

import PIL.Image
import PIL.ImageChops
import PIL.ImageDraw

Point = tuple[float, float]

COLOURS = ("red", "orange", "yellow", "green", "blue", "purple", "pink", "brown")
SHAPES = ("circle", "square", "triangle", "star", "heart", "cross", "moon", "arrow")
PATTERNS = ("solid", "striped", "dotted", "checkered")
COUNTS = (1, 2, 3)
BACKGROUNDS = ("white", "cream", "grey", "navy", "black")
SIZES = ("small", "large")

COUNT_WORDS = {1: "one", 2: "two", 3: "three"}
# Other words that people use for the same thing; captions use them now and then.
SYNONYMS = {
    "circle": ("disc",),
    "moon": ("crescent",),
    "solid": ("plain",),
    "striped": ("stripy",),
    "dotted": ("spotted",),
    "checkered": ("chequered", "checked"),
    "grey": ("gray",),
    "small": ("little", "tiny"),
    "large": ("big",),
}
# Captions put a phrase such as "small red star" into these. They take any phrase without regard to grammar,
# as a prompt template takes any label.
PROMPT_TEMPLATES = (
    "{}",
    "a photo of a {}.",
    "a photo of {}.",
    "a picture of a {}.",
    "a picture of {}",
    "a photo of the {}.",
    "an image of a {}.",
    "a drawing of a {}.",
    "a close-up photo of a {}.",
    "a blurry photo of a {}.",
    "a bad photo of a {}.",
    "a good photo of the {}.",
    "there is a {} in the photo.",
    "this is a {}.",
    "art of the {}.",
)

# Hue in degrees, saturation and value from 0 to 1, far enough apart that the jitter below never mixes two up.
COLOUR_HSV = {
    "red": (0, 0.88, 0.86),
    "orange": (28, 0.95, 0.98),
    "yellow": (53, 0.90, 0.97),
    "green": (128, 0.75, 0.62),
    "blue": (217, 0.85, 0.90),
    "purple": (276, 0.72, 0.70),
    "pink": (332, 0.42, 0.98),
    "brown": (24, 0.68, 0.45),
}
BACKGROUND_RGB = {
    "white": (248, 248, 248),
    "cream": (244, 232, 200),
    "grey": (150, 150, 150),
    "navy": (22, 28, 68),
    "black": (14, 14, 14),
}
DARK_BACKGROUNDS = ("navy", "black")
# Radius of a shape as a part of the picture's side, by size and count: three large shapes must fit beside
# each other, and the smallest must still show their pattern at 64 pixels.
RADII = {
    ("small", 1): (0.20, 0.23),
    ("small", 2): (0.15, 0.165),
    ("small", 3): (0.15, 0.165),
    ("large", 1): (0.32, 0.38),
    ("large", 2): (0.20, 0.215),
    ("large", 3): (0.20, 0.215),
}
# Where the shapes stand, by count, in parts of the side; each is moved a little.
CENTRES = {1: ((0.5, 0.5),), 2: ((0.27, 0.5), (0.73, 0.5)), 3: ((0.5, 0.27), (0.27, 0.72), (0.73, 0.72))}
SHIFT = 0.03
MAX_TILT = 10  # degrees; a shape turned further can look like another
SUPERSAMPLING = 4  # masks are drawn this much larger and reduced, which smooths the edges


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What a picture shows: `count` shapes that are all alike. Each value is from this module's tuples."""

    colour: str
    shape: str
    pattern: str
    count: int
    background: str
    size: str


@dataclasses.dataclass(frozen=True)
class Mention:
    """The part of a drawing that a caption speaks of; None is what it leaves open."""

    colour: str | None = None
    shape: str | None = None
    pattern: str | None = None
    count: int | None = None
    background: str | None = None
    size: str | None = None

    def fits(self, drawing: Drawing) -> bool:
        """Whether a caption with this content is true of the drawing."""
        mentioned = dataclasses.asdict(self)
        return all(value is None or value == getattr(drawing, name) for name, value in mentioned.items())


def random_drawing(rng: random.Random) -> Drawing:
    """A drawing with every value equally likely."""
    return Drawing(
        colour=rng.choice(COLOURS),
        shape=rng.choice(SHAPES),
        pattern=rng.choice(PATTERNS),
        count=rng.choice(COUNTS),
        background=rng.choice(BACKGROUNDS),
        size=rng.choice(SIZES),
    )


def draw(drawing: Drawing, rng: random.Random, side: int = 64) -> PIL.Image.Image:
    """The drawing as an RGB picture of `side` x `side` pixels.

    Place, tilt, tone, light and noise come from `rng`: the same state draws the same picture.
    Raises KeyError for a value outside this module's tuples and ValueError for a side under 16 pixels.
    """
    if side < 16:
        raise ValueError(f"A drawing needs a side of 16 pixels or more, not {side}.")
    picture = _background(drawing, rng, side)
    colour = _jittered_colour(drawing.colour, rng)
    marks = _mark_colour(drawing, colour)
    radius, centres = _places(drawing, rng)
    pattern_angle = rng.uniform(0, 180)
    for x, y in centres:
        reach = max(8, round(radius * side))
        shape_mask = _shape_mask(drawing.shape, reach, rng)
        corner = (round(x * side) - reach, round(y * side) - reach)
        picture.paste(colour, corner, shape_mask)
        if drawing.pattern != "solid":
            pattern_mask = _pattern_mask(drawing.pattern, reach, pattern_angle, rng)
            picture.paste(marks, corner, PIL.ImageChops.multiply(shape_mask, pattern_mask))
    return _worn(picture, rng)


def caption(drawing: Drawing, rng: random.Random) -> str:
    """A sentence or phrase that is true of the drawing, such as "a photo of two striped red stars."."""
    return wording(mention(drawing, rng), rng)


def mention(drawing: Drawing, rng: random.Random) -> Mention:
    """A part of the drawing to speak of: mostly colour or shape, with one to six values."""
    chances = {"colour": 0.6, "shape": 0.6, "pattern": 0.45, "count": 0.3, "background": 0.2, "size": 0.2}
    names = [name for name, chance in chances.items() if rng.random() < chance]
    return Mention(**{name: getattr(drawing, name) for name in names or ["shape"]})


def wording(content: Mention, rng: random.Random) -> str:
    """The mention in words, in one of many ways to say it."""
    phrase = _phrase(content, rng)
    choice = rng.random()
    if choice < 0.35:
        return f"a photo of a {phrase}."
    if choice < 0.65 or content.count not in (None, 1):
        return rng.choice(PROMPT_TEMPLATES).format(phrase)
    article = "an" if phrase[0] in "aeio" and not phrase.startswith("one") else "a"
    subject = phrase if content.count == 1 else f"{article} {phrase}"
    return rng.choice(("{}", "a photo of {}.", "a picture of {}", "an image of {}", "{} in a photo")).format(
        subject
    )


def _phrase(content: Mention, rng: random.Random) -> str:
    """The mention without article or template: "two striped red stars on a white background"."""
    adjectives = [_word(content.pattern, rng), _word(content.colour, rng)]
    rng.shuffle(adjectives)
    plural = content.count not in (None, 1) or (content.count is None and rng.random() < 0.15)
    words = [
        COUNT_WORDS.get(content.count),
        _word(content.size, rng),
        *adjectives,
        _noun(content, plural, rng),
    ]
    phrase = " ".join(word for word in words if word)
    if content.background is None:
        return phrase
    background = _word(content.background, rng)
    if not phrase:
        return f"{background} background"
    return f"{phrase} on a {background} background" if rng.random() < 0.8 else f"{phrase} on {background}"


def _word(value: str | None, rng: random.Random) -> str | None:
    """The value or, one time in five, a synonym of it; None stays None."""
    if value in SYNONYMS and rng.random() < 0.2:
        return rng.choice(SYNONYMS[value])
    return value


def _noun(content: Mention, plural: bool, rng: random.Random) -> str | None:
    """The shape, or a word for any shape; None where adjectives stand alone, as the label "red" does."""
    if content.shape is not None:
        noun = _word(content.shape, rng)
    elif content.count is None and rng.random() < 0.5:
        return None
    else:
        noun = rng.choice(("shape", "thing", "object"))
    if not plural:
        return noun
    return noun + ("es" if noun.endswith(("s", "x")) else "s")


def _background(drawing: Drawing, rng: random.Random, side: int) -> PIL.Image.Image:
    """The empty picture, with light that falls off to one side."""
    tone = tuple(_clamped(level + rng.uniform(-8, 8)) for level in BACKGROUND_RGB[drawing.background])
    picture = PIL.Image.new("RGB", (side, side), tone)
    light = PIL.Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270)))
    light = PIL.Image.merge("RGB", [light.resize((side, side))] * 3)
    return PIL.Image.blend(picture, light, rng.uniform(0, 0.1))


def _jittered_colour(name: str, rng: random.Random) -> tuple[int, ...]:
    hue, saturation, value = COLOUR_HSV[name]
    hue = (hue + rng.uniform(-6, 6)) % 360 / 360
    saturation = min(1.0, saturation + rng.uniform(-0.06, 0.06))
    value = min(1.0, value + rng.uniform(-0.06, 0.06))
    return tuple(_clamped(255 * level) for level in colorsys.hsv_to_rgb(hue, saturation, value))


def _mark_colour(drawing: Drawing, colour: tuple[int, ...]) -> tuple[int, ...]:
    """The second tone of a pattern: almost black or white, whichever stands out from the background.

    A tint of the colour itself would turn red into pink and orange into brown.
    """
    towards = 255 if drawing.background in DARK_BACKGROUNDS else 0
    return tuple(_clamped(0.15 * level + 0.85 * towards) for level in colour)


def _clamped(level: float) -> int:
    return max(0, min(255, round(level)))


def _places(drawing: Drawing, rng: random.Random) -> tuple[float, list[Point]]:
    """A radius and as many centres, in parts of the side. No two shapes touch."""
    radius = rng.uniform(*RADII[drawing.size, drawing.count])
    centres = [
        (x + rng.uniform(-SHIFT, SHIFT), y + rng.uniform(-SHIFT, SHIFT)) for x, y in CENTRES[drawing.count]
    ]
    return radius, centres


def _shape_mask(shape: str, reach: int, rng: random.Random) -> PIL.Image.Image:
    """An L mask of 2 x `reach` pixels a side: 255 inside the shape, tilted a little."""
    tilt = math.radians(rng.uniform(-MAX_TILT, MAX_TILT))
    stretch = rng.uniform(0.92, 1.0)
    scale = reach * SUPERSAMPLING
    mask = PIL.Image.new("L", (2 * scale, 2 * scale), 0)
    points = [_turned((x * stretch, y), tilt) for x, y in OUTLINES[shape]]
    PIL.ImageDraw.Draw(mask).polygon([(scale * (1 + x), scale * (1 + y)) for x, y in points], fill=255)
    return mask.reduce(SUPERSAMPLING)


def _pattern_mask(pattern: str, reach: int, angle: float, rng: random.Random) -> PIL.Image.Image:
    """An L mask of 2 x `reach` pixels a side: 255 on the stripes, dots or squares of the pattern."""
    scale = reach * SUPERSAMPLING
    mask = PIL.Image.new("L", (2 * scale, 2 * scale), 0)
    pen = PIL.ImageDraw.Draw(mask)
    # Cells stay three pixels wide at the least, or a small picture would lose them.
    cell = max(rng.uniform(0.3, 0.36) * scale, 3 * SUPERSAMPLING)
    start = (rng.uniform(-cell, cell), rng.uniform(-cell, cell))
    turn = math.radians(angle)
    steps = range(-math.ceil(1.5 * scale / cell) - 1, math.ceil(1.5 * scale / cell) + 2)
    if pattern == "striped":
        for row in steps:
            if row % 2:
                _cell(pen, scale, (-3 * scale, start[1] + row * cell, 6 * scale, cell), turn)
        return mask.reduce(SUPERSAMPLING)
    for row in steps:
        for column in steps:
            left, top = start[0] + column * cell, start[1] + row * cell
            if pattern == "checkered" and (row + column) % 2:
                _cell(pen, scale, (left, top, cell, cell), turn)
            elif pattern == "dotted" and row % 2 and (column + row // 2) % 2:
                x, y = _turned((left, top), turn)
                dot = 0.62 * cell
                pen.ellipse((scale + x - dot, scale + y - dot, scale + x + dot, scale + y + dot), fill=255)
    return mask.reduce(SUPERSAMPLING)


def _cell(
    pen: PIL.ImageDraw.ImageDraw, middle: float, cell: tuple[float, float, float, float], turn: float
) -> None:
    """Fills the rectangle (left, top, width, height), measured from the middle and turned about it."""
    left, top, width, height = cell
    corners = [(left, top), (left + width, top), (left + width, top + height), (left, top + height)]
    pen.polygon(
        [(middle + x, middle + y) for x, y in (_turned(corner, turn) for corner in corners)], fill=255
    )


def _turned(point: Point, radians: float) -> Point:
    x, y = point
    return (
        x * math.cos(radians) - y * math.sin(radians),
        x * math.sin(radians) + y * math.cos(radians),
    )


def _worn(picture: PIL.Image.Image, rng: random.Random) -> PIL.Image.Image:
    """The picture with noise and now and then a pass through JPEG: a model must not count on clean pixels."""
    noise = PIL.Image.frombytes("RGB", picture.size, rng.randbytes(3 * picture.width * picture.height))
    picture = PIL.Image.blend(picture, noise, rng.uniform(0, 0.06))
    if rng.random() < 0.7:
        return picture
    stored = io.BytesIO()
    picture.save(stored, "JPEG", quality=rng.randint(70, 95))
    with PIL.Image.open(stored) as reopened:
        return reopened.convert("RGB")


def _arc(middle: Point, radius: float, start: float, end: float, steps: int = 24) -> list[Point]:
    """Points of a circle's arc between two angles in degrees."""
    angles = [math.radians(start + (end - start) * step / steps) for step in range(steps + 1)]
    return [(middle[0] + radius * math.cos(angle), middle[1] + radius * math.sin(angle)) for angle in angles]


def _star() -> list[Point]:
    return [_turned((0, -1 if corner % 2 == 0 else -0.48), math.radians(36 * corner)) for corner in range(10)]


def _heart() -> list[Point]:
    """The usual heart curve, brought to a radius of about 1."""
    points = []
    for step in range(40):
        angle = 2 * math.pi * step / 40
        x = 16 * math.sin(angle) ** 3
        y = 13 * math.cos(angle) - 5 * math.cos(2 * angle) - 2 * math.cos(3 * angle) - math.cos(4 * angle)
        points.append((x / 17, -(y + 2) / 17))
    return points


def _cross(arm: float = 0.36) -> list[Point]:
    long = math.sqrt(1 - arm**2)
    quarter = [(-arm, -long), (arm, -long), (arm, -arm)]
    return [_turned(point, math.radians(90 * turn)) for turn in range(4) for point in quarter]


def _moon() -> list[Point]:
    """A crescent: the outer circle without a smaller one that lies to its right."""
    return [*_arc((0, 0), 1, 50, 310), *_arc((0.643, 0), 0.766, 270, 90)]


# Each shape as a polygon about (0, 0), with y pointing down, none of it farther than 1 from the middle.
OUTLINES: dict[str, list[Point]] = {
    "circle": _arc((0, 0), 0.96, 0, 360, 48),
    "square": [(-0.7, -0.7), (0.7, -0.7), (0.7, 0.7), (-0.7, 0.7)],
    "triangle": [_turned((0, -1), math.radians(turn)) for turn in (0, 120, 240)],
    "star": _star(),
    "heart": _heart(),
    "cross": _cross(),
    "moon": _moon(),
    "arrow": [(-0.95, -0.3), (0.1, -0.3), (0.1, -0.72), (0.97, 0), (0.1, 0.72), (0.1, 0.3), (-0.95, 0.3)],
}
