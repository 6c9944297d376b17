"""Is there room? What people decide must find some when pictures no longer do."""

import shutil

from django.conf import settings


def is_low() -> bool:
    """Whether the disk of DATA_DIR has less than DISK_RESERVE_BYTES left."""
    try:
        return shutil.disk_usage(settings.DATA_DIR).free < settings.DISK_RESERVE_BYTES
    except OSError:
        return False
