"""The environment in, a site that is closed by default out: in processes of their own, as it is read once."""

import ast
import json
import os
import re
import secrets
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import User
from django.core.management.utils import get_random_secret_key

from clipsite.prepare import first_superuser
from clipsite.settings import weakness

ROOT = django_settings.BASE_DIR
READS = re.compile(r'\benv\.\w+\(\s*"([A-Z_]+)"')
SETTINGS = re.findall(READS, (ROOT / "clipsite" / "settings.py").read_text())
LONG_SECRET = secrets.token_urlsafe(64)
IN_PRODUCTION = {
    "ALLOWED_HOSTS": "clips.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://clips.example.org",
    "SECRET_KEY": LONG_SECRET,
}


def run(data_dir: Path, *command: str, **environment: str) -> subprocess.CompletedProcess:
    """A python command that reads its settings from `environment` alone."""
    # Empty ones are as good as none, and keep the values of the developer's own .env out.
    unset = dict.fromkeys(SETTINGS, "")
    django = {"DATA_DIR": str(data_dir), "DJANGO_SETTINGS_MODULE": "clipsite.settings"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env=os.environ | unset | django | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def settings_under(data_dir: Path, **environment: str) -> dict[str, str]:
    """Every setting as its repr."""
    code = (
        "import json, clipsite.settings as s;"
        "print(json.dumps({name: repr(value) for name, value in vars(s).items() if name.isupper()}))"
    )
    done = run(data_dir, "-c", code, **environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_generated_secret_is_long_kept_and_for_its_owner_alone(tmp_path: Path) -> None:
    first = settings_under(tmp_path / "data")["SECRET_KEY"]
    assert len(first) > 60
    assert settings_under(tmp_path / "data")["SECRET_KEY"] == first
    assert settings_under(tmp_path / "other")["SECRET_KEY"] != first
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700


def test_closed_by_default(tmp_path: Path) -> None:
    site = settings_under(tmp_path)
    assert site["DEBUG"] == site["SIGNUP_OPEN"] == site["BEST_MATCH_PUBLIC"] == "False"
    assert site["HOST"] == "'127.0.0.1'" and site["PUBLIC"] == "False"
    assert site["ALLAUTH_TRUSTED_PROXY_COUNT"] == "0", (
        "who talks to the site itself can't name another address"
    )


def test_in_production_everything_is_https_only(tmp_path: Path) -> None:
    site = settings_under(tmp_path, **IN_PRODUCTION)
    for name in ("SESSION_COOKIE_SECURE", "CSRF_COOKIE_SECURE", "SECURE_SSL_REDIRECT"):
        assert site[name] == "True", name
    assert int(site["SECURE_HSTS_SECONDS"]) > 0
    assert site["ALLAUTH_TRUSTED_PROXY_COUNT"] == "1", "log-ins are counted for each client of the proxy"
    assert not (tmp_path / "secret_key").exists(), "none is generated where one is given"


@pytest.mark.parametrize("environment", [{}, IN_PRODUCTION], ids=["local", "https"])
def test_djangos_check_for_deployment_is_clean(tmp_path: Path, environment: dict[str, str]) -> None:
    done = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **environment)
    assert done.returncode == 0, done.stderr
    assert "no issues" in done.stdout


def test_djangos_check_warns_of_a_site_that_is_open_without_https(tmp_path: Path) -> None:
    plain = {"ALLOWED_HOSTS": "clips.example.org", "SECRET_KEY": LONG_SECRET}
    done = run(tmp_path, "manage.py", "check", "--deploy", "--fail-level", "WARNING", **plain)
    assert done.returncode == 1
    for number in ("W004", "W008", "W012", "W016"):
        assert f"security.{number}" in done.stderr


# Secrets


@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("short", "it has 5 characters"),
        pytest.param(LONG_SECRET[:49], "it has 49 characters", id="49"),
        ("x" * 64, "it repeats itself"),
        ("0123456789" * 6, "it repeats itself"),
        ("abcdefghijklmnopqrstuvwxyz" * 2, "it repeats itself"),
        ("changeme" * 8, "it repeats itself"),
        ("Please-Change-Me-to-fifty-random-letters-and-0123456789", "“change”"),
        ("django-insecure-" + LONG_SECRET, "“insecure”"),
        ("my-site-has-a-long-secret-key-and-nobody-knows-what-it-is", "“secret”"),
    ],
)
def test_a_secret_that_others_could_guess_is_none(secret: str, why: str) -> None:
    assert why in weakness(secret)


@pytest.mark.parametrize(
    "secret",
    [secrets.token_urlsafe(64), secrets.token_hex(32), get_random_secret_key()],
    ids=["urlsafe", "hex", "django"],
)
def test_a_secret_that_is_random_will_do(secret: str) -> None:
    assert weakness(secret) == ""


