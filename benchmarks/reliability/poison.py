"""Pictures that kill the worker, each time that it looks at them.

    .venv/bin/python benchmarks/reliability/poison.py [--seeds 10] [--short]

Two of 600 pictures, other ones for each seed, end the worker by SIGKILL in the middle of scoring. Exactly
those must be given up, with the reason, the other 598 be scored, and the run end.
"""

import argparse
import random
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from visitors import verdict
from workers import MATCHES, STATE, site_with_run, wait_for

IMAGES, IMAGES_SHORT, POISONED = 600, 150, 2
REASONS = """
SELECT i.name, a.reason FROM labeling_imageattempt a JOIN gallery_image i ON i.id = a.image_id WHERE a.failed
ORDER BY i.name
"""


def wrong(total: int, seed: int) -> list[str]:
    poison = set(random.Random(seed).sample(range(total), POISONED))
    with site_with_run(total, seed, poison, FAULT_KIND="kill") as site:
        began = time.monotonic()
        site.start("worker")
        wait_for(site.is_done, 900, "the run does not end")
        given_up, scored = site.rows(REASONS), site.value(MATCHES)
        print(f"seed {seed}: {scored} scored, {given_up} in {time.monotonic() - began:.0f} s", flush=True)
        found = []
        if [name for name, _ in given_up] != [f"{number:04}.png" for number in sorted(poison)]:
            found.append("others were given up than those that kill")
        if not all("died 3 times" in reason for _, reason in given_up):
            found.append("the reason is not told")
        if (scored, site.value(STATE)) != (total - POISONED, "done"):
            found.append(f"{scored} are scored, and the run is {site.value(STATE)}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--short", action="store_true", help=f"{IMAGES_SHORT} pictures.")
    asked = parser.parse_args()
    total = IMAGES_SHORT if asked.short else IMAGES
    faults = [wrong(total, seed) for seed in range(asked.seeds)]
    print(*(fault for each in faults for fault in each), sep="\n")
    print(f"{faults.count([])} of {asked.seeds} runs")
    return verdict(not any(faults))


if __name__ == "__main__":
    sys.exit(main())
