"""A client that a generator makes from the API's description: without a warning, and it does the journey."""

import os
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from tests.browser.conftest import PASSWORD
from tests.live import Site

# It pins what the site pins otherwise, and so lives by itself.
GENERATOR = "openapi-python-client==0.29.1"
JOURNEY = Path(__file__).parent / "generated_journey.py"
# The generator knows no content type with a star in it; its name for any file is the one below.
CONFIG = """
content_type_overrides: {"image/*": application/octet-stream}
post_hooks: []
"""


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python with the generator, and what the client that it makes needs."""
    folder = tmp_path_factory.mktemp("generator")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=200)
    environment = {name: value for name, value in os.environ.items() if name != "PIP_CONSTRAINT"}
    done = subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "install", "-q", "--retries", "1", GENERATOR],
        env=environment,
        capture_output=True,
        text=True,
        timeout=400,
    )
    away = "Retrying" in done.stderr or "No matching distribution" in done.stderr
    if done.returncode and away:
        pytest.skip(f"no index of packages has {GENERATOR} for us: {done.stderr.strip()[-300:]}")
    assert done.returncode == 0, done.stderr
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def generated(site: Site, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that holds the package `generated`."""
    folder = tmp_path_factory.mktemp("client")
    with urllib.request.urlopen(f"{site.url}/api/v1/schema/", timeout=60) as answer:
        (folder / "schema.yml").write_bytes(answer.read())
    (folder / "config.yml").write_text(CONFIG)
    command = ["openapi-python-client", "generate", "--fail-on-warning", "--meta", "none"]
    options = ["--path", "schema.yml", "--config", "config.yml", "--output-path", "generated"]
    done = subprocess.run(
        [python.parent / command[0], *command[1:], *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "WARNING" not in said and "ERROR" not in said, said
    return folder


def test_every_operation_is_in_the_generated_client(generated: Path) -> None:
    count = (generated / "schema.yml").read_text().count("operationId: ")
    modules = [path for path in generated.glob("generated/api/*/*.py") if path.name != "__init__.py"]
    assert len(modules) == count > 100


def test_a_generated_client_does_the_whole_journey(
    site: Site, python: Path, generated: Path, pictures: list[Path]
) -> None:
    done = subprocess.run(
        [python, JOURNEY, site.url, PASSWORD, *pictures[:6]],
        env={"PYTHONPATH": str(generated), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout == "The whole journey is done.\n"
