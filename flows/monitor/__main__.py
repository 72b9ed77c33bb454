"""`python -m flows.monitor`: look after the workspace until a signal ends it."""

import os
import sys

from flows.monitor.monitor import Monitor
from flows.monitor.serving import serve
from flows.settings import load_settings, quiet_environment, workspace
from gan.durable import run_lock
from gan.errors import GanmillError


def main() -> int:
    """Look and serve; return the exit code."""
    try:
        layout, settings = workspace(), load_settings()
        os.environ.update(quiet_environment(settings, layout))
        with run_lock(layout.lock("monitor"), "looking after this workspace"):
            serve(Monitor(layout, settings), settings)
    except GanmillError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
