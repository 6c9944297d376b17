import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from clipsite import sqlite
from clipsite.prepare import prepare
from labeling import clip, worker
from labeling.worker import STOP_SECONDS

# One process with threads: its memory is CLIP's once, and SQLite likes one writer's process.
GUNICORN = ["--worker-class=gthread", "--workers=1", "--threads=8", "--timeout=120", "--no-control-socket"]
QUIET = ["--log-level=warning"]
# A part that dies within so many seconds, and so many times in a row, can't run at all.
SOON, DEATHS = 5, 5
PR_SET_PDEATHSIG = 1  # of Linux' prctl.h


class Command(BaseCommand):
    help = "Prepare the site, then run web and worker from this terminal. Ctrl-C ends both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        model = self.usable_model()
        self.check_address(port)
        self.check_worker()
        prepare()
        self.say(f"Model: {model.name}")
        if warning := sqlite.warning():
            self.stderr.write(self.style.WARNING(warning))
        signals: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: signals.append(number))
        commands = {
            "web server": ["-m", "gunicorn", *self.gunicorn(port), "clipsite.wsgi"],
            "worker": [str(settings.BASE_DIR / "manage.py"), "worker", "-v0"],
        }
        self.keep_running(commands, signals, port)

    def usable_model(self) -> clip.ModelFolder:
        try:
            return clip.current()
        except clip.ModelUnusable as error:
            raise CommandError(str(error)) from error

    def check_address(self, port: int) -> None:
        """Say at once what would otherwise end the web server after a moment."""
        try:
            socket.create_server((settings.HOST, port)).close()
        except OSError as error:
            reason = error.strerror.partition(" (")[0]
            raise CommandError(
                f"{settings.HOST}:{port} can't be used ({reason}). Another port: --port {port + 1}"
            ) from error

    def check_worker(self) -> None:
        """One that ends with a site that was killed a moment ago is waited for."""
        until = time.monotonic() + STOP_SECONDS + SOON
        while worker.is_running():
            if time.monotonic() > until:
                raise CommandError("A worker is running already for this DATA_DIR. End it first.")
            time.sleep(0.2)

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def gunicorn(self, port: int) -> list[str]:
        return [*GUNICORN, *QUIET, f"--bind={settings.HOST}:{port}", f"--pythonpath={settings.BASE_DIR}"]

    def keep_running(self, commands: dict[str, list[str]], signals: list[int], port: int) -> None:
        """Run all parts until a signal comes, each one afresh when it dies.

        Raises CommandError where one dies at once, again and again.
        """
        parts = {name: begin(command) for name, command in commands.items()}
        begun, deaths = dict.fromkeys(parts, time.monotonic()), dict.fromkeys(parts, 0)
        announced = False
        try:
            while not signals:
                time.sleep(0.2)
                for name in [name for name, part in parts.items() if part.poll() is not None]:
                    soon = time.monotonic() - begun[name] < SOON
                    deaths[name] = deaths[name] + 1 if soon else 1
                    if deaths[name] == DEATHS:
                        raise CommandError(f"The {name} ends again and again; its reason stands above.")
                    self.stderr.write(f"The {name} ended by itself: it is started afresh.")
                    end_rest_of(parts[name])
                    parts[name], begun[name] = begin(commands[name]), time.monotonic()
                if not announced and answers(port):
                    announced = True
                    host = "localhost" if settings.HOST == "0.0.0.0" else settings.HOST
                    self.say(f"clipsite is at http://{host}:{port}/ (Ctrl-C ends it)")
        finally:
            for part in parts.values():
                part.terminate()
            for part in parts.values():
                part.wait()


def begin(command: list[str]) -> subprocess.Popen:
    """Start a part, in a session of its own: a Ctrl-C reaches this process alone, which ends all parts."""
    return subprocess.Popen([sys.executable, *command], start_new_session=True, preexec_fn=end_with_parent)


def end_with_parent() -> None:
    """Have the kernel tell this process when the one that started it is gone, SIGKILL included."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def end_rest_of(part: subprocess.Popen) -> None:
    """A killed web server's own workers would hold the port for a while."""
    with suppress(ProcessLookupError):
        os.killpg(part.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    try:
        socket.create_connection((settings.HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
