"""All tests: on several cores those that share a machine, then one by one those that need it alone."""

import subprocess
import sys

# More processes than four would want more memory than many a machine has.
PARTS = (["-n", "auto", "--maxprocesses=4", "-m", "not alone"], ["-m", "alone"])


def main(arguments: list[str]) -> int:
    """Both parts, with pytest's own arguments; the exit status is the worse one."""
    return max(subprocess.call([sys.executable, "-m", "pytest", *part, *arguments]) for part in PARTS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
