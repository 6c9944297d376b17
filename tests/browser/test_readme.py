"""The README's ten lines of API, run as they stand against a live site."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from tests.browser.conftest import PASSWORD
from tests.live import ROOT, Site

EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)


def test_the_api_example_works(site: Site, pictures: list[Path], tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(pictures[0].read_bytes())
    code = EXAMPLE.replace("http://127.0.0.1:8000", site.url)
    code = code.replace('"demo"', '"olga"').replace('"…"', f'"{PASSWORD}"')
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT / "client")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    [row] = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    assert row["file_name"] == "cat.jpg" and row["label"] in ("cat", "dog")
