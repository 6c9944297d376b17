"""One image, some texts, which fits best? The one place where a request computes."""

import io
from collections.abc import Sequence

import PIL.Image

from gallery import decoder, intake
from labeling import clip


def best_match(content: bytes, texts: Sequence[str]) -> str:
    """The text that is most similar to the image in `content`. Of equal ones the first.

    Raises decoding.BadPicture, intake.StorageFull and clip.ModelUnusable.
    """
    engine = clip.engine()
    with intake.received([content]) as file:
        preview = decoder.decode(file.path).preview
    picture = PIL.Image.open(io.BytesIO(preview)).convert("RGB")
    [image] = engine.embed_images([picture])
    similarities = engine.embed_texts(texts) @ image
    return texts[int(similarities.argmax())]
