"""Who holds a row of work: a process of a machine, written as host:pid:nonce."""

import os
import platform
import uuid

import psutil


def here() -> str:
    """What the tokens of this machine begin with."""
    return f"{platform.node()}:"


def token() -> str:
    """A token for this process, and for one claim of it alone."""
    return f"{here()}{os.getpid()}:{uuid.uuid4().hex}"


def is_dead(token: str) -> bool:
    """Whether the process of a token of this machine is gone."""
    # In a container whose first process reaps nobody, the dead keep their numbers.
    try:
        return psutil.Process(int(token.rsplit(":", 2)[1])).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
