"""Label sets to start from: the files of `ready/`, each a label set's JSON document with a description."""

import json
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "ready"


@cache
def every() -> dict[str, dict[str, Any]]:
    """The document of each, by its key, which is the file's name."""
    return {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
