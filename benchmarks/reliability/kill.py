"""A worker that can't be killed for good, and progress that never lies.

    .venv/bin/python benchmarks/reliability/kill.py [--seeds 10] [--first 0] [--short]

600 pictures, two workers, `manage.py start`. The scorer stands for a large model on a small processor: each
picture takes 0.3 s more than the starter model needs. First without faults; then, for each seed, with 15
SIGKILLs at random moments, each of the worker's roles twice and one three times: supervisor, main process,
sentinel, pusher, monitor, both workers. Each run must end with every picture scored once, none failed, no
process left behind when the site is stopped, and take three times as long as without faults at most. All the
while the API is asked for the progress, which must never fall, and must reach the count of pictures only when
all are scored.
"""

import argparse
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from visitors import Program, answers, verdict
from workers import (
    FAILED,
    MATCHES,
    OPEN_CHUNKS,
    ROLES,
    STATE,
    FaultySite,
    await_all_roles,
    copy_of,
    end,
    gone,
    site_with_run,
    wait_for,
)

IMAGES, KILLS, SLOW, MOST_TIMES = 600, 15, 0.3, 3
IMAGES_SHORT, KILLS_SHORT = 160, 4
GAP = (2, 9)
PATIENCE = 1200


def kill_at_random(site: FaultySite, rng: random.Random, kills: int) -> int:
    """SIGKILL one role after the other while the run goes on. Returns how many were killed."""
    roles = list(ROLES) * (kills // len(ROLES)) + rng.sample(ROLES, kills % len(ROLES))
    rng.shuffle(roles)
    for number, role in enumerate(roles):
        processes = await_all_roles(site)
        until = time.monotonic() + rng.uniform(*GAP)
        while time.monotonic() < until and not site.is_done():
            time.sleep(0.05)
        if site.is_done():
            return number
        end(processes[role])
    return len(roles)


def watch(site: FaultySite, total: int, wrong: list[str]) -> None:
    """Ask for the progress until it says that the run is over."""
    program, seen, told = Program(site, "ida"), 0, {"state": "queued"}
    run = site.value("SELECT max(id) FROM labeling_scoringrun")
    while told["state"] in ("queued", "running"):
        time.sleep(0.2)
        told = program.get(f"runs/{run}/").json()
        reached = told["done"] + told["failed"]
        if reached < seen:
            wrong.append(f"the progress fell from {seen} to {reached}")
        if (reached == total or told["state"] == "done") and site.value(MATCHES) < total:
            wrong.append(f"it says {reached} and {told['state']} while pictures wait")
        seen = reached
    if seen > (count := site.value(MATCHES)):
        wrong.append(f"it said {seen}, and there are {count}")


def timed(template: FaultySite, total: int, rng: random.Random | None, kills: int) -> tuple[float, list[str]]:
    """Seconds from the start of a site until its run is over, and what was wrong with it."""
    wrong: list[str] = []
    with copy_of(template) as site:
        began = time.monotonic()
        site.serve()
        wait_for(lambda: answers(site), 60, "the site does not answer")
        watcher = threading.Thread(target=watch, args=(site, total, wrong), daemon=True)
        watcher.start()
        killed = kill_at_random(site, rng, kills) if rng else 0
        wait_for(site.is_done, PATIENCE, "the run does not end")
        seconds = time.monotonic() - began
        watcher.join(60)
        if watcher.is_alive():
            wrong.append("the API does not say that the run is over")
        if rng and killed < kills:
            wrong.append(f"the run was over after {killed} kills: nothing is shown")
        wrong += faults(site, total)
        site.started[0].terminate()
        if not gone(site, 60):
            wrong.append(f"left behind: {[process.cmdline() for process in site.processes()]}")
    return seconds, wrong


def faults(site: FaultySite, total: int) -> list[str]:
    """What is wrong with the rows of a run that is over."""
    distinct = site.value("SELECT count(DISTINCT image_id) FROM labeling_match")
    found = {
        "state": f"{site.value(STATE)}{site.value('SELECT error FROM labeling_scoringrun ORDER BY id DESC')}",
        "matches": site.value(MATCHES),
        "different": distinct,
        "failed": site.value(FAILED),
        "open chunks": site.value(OPEN_CHUNKS),
        "embeddings": site.value("SELECT count(*) FROM labeling_embedding"),
    }
    right = {"state": "done", "matches": total, "different": total, "failed": 0, "open chunks": 0}
    right["embeddings"] = total
    return [f"{name}: {found[name]}, not {right[name]}" for name in right if found[name] != right[name]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="The first seed.")
    parser.add_argument("--short", action="store_true", help=f"{IMAGES_SHORT} pictures, {KILLS_SHORT} kills.")
    asked = parser.parse_args()
    total, kills = (IMAGES_SHORT, KILLS_SHORT) if asked.short else (IMAGES, KILLS)
    with site_with_run(total, seed=1, FAULT_SLOW=SLOW, WORKERS=2) as template:
        without, wrong = timed(template, total, None, 0)
        print(f"without faults: {without:.0f} s {wrong or ''}", flush=True)
        held = not wrong
        # A short run is mostly start-ups: there only the end is asked for.
        most = float("inf") if asked.short else MOST_TIMES * without
        for seed in range(asked.first, asked.first + asked.seeds):
            seconds, wrong = timed(template, total, random.Random(seed), kills)
            print(f"seed {seed}: {seconds:.0f} s, {seconds / without:.1f} times {wrong or ''}", flush=True)
            held &= not wrong and seconds <= most
    return verdict(held)


if __name__ == "__main__":
    sys.exit(main())
