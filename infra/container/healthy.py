"""Is what this container runs well? For HEALTHCHECK: exit code 0 or 1, and one line.

A server or the monitor is asked over loopback, by the port that it was given; anything else is
well as long as it is there.
"""

import http.client
import os
import sys
from pathlib import Path

PLACES = {
    "flows.servers prefect": ("GANMILL_PREFECT_PORT", 4200, "/api/health"),
    "flows.servers mlflow": ("GANMILL_MLFLOW_PORT", 5000, "/health"),
    "flows.monitor": ("GANMILL_METRICS_PORT", 9464, "/health"),
}
SECONDS = 4.0


def main(proc: Path) -> int:
    """Look at what is running; return the exit code."""
    said = commands(proc)
    for role, (variable, usual, path) in PLACES.items():
        if any(f"-m {role}" in line for line in said):
            status = answer(int(os.environ.get(variable) or usual), path)
            print(f"{role}: {status}")
            return 0 if status == "200" else 1
    print("alive")
    return 0


def commands(proc: Path) -> list[str]:
    """Return the command lines of what runs here."""
    found = []
    for place in proc.glob("[0-9]*/cmdline"):
        try:
            words = place.read_bytes().split(b"\0")
        except OSError:  # it has just ended
            continue
        found.append(b" ".join(words).decode(errors="replace"))
    return found


def answer(port: int, path: str) -> str:
    """Return the status of a page of this machine, or what went wrong."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request("GET", path)
        return str(connection.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        return f"port {port}: {error}"
    finally:
        connection.close()


if __name__ == "__main__":
    sys.exit(main(Path("/proc")))
