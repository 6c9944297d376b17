"""Decisions, undo, redo, scoring and deletions in any order, against a plain model of what people expect.

    .venv/bin/python benchmarks/decisions.py [--runs 500] [--steps 50] [--seed 1]

Hypothesis chooses the steps. Every answer must be the same on both sides after each of them; where it isn't,
the shortest run that shows it is printed, and the command exits with 1.
"""

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
FOLDER = tempfile.TemporaryDirectory(prefix="clipsite-benchmark-")
os.environ |= {"DATA_DIR": FOLDER.name, "DJANGO_SETTINGS_MODULE": "clipsite.settings"}

import django

django.setup()

import hypothesis
from django.test.utils import setup_databases, setup_test_environment
from hypothesis.stateful import run_state_machine_as_test

from tests.labeling.machine import Decisions


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--steps", type=int, default=50)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = parser.parse_args()
    # In memory, as in the tests.
    setup_test_environment()
    setup_databases(verbosity=0, interactive=False)
    options = hypothesis.settings(
        max_examples=asked.runs,
        stateful_step_count=asked.steps,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    began = time.monotonic()
    run_state_machine_as_test(hypothesis.seed(asked.seed)(Decisions), settings=options)
    took = time.monotonic() - began
    ran = f"{Decisions.number} runs of {asked.steps} steps, seed {asked.seed}"
    print(f"{ran}: no difference, {took:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
