"""What the queue calls. A task takes an id, skips what is gone, and is safe to repeat."""

import logging

from gallery import courier, uploads
from gallery.models import Upload

logger = logging.getLogger(__name__)

# Then the queue's next task has its turn: labels must not wait for the end of a large ZIP.
EXPANSION_SECONDS = 10


def expand_zip(upload_id: int) -> None:
    upload = Upload.objects.filter(pk=upload_id, state=Upload.State.OPEN).first()
    if not upload:
        return
    try:
        uploads.expand(upload, seconds=EXPANSION_SECONDS)
    except Exception as error:
        logger.exception("upload %s could not be expanded", upload_id)
        uploads.finish(upload, error=f"The ZIP could not be read to its end: {error}")


def deliver_webhooks() -> None:
    """The bell rang: there is something to deliver. A slow receiver must not hold up the queue."""
    courier.begin()
