"""The one door for pictures that are shown to search by: what they are like is kept for a while."""

from datetime import timedelta

from django.core.files.uploadedfile import UploadedFile
from django.utils import timezone

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
    row = embeddings.of_picture(file.chunks())
    Probe.objects.filter(at__lt=timezone.now() - KEPT).delete()
    vector = embeddings.to_bytes(row)
    return Probe.objects.create(project=project, user=user, model=clip.current().key, vector=vector)
