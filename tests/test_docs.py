"""What README.md and .env.example say is there, and what is there is said."""

import re
import tomllib
from pathlib import Path

import pytest
from django.core.management import get_commands, load_command_class

import clipsite
from tests.test_settings import ROOT, SETTINGS, settings_under

README = (ROOT / "README.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()
EXAMPLES = dict(re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE, re.MULTILINE))
# In the table of the README, a row begins with the variables that it explains.
ROWS = re.findall(r"^\|((?: ?`[A-Z_]+`,?)+) \|", README, re.MULTILINE)
EXPLAINED = [name for row in ROWS for name in re.findall(r"[A-Z_]+", row)]
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*/?")
ENDINGS = {".py", ".md", ".txt", ".toml", ".yml", ".yaml", ".png", ".webp", ".example", ".sh"}
# Made by the first command, and so no part of the repository.
MADE = {"data/"}


def test_the_site_its_client_and_the_changelog_are_of_one_version() -> None:
    [newest, *_] = re.findall(r"^## ([\d.]+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    client = tomllib.loads((ROOT / "client" / "pyproject.toml").read_text())
    assert clipsite.__version__ == client["project"]["version"] == newest


def test_settings_reads_variables() -> None:
    assert len(SETTINGS) > 20 and len(SETTINGS) == len(set(SETTINGS))


def test_the_example_lists_each_variable_once_and_no_other() -> None:
    assert sorted(EXAMPLES) == sorted(SETTINGS)
    assert len(re.findall(r"^#?[A-Z_]+=", EXAMPLE, re.MULTILINE)) == len(SETTINGS)


def test_the_readme_explains_each_variable_once_and_no_other() -> None:
    assert sorted(EXPLAINED) == sorted(SETTINGS)


def test_the_example_says_what_the_defaults_are(tmp_path: Path) -> None:
    examples = {name: value for name, value in EXAMPLES.items() if name != "DATA_DIR"}
    assert settings_under(tmp_path, **examples) == settings_under(tmp_path)
    assert EXAMPLES["DATA_DIR"] == "data"


def words_like_files() -> set[str]:
    """The words of the README that are written as code, or linked to, and look like paths."""
    code = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
    without_blocks = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    code += re.findall(r"`([^`\n]+)`", without_blocks)
    words = {word for text in code for word in text.split()}
    words |= set(re.findall(r"\]\(([^)#\s]+)\)", README))
    return {word for word in words if FILE.fullmatch(word) and looks_like_a_file(word)}


def looks_like_a_file(word: str) -> bool:
    return not word.startswith(".venv/") and (word.endswith("/") or Path(word).suffix in ENDINGS)


def test_the_readme_names_files() -> None:
    named = {"requirements.txt", "requirements-dev.txt", "manage.py", ".env.example", "SECURITY.md"}
    assert named <= words_like_files()


@pytest.mark.parametrize("path", sorted(words_like_files() - MADE))
def test_a_path_in_the_readme_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_what_is_made_is_not_in_the_repository() -> None:
    assert set((ROOT / ".gitignore").read_text().split()) >= MADE


def test_the_commands_in_the_readme_exist_with_their_options() -> None:
    used = re.findall(r"manage\.py (\w+)([^`|\n]*)", README)
    assert {"demo", "start", "status", "worker", "fetch_model"} <= {name for name, _ in used}
    known = get_commands()
    for name, rest in used:
        assert name in known, name
        app = known[name]
        command = load_command_class(app, name) if isinstance(app, str) else app
        options = command.create_parser("manage.py", name).format_help()
        for option in re.findall(r"--[\w-]+", rest):
            assert f"{option} " in options or f"{option}\n" in options, f"{name} {option}"
