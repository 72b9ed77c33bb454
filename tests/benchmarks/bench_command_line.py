"""How long `ganmill` takes to answer, against a Python that does nothing."""

import subprocess
import sys
from pathlib import Path

from tests.benchmarks.figures import seconds, show

ROOT = Path(__file__).parents[2]
COMMAND = str(Path(sys.executable).parent / "ganmill")


def _taken(*command: str) -> float:
    return seconds(lambda: subprocess.run(command, cwd=ROOT, check=True, capture_output=True))


def main() -> None:
    """Print the seconds of the commands that people wait for."""
    floor = _taken(sys.executable, "-c", "pass")
    show("python -c pass", floor, "s")
    typer = _taken(sys.executable, "-c", "import typer")
    show("python -c 'import typer'", typer, "s", f"{typer / floor:.1f} x")
    for words in (("--help",), ("retrain", "--help"), ("recipes",)):
        taken = _taken(COMMAND, *words)
        show(f"ganmill {' '.join(words)}", taken, "s", f"{taken / floor:.1f} x, wanted below 0.5 s")
