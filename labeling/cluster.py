"""django-q's cluster, crash-only, in the process that the supervisor forks for it.

As it comes, the cluster puts a new process in the place of one that died; but where that one held the queue's
lock, all others wait for it for ever. So with one of them all end, and the supervisor starts them afresh.
"""

import os
import signal

from django.core.management import call_command
from django_q.cluster import Sentinel


def run() -> None:
    """Be the cluster until SIGTERM. The process must lead a session of its own."""
    Sentinel.reincarnate = end_all
    call_command("qcluster")


def end_all(sentinel: object, process: object) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
