"""Loaded before pytest-django reads the settings: tests leave the developer's own data and .env alone."""

import os
import tempfile

DATA_DIR = tempfile.TemporaryDirectory(prefix="clipsite-tests-")
os.environ["DATA_DIR"] = DATA_DIR.name
