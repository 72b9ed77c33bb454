"""One server of the stack, in the foreground: `python -m flows.servers prefect`, or `mlflow`.

This is what `ganmill up` starts in the background, and what a container runs. All it is told is in
the settings (`flows/settings.py`) and in the workspace that it is started in.
"""

import os
import sys
from pathlib import Path

from flows.servers.processes import MARK
from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import GanmillError, UsageError
from gan.paths import Layout


def main() -> int:
    """Serve until stopped; return the exit code, with one line about what went wrong."""
    try:
        name, settings = _asked_for(sys.argv[1:]), load_settings()
        given = os.environ.get(MARK)  # a starter knows the workspace
        layout = Layout(Path(given)) if given else workspace()
        os.environ.update(quiet_environment(settings, layout))
        if name == "prefect":
            from flows.servers.prefect_app import serve
        else:
            from flows.servers.mlflow_app import serve
        serve(layout, settings)
    except GanmillError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _asked_for(words: list[str]) -> str:
    if words not in (["prefect"], ["mlflow"]):
        raise UsageError("which server? python -m flows.servers prefect, or mlflow")
    return words[0]


if __name__ == "__main__":
    sys.exit(main())
