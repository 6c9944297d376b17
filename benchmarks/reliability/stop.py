"""A worker that is told to stop in the middle of its work.

    .venv/bin/python benchmarks/reliability/stop.py [--times 10]

SIGTERM to the supervisor alone, and to every process of the worker at once, each so many times, while a chunk
is being worked at. All processes must be gone within 60 seconds, nothing be lost, and the run end in the end.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from visitors import verdict
from workers import FAILED, MATCHES, OPEN_CHUNKS, STATE, FaultySite, gone, site_with_run, wait_for

MOST_SECONDS, SLOW = 60, 0.05


def tell_supervisor(site: FaultySite) -> None:
    site.started[-1].terminate()


def tell_all(site: FaultySite) -> None:
    for process in site.processes():
        process.terminate()


def stopped(site: FaultySite, tell: Callable[[FaultySite], None]) -> float:
    """Seconds from the signal until all is gone; infinite where something stays."""
    site.start("worker")
    before = site.value(MATCHES)
    wait_for(lambda: site.holder() and site.value(MATCHES) > before, 60, "the work does not begin")
    began = time.monotonic()
    tell(site)
    return time.monotonic() - began if gone(site, MOST_SECONDS) else float("inf")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=10)
    times = parser.parse_args().times
    # So many that none of the starts finds the work done.
    total = 200 + 2 * times * 64
    with site_with_run(total, seed=1, FAULT_SLOW=SLOW) as site:
        held = True
        for tell in (tell_supervisor, tell_all):
            taken = [stopped(site, tell) for _ in range(times)]
            print(f"{tell.__name__}: {times} times, gone after {max(taken):.1f} s at most", flush=True)
            held &= max(taken) < float("inf")
            site.kill_everything()
        site.start("worker")
        wait_for(site.is_done, 600, "the run does not end")
        found = [site.value(sql) for sql in (STATE, MATCHES, FAILED, OPEN_CHUNKS)]
    print(f"after the last start: {found[0]}, {found[1]} of {total} scored, {found[2]} failed")
    return verdict(held and found == ["done", total, 0, 0])


if __name__ == "__main__":
    sys.exit(main())
