"""The one door for pictures that are shown to search by: what they are like is kept for a while."""

import io
from datetime import timedelta

import PIL.Image
from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

from gallery import decoder, intake
from gallery.access import User
from gallery.models import Project
from labeling import clip, embeddings
from labeling.models import Probe

# As long can a search by one be looked at again, and no saved view of it outlives that.
KEPT = timedelta(days=7)


def show(project: Project, user: User, file: UploadedFile) -> Probe:
    """What CLIP sees in the picture, for `picture:ID` in the search line.

    Raises decoding.BadPicture, intake.StorageFull and clip.ModelUnusable.
    """
    engine = clip.engine()
    with intake.received(file.chunks()) as received:
        preview = decoder.decode(received.path).preview
    picture = PIL.Image.open(io.BytesIO(preview)).convert("RGB")
    [row] = engine.embed_images([picture])
    Probe.objects.filter(at__lt=timezone.now() - KEPT).delete()
    return Probe.objects.create(
        project=project, user=user, model=engine.folder.key, vector=embeddings.to_bytes(row)
    )
