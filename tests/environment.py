"""Loaded before pytest-django reads the settings: tests leave the developer's own data and .env alone."""

import os
import signal
import tempfile

DATA_DIR = tempfile.TemporaryDirectory(prefix="clipsite-tests-")
os.environ["DATA_DIR"] = DATA_DIR.name
# A shell has what it begins in the background ignore Ctrl-C, and so would the commands that the tests begin.
signal.signal(signal.SIGINT, signal.default_int_handler)
