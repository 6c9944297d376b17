"""A worker that is killed while it waits for work.

    .venv/bin/python benchmarks/reliability/idle_kill.py [--times 20]

Each time every idle worker process of a complete cluster gets a SIGKILL (it holds the queue's lock then,
which wedges a bare cluster for good), and work comes in that rings once: it must be begun in 10 seconds.
"""

import argparse
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from visitors import Program, answers, verdict
from workers import FaultySite, await_all_roles, end, site_with_run, wait_for

MOST_SECONDS = 10
BEGUN = "SELECT count(*) FROM labeling_scoringrun WHERE id = {} AND state != 'queued'"


def seconds_to_work(site: FaultySite, program: Program) -> float:
    processes = await_all_roles(site)
    for role in ("first worker", "second worker"):
        end(processes[role])
    label_set = site.value("SELECT max(id) FROM labeling_labelset")
    run = program.post(f"label-sets/{label_set}/runs/").json()["id"]
    began = time.monotonic()
    wait_for(lambda: site.value(BEGUN.format(run)), 60, "the work is not begun")
    seconds = time.monotonic() - began
    wait_for(site.is_done, 60, "the work does not end")
    return seconds


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--times", type=int, default=20)
    times = parser.parse_args().times
    with site_with_run(20, seed=1, WORKERS=2) as site:
        site.serve()
        wait_for(lambda: answers(site) and site.is_done(), 120, "the first run does not end")
        program = Program(site, "ida")
        taken = [seconds_to_work(site, program) for _ in range(times)]
    late = sum(seconds > MOST_SECONDS for seconds in taken)
    print(f"{times - late} of {times} within {MOST_SECONDS} s, the slowest after {max(taken):.1f} s")
    return verdict(not late)


if __name__ == "__main__":
    sys.exit(main())
