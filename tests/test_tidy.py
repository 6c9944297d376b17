"""What a reviewer would not want to say twice."""

import subprocess
import sys

from django.conf import settings


def run(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=settings.BASE_DIR, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_is_formatted() -> None:
    run("ruff", "format", "--check", ".")


def test_the_linter_finds_nothing() -> None:
    run("ruff", "check", ".")
