"""The site's settings, with a scorer that can be told to be slow, or to go wrong: see faults.py."""

import os

from clipsite.settings import *  # noqa: F403
from clipsite.settings import INSTALLED_APPS, Q_CLUSTER

INSTALLED_APPS = [*INSTALLED_APPS, "benchmarks.reliability.faults.Faults"]
if "FAULT_TIMEOUT" in os.environ:
    timeout = int(os.environ["FAULT_TIMEOUT"])
    Q_CLUSTER = Q_CLUSTER | {"timeout": timeout, "retry": timeout + 20}
