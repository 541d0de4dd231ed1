"""The command `ocelli`, which is in the same native module."""

import os
import shutil
import sys


def main() -> int:
    """Runs the command with the arguments of this process; returns its exit status."""
    from ocelli import _ocelli

    # What starts the command again, for verbs that start a training.
    program = shutil.which(sys.argv[0]) or os.path.abspath(sys.argv[0])
    return _ocelli.command(program, ["ocelli", *sys.argv[1:]])


if __name__ == "__main__":
    sys.exit(main())
