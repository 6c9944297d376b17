"""The slow bars, each by its command in its short form."""

import re
import subprocess
import sys

import pytest
from django.conf import settings

SHORT_FORMS = [
    ("kill.py", "--short", "--seeds", "2"),
    ("idle_kill.py", "--times", "3"),
    ("poison.py", "--short", "--seeds", "2"),
    ("hang.py", "--timeout", "12"),
    ("stop.py", "--times", "2"),
    ("away.py",),
    ("contention.py", "--short"),
    ("bulk.py", "--short"),
    ("upload_crash.py", "--short"),
    ("disk_full.py", "--short"),
    ("soak.py", "--short"),
    ("backup.py", "--short"),
    ("hostile.py", "--short"),
    ("fuzz.py", "--short"),
]


TABLE = (settings.BASE_DIR / "docs" / "reliability.md").read_text()


def test_the_table_of_bars_names_each_command_and_no_other() -> None:
    named = set(re.findall(r"`((?:benchmarks|tests)/[\w/]+\.py)", TABLE)) - {"tests/test_reliability.py"}
    assert [name for name in named if not (settings.BASE_DIR / name).exists()] == []
    scripts = {name.rpartition("/")[2] for name in named if name.startswith("benchmarks/")}
    assert scripts == {command[0] for command in SHORT_FORMS}
    assert len(re.findall(r"^\| .* \|$", TABLE, re.MULTILINE)) == 1 + 26, "the head, and a row for each bar"


@pytest.mark.parametrize("command", SHORT_FORMS, ids=lambda command: command[0])
def test_the_bar_holds_in_its_short_form(command: tuple[str, ...]) -> None:
    script, *args = command
    path = settings.BASE_DIR / "benchmarks" / "reliability" / script
    done = subprocess.run(
        [sys.executable, path, *args], cwd=settings.BASE_DIR, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
