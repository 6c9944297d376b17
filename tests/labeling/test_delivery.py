"""The queue may bring the same work twice, late, or at once: real processes on a real SQLite file."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live import ROOT, Site

COUNT, AT_ONCE = 48, 8
WORK = "from labeling import work; work.until_none_is_left()"
PREPARE = """
from labeling import work
from labeling.models import ScoringRun
work.prepare(ScoringRun.objects.get())
"""
CHUNK = "from labeling.models import ScoringChunk; chunk = ScoringChunk.objects.get(); "
EXPIRE = CHUNK + "; ".join(
    [
        "from datetime import timedelta",
        "from django.utils import timezone",
        "chunk.state, chunk.token = 'running', 'elsewhere:2:lost'",
        "chunk.leased_until = timezone.now() - timedelta(seconds=1)",
        "chunk.save()",
        "chunk.run.state = 'running'",
        "chunk.run.save()",
        "chunk.run.matches.filter(image_id__in=chunk.image_ids[:20]).delete()",
    ]
)
STALE = """
import numpy as np
from labeling import runs
from labeling.models import ScoringChunk
chunk = ScoringChunk.objects.get()
chunk.token = "elsewhere:1:stale"
for write in (
    lambda: runs.write(chunk, chunk.image_ids, np.ones((len(chunk.image_ids), 2), "float32"), None),
    lambda: runs.strike(chunk, chunk.image_ids[0]),
    lambda: runs.fail_image(chunk, chunk.image_ids[0], "stale"),
):
    try:
        write()
    except runs.LeaseLost:
        print("refused")
runs.finish_chunk(chunk)
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.kill_everything()


def shell(code: str) -> list[str]:
    return ["shell", "-v0", "-c", code]


def deliver(site: Site) -> None:
    """The bell rings in eight processes at once; all of them come to an end."""
    command = [sys.executable, "manage.py", *shell(WORK)]
    rings = [subprocess.Popen(command, cwd=ROOT, env=site.environment()) for _ in range(AT_ONCE)]
    assert [ring.wait(200) for ring in rings] == [0] * AT_ONCE


def stored(site: Site) -> list[object]:
    return [
        site.value(f"SELECT {what}")
        for what in (
            "count(*) FROM labeling_match",
            "count(DISTINCT image_id) FROM labeling_match",
            "count(*) FROM labeling_embedding",
            "count(DISTINCT image_id) FROM labeling_embedding",
            "count(*) FROM labeling_imageattempt",
        )
    ]


def test_work_that_is_delivered_again_and_again_is_done_once(site: Site) -> None:
    once = [COUNT] * 4 + [0]
    attempts = "SELECT sum(attempts) FROM labeling_scoringchunk"
    site.make_run(COUNT)
    site.manage(*shell(PREPARE))
    deliver(site)
    assert stored(site) == once
    assert site.value(attempts) == 1, "one of the eight had it"
    deliver(site)
    assert site.value(attempts) == 1, "what is done is not begun again"
    site.manage(*shell(EXPIRE))
    assert stored(site)[0] == COUNT - 20
    assert site.manage(*shell(STALE)).split() == ["refused"] * 3
    assert stored(site)[0] == COUNT - 20, "a stale token"
    assert site.value("SELECT state FROM labeling_scoringchunk") == "running", "a stale token ends nothing"
    deliver(site)
    assert stored(site) == once
    assert site.value(attempts) == 2
    assert site.value("SELECT state FROM labeling_scoringrun") == "done"
