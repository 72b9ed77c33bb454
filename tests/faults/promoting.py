"""A process that has imported MLflow and forks a child for each promotion: a start takes no time.

It reads lines of JSON {"root": workspace, "recipe": name, "bundle": folder or null for a rollback,
"run": the training it is from, "die_at": n or 0} and answers each, once the child has ended, with
[exit code, steps passed]. A step is a change of the disk, a request to MLflow, or its answer: at
each the child may end itself, with nothing tidied up.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import mlflow  # for the children
import mlflow.pyfunc  # noqa: F401
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from flows import registry, release
from flows.settings import load_settings
from flows.tracking import TrackedRun
from gan.errors import GanmillError
from gan.paths import Layout
from tests.faults import seam

_send = HTTPAdapter.send


def _promote(layout: Layout, recipe: str, bundle: Path, run: TrackedRun) -> None:
    """Register a bundle and make it champion, unless it is, as a retraining does at its end."""
    settings = load_settings()
    version = registry.register(settings, recipe, bundle, run, {})
    release.finish(layout, settings, recipe)
    champion = release.serving(layout, settings, recipe)
    if champion and champion.digest == version.digest:
        return
    release.promote(
        layout,
        settings,
        recipe,
        version,
        evidence_digest="e" * 64,
        actor="Ada",
        reason="better",
        expected_champion=champion.number if champion else None,
    )


def _child(asked: dict[str, Any], passed_file: Path) -> int:
    def meet(count: int) -> None:
        if count == asked["die_at"]:
            passed_file.write_text("\n".join(passed))
            os._exit(seam.KILLED)

    def send(self: HTTPAdapter, request: PreparedRequest, **more: Any) -> Response:
        what = f"{request.method} {(request.path_url).split('?')[0].rsplit('/', 1)[-1]}"
        passed.append(f"asking {what}")
        meet(len(passed))
        answer = _send(self, request, **more)
        passed.append(f"answered {what}")
        meet(len(passed))
        return answer

    layout, recipe = Layout(Path(asked["root"])), str(asked["recipe"])
    with seam._passing(meet) as passed:
        HTTPAdapter.send = send  # type: ignore[method-assign,assignment]
        try:
            if asked["bundle"]:
                _promote(layout, recipe, Path(asked["bundle"]), TrackedRun(**asked["run"]))
            else:
                release.rollback(layout, load_settings(), recipe, actor="Bo", reason="drill")
        except GanmillError as error:
            print(error, file=sys.stderr, flush=True)
            return error.exit_code
    passed_file.write_text("\n".join(passed))
    return 0


def main() -> None:
    """Serve until stdin ends."""
    for line in sys.stdin:
        asked = json.loads(line)
        passed_file = Path(f"{asked['root']}.passed")
        passed_file.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            os._exit(_child(asked, passed_file))
        _, status = os.waitpid(child, 0)
        passed = passed_file.read_text().split("\n") if passed_file.exists() else []
        print(json.dumps([os.waitstatus_to_exitcode(status), passed]), flush=True)


if __name__ == "__main__":
    main()
