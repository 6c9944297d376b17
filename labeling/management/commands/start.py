import signal
import socket
import subprocess
import sys
import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from clipsite.prepare import prepare
from labeling import clip

# One process with threads: its memory is CLIP's once, and SQLite likes one writer's process.
GUNICORN = ["--worker-class=gthread", "--workers=1", "--threads=8", "--timeout=120", "--no-control-socket"]
QUIET = ["--log-level=warning"]


class Command(BaseCommand):
    help = "Prepare the site, then run web and worker from this terminal. Ctrl-C ends both."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--port", type=int, default=settings.PORT)

    def handle(self, *args: Any, port: int, **options: Any) -> None:
        model = self.usable_model()
        self.check_address(port)
        prepare()
        self.say(f"Model: {model.name}")
        signals: list[int] = []
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda number, _: signals.append(number))
        commands = [
            ["-m", "gunicorn", *self.gunicorn(port), "clipsite.wsgi"],
            [settings.BASE_DIR / "manage.py", "worker", "-v0"],
        ]
        # In sessions of their own: a Ctrl-C reaches this process alone, which then ends them in good order.
        parts = [subprocess.Popen([sys.executable, *command], start_new_session=True) for command in commands]
        self.run_until_one_ends(parts, signals, port)

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

    def say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def gunicorn(self, port: int) -> list[str]:
        return [*GUNICORN, *QUIET, f"--bind={settings.HOST}:{port}", f"--pythonpath={settings.BASE_DIR}"]

    def run_until_one_ends(self, parts: list[subprocess.Popen], signals: list[int], port: int) -> None:
        """Wait for a signal, or for the end of either part, which ends the other too."""
        announced = False
        while not signals and all(part.poll() is None for part in parts):
            time.sleep(0.2)
            if not announced and answers(port):
                announced = True
                host = "localhost" if settings.HOST == "0.0.0.0" else settings.HOST
                self.say(f"clipsite is at http://{host}:{port}/ (Ctrl-C ends it)")
        died = [part for part in parts if part.poll() is not None]
        for part in parts:
            part.terminate()
        for part in parts:
            part.wait()
        if died and not signals:
            raise CommandError("The web server or the worker ended by itself; its reason stands above.")


def answers(port: int) -> bool:
    try:
        socket.create_connection((settings.HOST, port), timeout=1).close()
    except OSError:
        return False
    return True
