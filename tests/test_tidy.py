"""What a reviewer would not want to say twice."""

import re
import subprocess
import sys

import pytest
from django.conf import settings

ROOT = settings.BASE_DIR
SOURCES = [*ROOT.glob("templates/**/*.html"), *ROOT.glob("static/js/*.js"), *ROOT.glob("*/*.py")]
USED = "\n".join(path.read_text() for path in SOURCES)
# Classes whose names are put together, or made by a library: of a state, a level, an icon, a form, a request.
MADE = ("state-", "label-colour-", "alert-", "icon-", "errorlist", "nonfield", "htmx-indicator")


def run(*command: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=settings.BASE_DIR, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_code_is_formatted() -> None:
    run("ruff", "format", "--check", ".")


def test_the_linter_finds_nothing() -> None:
    run("ruff", "check", ".")


def test_every_icon_that_is_vendored_is_used_and_the_other_way_round() -> None:
    sprite = (ROOT / "static/vendor/lucide/icons.svg").read_text()
    named = re.findall(r'(?:with name|icon)="([\w-]+)"', USED) + re.findall(r"icons\.svg' %}#([\w-]+)", USED)
    assert set(re.findall(r'<symbol id="([^"]+)"', sprite)) == set(named)


# What api-docs.css dresses is Swagger's own.
@pytest.mark.parametrize("name", ["site", "forms", "components", "gallery", "review", "talk", "duplicates"])
def test_every_class_of_a_style_sheet_is_used(name: str) -> None:
    css = re.sub(r"/\*.*?\*/", "", (ROOT / f"static/css/{name}.css").read_text(), flags=re.DOTALL)
    selectors = re.sub(r"\{[^{}]*\}", "{}", css)
    classes = {found for found in re.findall(r"\.([a-z][\w-]*)", selectors) if not found.startswith(MADE)}
    words = set(re.findall(r"[\w-]+", USED))
    assert classes - words == set()
