"""What the user wrote: the settings of the environment, `params.yaml`, its time zones."""

import difflib
import os
import re
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flows.doctor.finding import Finding, bad, few, ok, warn
from flows.schedules.slots import timings
from flows.settings import Settings, load_settings
from gan.errors import RecipeError, UsageError
from gan.paths import Layout
from gan.recipe import Recipe, load_recipes

_PREFIX = "GANMILL_"
_LINE = re.compile(r"^(?:export\s+)?(GANMILL_\w+)=", re.MULTILINE)


def settings(layout: Layout) -> list[Finding]:
    """Look at the environment: impossible values, slips, a file that nobody read."""
    try:
        load_settings()
    except UsageError as error:
        return [bad("settings", str(error).rstrip("."), "see infra/env.example, and correct it")]
    found = [*_slips(), *_unread(layout)]
    names = sorted(name for name in os.environ if name in _known())
    return found or [ok("settings", few(names) or "all are the defaults")]


def recipes(layout: Layout) -> list[Finding]:
    """Look at `params.yaml`."""
    try:
        found = load_recipes(layout.params)
    except RecipeError as error:
        return [bad("recipes", str(error).rstrip("."), f"correct {layout.params}")]
    return [ok("recipes", few(found)), *_zones(found)]


def _zones(found: dict[str, Recipe]) -> list[Finding]:
    """Look at whether this machine knows the time zones of the schedules."""
    each = [timing.timezone for recipe in found.values() for timing in timings(recipe)]
    zones = dict.fromkeys(["UTC", *each])
    lost = [zone for zone in zones if not _is_known(zone)]
    if lost:
        says = f"this machine has no data of {few(lost)}"
        return [bad("time zones", says, "pip install tzdata   (or apt-get install tzdata)")]
    return [ok("time zones", few(zones))]


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _slips() -> list[Finding]:
    """Look at variables that are no settings but nearly are."""
    known, found = _known(), []
    for name in sorted(os.environ):
        if not name.startswith(_PREFIX) or name in known:
            continue
        if close := difflib.get_close_matches(name, known, n=1, cutoff=0.85):
            says = f"{name} is no setting; did you mean {close[0]}?"
            found.append(warn("settings", says, f"unset {name}; export {close[0]}=..."))
    return found


def _unread(layout: Layout) -> list[Finding]:
    """Look at whether `.env` was read: nothing reads it by itself."""
    path = layout.root / ".env"
    try:
        written = set(_LINE.findall(path.read_text(errors="replace")))
    except OSError:
        return []
    if missing := sorted(written - set(os.environ)):
        says = f".env names {few(missing)}, which this shell does not have"
        return [warn("settings", says, "set -a; . ./.env; set +a")]
    return []


def _known() -> set[str]:
    names = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    return names - {"GANMILL_PREFECT_API_URL", "GANMILL_MLFLOW_TRACKING_URI"}