OPENED = {
    "any host": {"ALLOWED_HOSTS": "*"},
    "a host": {"ALLOWED_HOSTS": "clips.example.org"},
    "https": {"CSRF_TRUSTED_ORIGINS": "https://clips.example.org"},
}


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
@pytest.mark.parametrize(
    ("secret", "why"),
    [
        ("", "it is missing"),
        ("changeme", "it has 8 characters"),
        ("django-insecure-" + LONG_SECRET, "insecure"),
    ],
    ids=["missing", "short", "default"],
)
def test_a_site_that_is_open_to_others_does_not_start_with_such_a_secret(
    tmp_path: Path, opened: dict[str, str], secret: str, why: str
) -> None:
    done = run(tmp_path, "manage.py", "check", SECRET_KEY=secret, **opened)
    assert done.returncode == 1
    said = done.stderr.strip()
    assert said.startswith("The configuration is wrong: ") and len(said.splitlines()) == 1
    assert "SECRET_KEY must be set to 50 random characters or more" in said and why in said
    assert LONG_SECRET not in said, "the secret itself isn't told"


@pytest.mark.parametrize("opened", OPENED.values(), ids=OPENED)
def test_a_site_that_is_open_to_others_starts_with_a_random_secret(
    tmp_path: Path, opened: dict[str, str]
) -> None:
    assert settings_under(tmp_path, SECRET_KEY=LONG_SECRET, **opened)["SECRET_KEY"] == repr(LONG_SECRET)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7"])
def test_a_port_that_others_reach_wants_a_secret_that_none_could_guess(tmp_path: Path, host: str) -> None:
    done = run(tmp_path, "manage.py", "check", HOST=host, SECRET_KEY="changeme")
    assert done.returncode == 1 and "SECRET_KEY must be set" in done.stderr
    generated = settings_under(tmp_path, HOST=host)["SECRET_KEY"]
    assert weakness(generated) == "", "a generated one will do"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1"])
def test_a_port_of_this_machine_alone_may_have_any_secret_and_debug_pages(tmp_path: Path, host: str) -> None:
    assert settings_under(tmp_path, HOST=host, SECRET_KEY="changeme", DEBUG="on")["DEBUG"] == "True"


def test_every_change_of_the_models_has_its_migration(tmp_path: Path) -> None:
    done = run(tmp_path, "manage.py", "makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"ALLOWED_HOSTS": "*", "SECRET_KEY": LONG_SECRET, "DEBUG": "on"}, "DEBUG shows the inside"),
        (
            {"CSRF_TRUSTED_ORIGINS": "https://a.example.org", "SECRET_KEY": LONG_SECRET, "DEBUG": "on"},
            "DEBUG shows the inside",
        ),
        ({"HOST": "0.0.0.0", "DEBUG": "on"}, "DEBUG shows the inside"),
        ({"CLIP_PRECISION": "int8"}, "CLIP_PRECISION is 'int8': it must be auto, fp32 or bf16."),
        ({"API_RATE": "600"}, "API_RATE is '600': it must be a number a second, minute, hour or day: 600/m."),
        ({"PORT": "eighty"}, "PORT can't be read"),
        ({"DATABASE_URL": "somewhere"}, "DATABASE_URL can't be read"),
    ],
)
def test_a_wrong_value_stops_the_start_in_words(
    tmp_path: Path, environment: dict[str, str], sentence: str
) -> None:
    done = run(tmp_path, "manage.py", "check", **environment)
    assert done.returncode == 1
    last_line = done.stderr.splitlines()[-1]
    assert last_line.startswith("The configuration is wrong: ") and sentence in last_line
    assert "Traceback" not in done.stderr


def test_lists_may_have_spaces(tmp_path: Path) -> None:
    site = settings_under(tmp_path, ALLOWED_HOSTS="localhost, 127.0.0.1")
    assert ast.literal_eval(site["ALLOWED_HOSTS"]) == ["localhost", "127.0.0.1"]


def test_a_relative_data_dir_is_the_projects(tmp_path: Path) -> None:
    outside = os.path.relpath(tmp_path, ROOT)
    assert settings_under(Path(outside))["DATA_DIR"] == repr(ROOT / outside)


# The first superuser


@pytest.fixture
def first(settings: Any) -> Any:
    settings.ADMIN_USERNAME, settings.ADMIN_PASSWORD = "anna", "anna-secret-1"
    return settings


def test_the_first_superuser_can_log_in(db: None, first: Any) -> None:
    first_superuser()
    anna = authenticate(username="anna", password="anna-secret-1")
    assert anna.is_superuser and anna.is_staff


@pytest.mark.parametrize("missing", ["ADMIN_USERNAME", "ADMIN_PASSWORD"])
def test_half_a_superuser_is_none(db: None, first: Any, missing: str) -> None:
    setattr(first, missing, "")
    first_superuser()
    assert not User.objects.exists()


def test_where_there_is_a_superuser_none_is_made_or_changed(db: None, first: Any) -> None:
    User.objects.create_superuser("otto", password="otto-secret-1")
    first_superuser()
    first_superuser()
    assert [user.username for user in User.objects.all()] == ["otto"]


def test_a_user_of_that_name_keeps_the_password_and_gets_no_rights(
    db: None, first: Any, caplog: pytest.LogCaptureFixture
) -> None:
    User.objects.create_user("anna", password="other-secret-1")
    first_superuser()
    anna = User.objects.get()
    assert anna.check_password("other-secret-1") and not anna.is_superuser
    assert "anna is a user already, and no superuser" in caplog.text
