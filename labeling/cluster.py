"""django-q's cluster, crash-only: `python -m labeling.cluster qcluster`, as the supervisor starts it.

As it comes, the cluster puts a new process in the place of one that died; but where that one held the queue's
lock, all others wait for it for ever. So with one of them all end, and the supervisor starts them afresh.
"""

import os
import signal

import django


def main() -> None:
    django.setup()

    from django.core.management import call_command
    from django_q.cluster import Sentinel

    Sentinel.reincarnate = end_all
    call_command("qcluster")


def end_all(sentinel: object, process: object) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


if __name__ == "__main__":
    main()
