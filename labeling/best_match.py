"""One image, some texts, which fits best? The one place where a request computes."""

import io
from collections.abc import Sequence

from gallery import decoding
from labeling import clip


def best_match(content: bytes, texts: Sequence[str]) -> str:
    """The text that is most similar to the image in `content`. Of equal ones the first.

    Raises decoding.BadPicture and clip.ModelUnusable.
    """
    engine = clip.engine()
    picture = decoding.rgb(io.BytesIO(content), engine.side)
    [image] = engine.embed_images([picture])
    similarities = engine.embed_texts(texts) @ image
    return texts[int(similarities.argmax())]
