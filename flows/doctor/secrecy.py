"""Files with secrets in them: may others of this machine read them, does git have them?"""

import stat
import subprocess
from pathlib import Path

from flows.doctor.finding import Finding, bad, few, ok
from gan.paths import Layout

_OTHERS = stat.S_IRWXO
_GIT_SECONDS = 3.0


def secret_files(layout: Layout) -> list[Finding]:
    """Look at what this workspace keeps secret."""
    there = [path for path in _secrets(layout) if path.is_file()]
    found = []
    for path in there:
        name = path.relative_to(layout.root)
        if _is_in_git(layout, path):
            mend = f"git rm --cached {name}   (and change what it holds)"
            found.append(bad("secrets", f"git keeps {name}", mend))
        if is_open(path):
            says = f"{name} may be read by others of this machine"
            found.append(bad("secrets", says, f"chmod 600 {path}"))
    names = few(str(path.relative_to(layout.root)) for path in there)
    says = f"{names}: for nobody else" if there else "no file holds one"
    return found or [ok("secrets", says)]


def is_open(path: Path) -> bool:
    """Tell whether others than its owner and group may do anything with a file.

    Raises:
        OSError: It is not there.
    """
    return bool(path.stat().st_mode & _OTHERS)


def _secrets(layout: Layout) -> list[Path]:
    return [
        layout.root / ".env",
        layout.root / "infra" / ".env",
        layout.root / ".dvc" / "config.local",
        layout.signing / "local.pem",
        *sorted((layout.state / "mlflow").glob("*.ini")),
    ]


def _is_in_git(layout: Layout, path: Path) -> bool:
    command = ["git", "-C", str(layout.root), "ls-files", "--error-unmatch", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):  # `git` tells of it
        return False
    return done.returncode == 0
