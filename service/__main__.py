"""`polyseme`: where its process begins. What a command does is in command_line.py.

Nothing that takes time to load stands here: a signal that comes before the rest is loaded must be heard too.
Only Python's own start is before it.
"""

from __future__ import annotations

import os
import sys

from service import ending

EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""As a shell reports a command that Ctrl-C (SIGINT), or SIGPIPE, has ended."""


def main() -> int:
    """Run the command of this process and return its exit status."""
    if sys.argv[1:2] == ["serve"]:
        ending.end_on_signals()
    try:
        from service import command_line

        return command_line.main()
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Nobody reads the output any more (`| head`). What is left of it must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE


if __name__ == "__main__":
    sys.exit(main())
