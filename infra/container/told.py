"""Run a command with what the settings say in its environment: servers, logins, no analytics.

    python told.py COMMAND ...      in a workspace

For Prefect's own commands: they know neither our settings nor files of secrets.
"""

import os
import sys

from flows.settings import load_settings, quiet_environment, workspace
from gan.errors import GanmillError


def main(words: list[str]) -> None:
    """Become the command, or end with one line about why that cannot be."""
    try:
        environment = quiet_environment(load_settings(), workspace())
    except GanmillError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    os.execvpe(words[0], words, environment)  # noqa: S606  # an argument list of ours, no shell


if __name__ == "__main__":
    main(sys.argv[1:])
