"""One image, some texts, which fits best?"""

from collections.abc import Sequence

from labeling import clip, embeddings


def best_match(content: bytes, texts: Sequence[str]) -> str:
    """The text that is most similar to the image in `content`. Of equal ones the first.

    Raises decoding.BadPicture, intake.StorageFull and clip.ModelUnusable.
    """
    image = embeddings.of_picture([content])
    similarities = clip.engine().embed_texts(texts) @ image
    return texts[int(similarities.argmax())]
