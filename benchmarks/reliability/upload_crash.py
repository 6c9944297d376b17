"""Crash in upload: the web server killed at 20 points of an upload of 200 pictures by REST.

    .venv/bin/python benchmarks/reliability/upload_crash.py [--short]

Each time (short: 3 times) a program sends 200 pictures in requests of 20, and at a seeded moment every
process of the web server gets SIGKILL. Then no row may lack a file or have half of one. Once the site answers
again, the program sends everything again: each picture must be there once. Files without a row, which the
kill left behind, must be gone after `manage.py fsck --repair`.
"""

import argparse
import hashlib
import random
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import psutil
import requests
from stored import faults, images_in, orphans
from visitors import Program, Site, answers, live_site, open_site, pictures, verdict, wait_for

SEED, POINTS, POINTS_SHORT = 30, 20, 3
COUNT, AT_ONCE = 200, 20
# Before an answer, and in the middle of one.
CUT = (requests.ConnectionError, requests.exceptions.ChunkedEncodingError)

Pictures = list[tuple[str, bytes]]


def upload(program: Program, slug: str, files: Pictures) -> None:
    """Send them all. Raises one of CUT where the server goes away."""
    body: dict[str, int] = {}
    for start in range(0, len(files), AT_ONCE):
        parts = [("files", part) for part in files[start : start + AT_ONCE]]
        answer = program.post(f"projects/{slug}/images/", files=parts, data=body)
        answer.raise_for_status()
        body = {"upload": answer.json()["upload"]}


def upload_until_cut(program: Program, slug: str, files: Pictures, cut: list[str]) -> None:
    try:
        upload(program, slug, files)
    except CUT as error:
        cut.append(str(error))


def kill_web(site: Site) -> None:
    """SIGKILL to all processes of the web server; `manage.py start` then starts it afresh."""
    server = [process for process in site.processes() if "gunicorn" in process.cmdline()]
    for process in server:
        process.kill()
    psutil.wait_procs(server, 10)


def crash_once(site: Site, program: Program, number: int, files: Pictures, rng: random.Random) -> list[str]:
    """Upload, kill, start again, send again. Returns what is wrong."""
    slug = program.post("projects/", json={"name": f"Crash {number}"}).json()["slug"]
    cut: list[str] = []
    point, moment = rng.randrange(COUNT - AT_ONCE), rng.uniform(0, 0.04)
    job = threading.Thread(target=upload_until_cut, args=(program, slug, files, cut))
    job.start()
    wait_for(lambda: len(images_in(site, slug)) >= point, 120, "the upload does not get on")
    time.sleep(moment)
    kill_web(site)
    job.join()
    came, left = images_in(site, slug), orphans(site)
    found = faults(site, came) if cut else [f"the upload was over before the kill at {point}"]
    wait_for(lambda: answers(site), 60, "the web server is not started afresh")
    upload(program, slug, files)
    images = images_in(site, slug)
    if sorted(image["sha256"] for image in images) != sorted(
        hashlib.sha256(content).hexdigest() for _, content in files
    ):
        found.append(f"{len(images)} images after sending all again, not each picture once")
    found += faults(site, images)
    print(
        f"killed with {len(came):3} of {COUNT} in: {len(left)} orphans by now, {len(found)} faults",
        flush=True,
    )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--short", action="store_true", help=f"{POINTS_SHORT} points.")
    points = POINTS_SHORT if parser.parse_args().short else POINTS
    files, rng = list(pictures(SEED, COUNT, side=160)), random.Random(SEED)
    with live_site("ida") as site:
        open_site(site)
        program = Program(site, "ida")
        wrong = [found for number in range(points) for found in crash_once(site, program, number, files, rng)]
        left = orphans(site)
        print(site.manage("fsck", "--repair", "--older-than", "0").strip())
        kept = orphans(site)
    print(*wrong[:10], f"{len(left)} orphans were left by {points} kills, {len(kept)} by fsck", sep="\n")
    return verdict(not wrong and not kept)


if __name__ == "__main__":
    sys.exit(main())
