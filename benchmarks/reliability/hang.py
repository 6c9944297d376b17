"""A scorer that hangs in native code, ends its process, or finds no memory, each time.

    .venv/bin/python benchmarks/reliability/hang.py [--timeout 20]

A run of one picture that nothing can be done with. A hanging process must be killed by the queue's time-out
(here shortened) and ten seconds, every attempt be written down, and the picture be given up after three tries
alone, with a reason that the run's page shows.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
from visitors import Visitor, answers, verdict
from workers import FaultySite, site_with_run, wait_for

REASONS = {
    "hang": "The worker died 3 times at this picture.",
    "exit": "It failed 3 times at this picture: SystemExit: the scorer ended its process",
    "memory": "It failed 3 times at this picture: MemoryError: the scorer found no memory",
}
GRACE = 10
ATTEMPTS = "SELECT coalesce(max(attempts), 0) FROM labeling_imageattempt"


def longest_hold(site: FaultySite) -> float:
    """Seconds of the longest time that one process was at the picture, until the run is over."""
    held, longest = (0, 0.0), 0.0
    until = time.monotonic() + 600
    while not site.is_done() and time.monotonic() < until:
        pid = site.holder()
        if not pid or not psutil.pid_exists(pid):
            held = (0, 0.0)
        elif pid != held[0]:
            held = (pid, time.monotonic())
        else:
            longest = max(longest, time.monotonic() - held[1])
        time.sleep(0.2)
    return longest


def wrong(kind: str, timeout: int) -> list[str]:
    with site_with_run(1, seed=1, poison={0}, FAULT_KIND=kind, FAULT_TIMEOUT=timeout) as site:
        site.serve()
        wait_for(lambda: answers(site), 60, "the site does not answer")
        held = longest_hold(site)
        attempts, failed = site.value(ATTEMPTS), site.rows("SELECT failed, reason FROM labeling_imageattempt")
        person = Visitor(site, "ida")
        person.log_in().raise_for_status()
        page = person.get(f"/runs/{site.value('SELECT max(id) FROM labeling_scoringrun')}/").text
        print(f"{kind}: held {held:.1f} s at most, {attempts} attempts, {failed}", flush=True)
        found = []
        if not site.is_done() or failed != [(1, REASONS[kind])] or attempts != 3:
            found.append(f"{kind}: it is not given up as it should")
        if held > timeout + GRACE:
            found.append(f"{kind}: it was held for {held:.0f} s")
        if REASONS[kind] not in page or "Retry 1 failed" not in page:
            found.append(f"{kind}: the page does not say why, or offers no further try")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--timeout", type=int, default=20)
    timeout = parser.parse_args().timeout
    faults = [fault for kind in REASONS for fault in wrong(kind, timeout)]
    print(*faults, sep="\n")
    return verdict(not faults)


if __name__ == "__main__":
    sys.exit(main())
