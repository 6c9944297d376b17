"""All tests: on several cores those that share a machine, then one by one those that need it alone."""

import subprocess
import sys

# More processes than four would want more memory than many a machine has.
ALL_CORES = ("-n", "auto", "--maxprocesses=4")
PARTS = ((*ALL_CORES, "-m", "not alone"), ("-m", "alone"))


def main() -> int:
    """Both parts, whatever becomes of the first; 0 where both passed, and 1 also where one was killed."""
    statuses = [subprocess.call([sys.executable, "-m", "pytest", *part]) for part in PARTS]
    return int(any(statuses))


if __name__ == "__main__":
    sys.exit(main())
