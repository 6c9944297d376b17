"""A backup of every version that there was, brought up to date and put to use."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.live import ROOT, Site, free_port, wait_for

BACKUPS = sorted((ROOT / "tests" / "upgrade").glob("*.zip"))
HISTORY = """
    SELECT image.name, user.username, review.label_name, review.verdict, review.suggested_name, undone.verdict
    FROM labeling_review AS review
    JOIN gallery_image AS image ON image.id = review.image_id
    JOIN auth_user AS user ON user.id = review.user_id
    LEFT JOIN labeling_review AS undone ON undone.id = review.undoes_id
    ORDER BY review.id
"""
ANSWERS = """
    SELECT image.name, label.name, answer.status, user.username
    FROM labeling_annotation AS answer
    JOIN gallery_image AS image ON image.id = answer.image_id
    JOIN auth_user AS user ON user.id = answer.decided_by_id
    LEFT JOIN labeling_label AS label ON label.id = answer.label_id
    ORDER BY image.id
"""
MATCHES = """
    SELECT label.name FROM labeling_match AS match JOIN labeling_label AS label ON label.id = match.label_id
    WHERE match.label_set_id = 1 ORDER BY match.image_id
"""
# Django itself keeps these in step with the models.
NOT_OURS = {"auth.permission"}
# Where rows of an older version stand today.
MOVED = {"knox.authtoken": "gallery_apitoken"}


@pytest.fixture(params=BACKUPS, ids=lambda path: path.stem)
def backup(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def then(backup: Path) -> dict[str, Any]:
    """What was in it when it was made."""
    return json.loads(backup.with_suffix(".json").read_text())


@pytest.fixture
def site(backup: Path, tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    site.manage("restore", str(backup))
    yield site
    site.kill_everything()


def rows(site: Site, sql: str) -> list[list]:
    with closing(sqlite3.connect(site.data_dir / "db.sqlite3", timeout=20)) as database:
        return [list(row) for row in database.execute(sql)]


def test_every_version_left_a_backup() -> None:
    assert "0.1.0" in {path.stem for path in BACKUPS}
    assert all(path.stat().st_size < 300_000 for path in BACKUPS)


def test_nothing_of_an_older_version_is_lost(site: Site, then: dict[str, Any]) -> None:
    assert "no migrations to apply" in site.manage("migrate").lower()
    ours = {name: count for name, count in then["counts"].items() if name not in NOT_OURS}
    tables = {name: MOVED.get(name, name.replace(".", "_")) for name in ours}
    assert {name: site.value(f"SELECT count(*) FROM {table}") for name, table in tables.items()} == ours
    assert rows(site, HISTORY) == then["history"]
    assert rows(site, ANSWERS) == then["answers"]
    assert [label for (label,) in rows(site, MATCHES)] == then["matches"]
    assert "All is well" in site.manage("fsck", "--hashes")


def test_an_older_version_is_served_and_goes_on_with_its_work(site: Site, then: dict[str, Any]) -> None:
    site.url = f"http://127.0.0.1:{(port := free_port())}"
    site.start("start", "--port", str(port))
    wait_for(lambda: "is at http" in (site.data_dir / "log.txt").read_text(), 60, "the site did not start")
    api = f"{site.url}/api/v1"
    password = {"username": "lars", "password": then["password"]}
    assert requests.post(f"{api}/token/", json=password).status_code == 200, "a password is still good"
    headers = {"Authorization": f"Token {then['token']}"}
    assert requests.get(f"{api}/projects/upgrade/images/", headers=headers).status_code == 200
    for (pk, digest), then_digest in zip(
        rows(site, "SELECT id, sha256 FROM gallery_image ORDER BY id LIMIT 12"), then["hashes"], strict=True
    ):
        picture = requests.get(f"{api}/images/{pk}/file/", headers=headers)
        assert sha256(picture.content).hexdigest() == digest == then_digest
        assert requests.get(f"{api}/images/{pk}/thumbnail/", headers=headers).content[8:12] == b"WEBP"
    open_runs = "SELECT count(*) FROM labeling_scoringrun WHERE state IN ('queued', 'running')"
    wait_for(lambda: site.value("SELECT state FROM gallery_upload WHERE id = 2") == "done", 90, "no ZIP")
    assert site.value("SELECT count(*) FROM gallery_image") == 14, "the ZIP that waited is unpacked"
    unlabelled = """
        SELECT count(*) FROM gallery_image, labeling_labelset AS own WHERE NOT EXISTS
        (SELECT 1 FROM labeling_match WHERE image_id = gallery_image.id AND label_set_id = own.id)
    """
    wait_for(lambda: not site.value(open_runs) and not site.value(unlabelled), 90, "the runs did not end")
    assert rows(site, HISTORY) == then["history"], "and no machine touched what people decided"
