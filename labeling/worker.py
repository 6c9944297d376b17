"""The crash-only supervisor: one queue cluster in a session of its own, started afresh after any death.

A worker that is killed while it waits holds the queue's lock for ever, and every process id still looks
alive; so when one process of the cluster is gone, all of it is ended and started again. What it was at
stands in rows. The supervisor imports the slow libraries once and forks each cluster: a fresh one is at work
within a second, and all its processes share that memory.
"""

import fcntl
import gc
import logging
import multiprocessing
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import IO

import psutil
from django.conf import settings
from django.db import close_old_connections, connections

from gallery import courier, uploads
from labeling import beat, clip, cluster, looking

logger = logging.getLogger(__name__)

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
BEAT_SECONDS = 5
FOLLOW_SECONDS = 60
WATCH_SECONDS = 0.5
# The longest that a cluster may take to put down what it is at, once it is told to stop.
STOP_SECONDS = 20
# People's pages come first where the processor is short.
NICE = 10
# Longer than any task may take: a cluster that leaves the bell unanswered for so long does nothing any more.
UNANSWERED_SECONDS = settings.Q_CLUSTER["timeout"] + 30


class AlreadyRunning(RuntimeError):
    """Another supervisor serves this DATA_DIR."""


def supervise() -> None:
    """Run a worker until SIGTERM, SIGINT or SIGHUP. Raises AlreadyRunning."""
    with _lock() as lock:
        # Nothing is begun yet: a signal may end it at once.
        _on_stop(lambda *_: sys.exit())
        _end_leftover(lock)
        _beat(follow=False)
        clip.import_libraries()
        # The collector would write to every object that is shared with the cluster, and so copy its page.
        gc.freeze()
        # Not a threading.Event: a signal that comes while one is waited for can hang it.
        signals: list[int] = []
        _on_stop(lambda number, _: signals.append(number))
        while not signals:
            _run_cluster(lock, signals)


def _on_stop(handler: Callable[[int, object], object] | signal.Handlers) -> None:
    for number in STOPS:
        signal.signal(number, handler)


def is_running() -> bool:
    """Whether a supervisor serves this DATA_DIR now."""
    try:
        _lock().close()
    except AlreadyRunning:
        return True
    return False


def is_stopping() -> bool:
    """Whether the supervisor has told the cluster of this very process to end: then nothing new is begun."""
    try:
        return _lock_path().read_text() == _stopping(os.getsid(0))
    except FileNotFoundError:
        return False


def _stopping(group: int) -> str:
    return f"{group} is stopping"


def _lock_path() -> Path:
    return Path(settings.DATA_DIR, "worker.lock")


def _lock() -> IO[str]:
    lock = _lock_path().open("a+")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise AlreadyRunning("A worker is running already for this DATA_DIR.") from error
    return lock


def _end_leftover(lock: IO[str]) -> None:
    """End the cluster of a supervisor that was killed: the lock's file names its session."""
    lock.seek(0)
    with suppress(ValueError):
        group = int(lock.read().partition(" ")[0])
        # Its main process may be gone, and another program have its number by now.
        if any(_is_of_cluster(process, group) for process in psutil.process_iter()):
            _kill(group)


def _is_of_cluster(process: psutil.Process, group: int) -> bool:
    with suppress(psutil.Error, ProcessLookupError):
        return os.getsid(process.pid) == group and "worker" in process.cmdline()
    return False


def _run_cluster(lock: IO[str], signals: Sequence[int]) -> None:
    """Start a cluster and watch it until a process of it dies, or a signal came."""
    process = _fork_cluster(lock)
    _note(lock, str(process.pid))
    try:
        _watch(process, signals)
        if signals and process.is_alive():
            _note(lock, _stopping(process.pid))
            # To the main process alone: a signal to the whole group hangs it.
            process.terminate()
            process.join(STOP_SECONDS)
    finally:
        # In this order: one that has no session yet can't begin others any more.
        process.kill()
        _kill(process.pid)
        process.join()


def _fork_cluster(lock: IO[str]) -> BaseProcess:
    # A child must not use what its parent is connected by, nor end it.
    connections.close_all()
    process = multiprocessing.get_context("fork").Process(target=_be_cluster, args=(lock,))
    # A signal in between would be lost in the handlers that a child begins with.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
    process.start()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    return process


def _be_cluster(lock: IO[str]) -> None:
    os.setpriority(os.PRIO_PROCESS, 0, NICE)
    os.setsid()
    # Else it would go on holding it for a supervisor that is gone.
    lock.close()
    _on_stop(signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, STOPS)
    cluster.run()


def _watch(main: BaseProcess, signals: Sequence[int]) -> None:
    members: set[psutil.Process] = set()
    answered = time.monotonic()
    for ticks in count():
        if signals:
            return
        if not main.is_alive() or any(not _lives(member) for member in members):
            logger.warning("a process of the worker died: the worker is started afresh")
            return
        # Whatever else they start, a decoder, may die alone. In this order: one that dies just now stays.
        members = {
            member
            for member in members | _children(main)
            if _is_of_cluster(member, main.pid) or not _lives(member)
        }
        if ticks % (BEAT_SECONDS / WATCH_SECONDS) == 0:
            if not _beat(follow=ticks % (FOLLOW_SECONDS / WATCH_SECONDS) == 0):
                answered = time.monotonic()
            elif time.monotonic() - answered > UNANSWERED_SECONDS:
                logger.warning("the worker does not answer: it is started afresh")
                return
        time.sleep(WATCH_SECONDS)


def _note(lock: IO[str], text: str) -> None:
    lock.truncate(0)
    lock.write(text)
    lock.flush()


def _children(main: BaseProcess) -> set[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        return set(psutil.Process(main.pid).children(recursive=True))
    return set()


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _beat(follow: bool) -> bool:
    """Say that this worker lives; ring for work that nobody is at; `follow`: see to what was forgotten.

    Returns whether it rang.
    """
    try:
        close_old_connections()
        beat.beat(f"{platform.node()}:{os.getpid()}")
        beat.free_what_the_dead_hold()
        rang = beat.ring_for_waiting()
        looking.ring_for_waiting()
        uploads.resume_expansions()
        courier.ring_for_waiting()
        if follow:
            courier.prune()
            beat.follow_forgotten()
            looking.begin_forgotten()
        return rang
    except Exception:  # a database, a queue or a disk that is away must not end the worker
        logger.exception("the worker's beat failed; it is tried again")
        return False


def _kill(group: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
