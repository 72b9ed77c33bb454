"""The deployments as `prefect.yaml`, for those who deploy by Prefect's own command.

`ganmill deploy --write` writes it from `params.yaml`; a test holds what it makes to `deploy.apply`.
"""

import io
from pathlib import Path
from typing import Any

from flows.schedules.deploy import START
from flows.schedules.plans import POOL, TRAIN_POOL, Plan, plans
from gan.durable import write_atomically
from gan.paths import Layout

FILE = "prefect.yaml"
_HEAD = f"""\
# Written by `ganmill deploy --write` from params.yaml. Change that, not this, and write it again.
# The same deployments as `ganmill deploy` makes, for Prefect's own command. In this folder:
#
#     prefect work-pool create {TRAIN_POOL} --type process     # once; `ganmill up` does it too
#     prefect work-pool create {POOL} --type process
#     prefect --no-prompt deploy --all
#     prefect worker start --pool {POOL}                       # where `python` has ganmill
#
# Only `ganmill deploy` removes what is gone from params.yaml, keeps schedules that are paused so,
# and makes the automation that marks runs without a heartbeat as crashed.
"""
# What has a root for a working folder in `deploy` has here the one that Prefect's command runs in.
_HERE = "{{ $PWD }}"


def write(layout: Layout) -> Path:
    """Write the file at the top of the workspace, and return where it is.

    Raises:
        RecipeError: `params.yaml` holds something impossible.
    """
    path = layout.root / FILE
    write_atomically(path, text_of(plans(layout)).encode())
    return path


def text_of(wanted: list[Plan]) -> str:
    """Return the file for these deployments."""
    from ruamel.yaml import YAML

    yaml = YAML()
    yaml.width = 4096  # a sentence is a line
    document = {"name": "ganmill", "pull": [], "deployments": [_entry(plan) for plan in wanted]}
    words = io.StringIO()
    yaml.dump(document, words)
    return _HEAD + words.getvalue()


def _entry(plan: Plan) -> dict[str, Any]:
    return {
        "name": plan.name,
        "description": plan.description,
        "entrypoint": plan.entrypoint,
        "parameters": dict(plan.parameters),
        "tags": plan.tags,
        "concurrency_limit": plan.limit,
        "enforce_parameter_schema": True,
        "schedules": [{"cron": plan.cron, "timezone": plan.timezone}] if plan.cron else [],
        "triggers": [
            {
                "type": "event",
                "name": follow.name,
                "match": follow.match,
                "expect": list(follow.events),
            }
            for follow in plan.follows
        ],
        "work_pool": {
            "name": plan.pool,
            "job_variables": {"command": START, "working_dir": _HERE},
        },
    }
