"""Long exports, of which a second process writes a part: the same to the last byte whatever befalls it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.live import Site, wait_for


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    site = Site(tmp_path_factory.mktemp("site"))
    code = "from tests.labeling import long_export; long_export.main()"
    try:
        yield json.loads(site.manage("shell", "-v0", "-c", code, timeout=300))
    finally:
        site.kill_everything()


# Of 35 settled images 12 are max's, and 15 a cat, as of the other 35 are 8 by suggestion.
@pytest.mark.parametrize(("name", "lines"), [("csv", 36), ("jsonl", 35), ("some", 23), ("raw", 13)])
def test_with_a_helper_an_export_says_the_same(found: dict[str, Any], name: str, lines: int) -> None:
    told = found[name]
    assert told["same"] and told["lines"] == lines
    assert told["answers"] == told["waited"] > 5 and told["alone"] == 0
    assert told["children"] == 0


@pytest.mark.parametrize("name", ["killed", "stopped"])
def test_an_export_goes_on_without_a_helper_that_fails(found: dict[str, Any], name: str) -> None:
    told = found[name]
    assert told["same"] and told["lines"] == 35
    assert 2 <= told["answers"] < told["waited"]
    assert told["children"] == 0


def test_an_export_goes_on_where_no_helper_can_be_had(found: dict[str, Any]) -> None:
    told = found["not to be had"]
    assert told["same"] and told["lines"] == 35 and told["answers"] == told["children"] == 0


def test_a_second_export_goes_on_alone(found: dict[str, Any]) -> None:
    assert found["beside"] == {"answers": 0, "same": True, "children": 0}


def test_an_export_that_nobody_reads_on_ends_its_helper(found: dict[str, Any]) -> None:
    told = found["left"]
    assert (told["at work"], told["after"]) == (1, 0)
    assert told["same"] and told["answers"] == told["waited"] > 5


def test_a_helper_ends_with_a_site_that_is_killed(tmp_path: Path) -> None:
    site = Site(tmp_path)
    try:
        export = site.start(
            "shell", "-v0", "-c", "from tests.labeling import long_export; long_export.hold()"
        )
        wait_for(lambda: "held" in (tmp_path / "log.txt").read_text(), 120, "no export with a helper")
        assert len(site.processes()) == 2
        export.kill()
        export.wait()
        wait_for(lambda: not site.processes(), 20, "the helper is still there")
    finally:
        site.kill_everything()
