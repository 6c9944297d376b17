"""A worker that is away, and comes back.

    .venv/bin/python benchmarks/reliability/away.py

Every process of the worker is killed in the middle of a run. The page must say within 60 seconds that it is
offline; and when it is started again, the run must go on within 10.
"""

import argparse
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from visitors import ROOT, Visitor, answers, free_port, verdict
from workers import MATCHES, FaultySite, end, site_with_run, wait_for

# Slow enough that the run is not over when the worker is killed; each chunk is slowed down as well.
IMAGES, SLOW, SAID_WITHIN, ON_WITHIN = 400, 0.03, 60, 10
OFFLINE = "The worker is offline"


def kill_worker(site: FaultySite, web: set[int]) -> None:
    for process in site.processes():
        if process.pid not in web:
            end(process)


def main() -> int:
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter).parse_args()
    with site_with_run(IMAGES, seed=1, FAULT_SLOW=SLOW) as site:
        site.manage("collectstatic", "--noinput", "-v0")
        port = free_port()
        site.url = f"http://127.0.0.1:{port}"
        command = ["-m", "gunicorn", "--threads=4", "--no-control-socket", f"--bind=127.0.0.1:{port}"]
        server = subprocess.Popen(
            [sys.executable, *command, "clipsite.wsgi"],
            cwd=ROOT,
            env=site.environment(),
            start_new_session=True,
        )
        site.started.append(server)
        wait_for(lambda: answers(site), 60, "the site does not answer")
        web = {process.pid for process in site.processes()}
        person = Visitor(site, "ida")
        person.log_in().raise_for_status()
        address = f"/label-sets/{site.value('SELECT max(id) FROM labeling_labelset')}/progress/"
        site.start("worker")
        wait_for(lambda: site.value(MATCHES) > 30, 60, "the run does not begin")
        assert OFFLINE not in person.get(address).text
        kill_worker(site, web)
        began, reached = time.monotonic(), site.value(MATCHES)
        wait_for(lambda: OFFLINE in person.get(address).text, 120, "the page does not say so")
        said = time.monotonic() - began
        site.start("worker")
        began = time.monotonic()
        wait_for(lambda: site.value(MATCHES) > reached, 120, "the run does not go on")
        on = time.monotonic() - began
        wait_for(lambda: OFFLINE not in person.get(address).text, 60, "the page says it still")
    print(f"said after {said:.0f} s, gone on {on:.1f} s after the start")
    return verdict(said <= SAID_WITHIN and on <= ON_WITHIN)


if __name__ == "__main__":
    sys.exit(main())
