"""What happened, told to whoever listens: an event in Prefect, a line in a file, a webhook.

An event starts deployments (`flows.schedules`) and shows on Prefect's event feed; the file is for
scripts and for whoever has no server; the webhook is for people, who read its `text` in a chat.
None of the three can fail what it tells of: what does not get through is one line of the log.
"""

import json
import urllib.request
from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from http.client import HTTPException, HTTPMessage
from typing import IO, Any, Literal, get_args
from urllib.error import HTTPError
from urllib.parse import urlsplit

from pydantic import SecretStr

from flows._prefect import brief_client
from flows.settings import Settings
from flows.story import log_to_run, say
from gan.changes import explained, make_folder
from gan.durable import append_line
from gan.errors import GanmillError, ServiceError, UsageError
from gan.paths import Layout
from gan.recipe import NAME_PATTERN

Event = Literal[
    "data.accepted", "data.drifted", "model.trained", "model.waiting", "model.promoted",
    "model.rejected", "model.rolled_back", "batch.delivered", "batch.held", "batch.waiting",
    "alert.raised", "alert.cleared",
]  # fmt: skip
WEBHOOK = "the webhook"
_PREFECT_SECONDS = 3.0
_WEBHOOK_SECONDS = 5.0
_ALERTS = frozenset({"alert.raised", "alert.cleared"})
# Labels of each event: `wanted` starts a batch where the champion changed, a retraining where the
# images did.
BATCH, RETRAIN = "ganmill.batch", "ganmill.retrain"


def announce(
    layout: Layout,
    settings: Settings,
    event: Event,
    recipe: str,
    says: str,
    payload: Mapping[str, str | int],
    *,
    wants_batch: bool = True,
    wants_retrain: bool = False,
) -> dict[str, str]:
    """Tell all three; it returns when each has it or has failed, after about ten seconds at most.

    Args:
        layout: The workspace; `layout.notices` gets a line.
        settings: Where Prefect is, and the webhook if there is one.
        event: What happened.
        recipe: To which product line; the event's resource is `ganmill.recipe.<recipe>`. "": an
            alert about what all of them need; then it is `ganmill.workspace`.
        says: One sentence for people.
        payload: Facts for programs, say {"version": 2}.
        wants_batch: Whether a new champion is to be minted from by whoever listens; False: the
            caller does it itself, and nothing need be started for it.
        wants_retrain: Whether `data.drifted` or `data.accepted` is to start a retraining, where the
            recipe's schedule follows that.

    Returns:
        What went wrong with each of the three, or "".

    Raises:
        UsageError: There is no such event, or the recipe's name is none.
    """
    if event not in get_args(Event):
        raise UsageError(f"notice: {event!r} is none of {', '.join(get_args(Event))}.")
    if not NAME_PATTERN.fullmatch(recipe) and not (event in _ALERTS and not recipe):
        raise UsageError(f"notice: {recipe!r} is no recipe name; see params.yaml.")
    notice: dict[str, Any] = {
        "time_utc": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "event": event,
        "recipe": recipe,
        "says": says,
        "payload": dict(payload),
    }
    labels = {
        BATCH: "wanted" if wants_batch else "made",
        RETRAIN: "wanted" if wants_retrain else "none",
    }
    problems = {
        "Prefect": _emit(settings, notice, labels),
        WEBHOOK: _post(settings.notice_webhook, notice),
        # Last: `was_told` reads it, and what a kill left half told is told again.
        str(layout.notices): _write(layout, notice),
    }
    for sink, problem in problems.items():
        if problem:
            line = f"{recipe or 'ganmill'}: {sink} was not told of {event}: {problem}"
            say(f"  {line}")
            log_to_run(line)
    return problems


def was_told(layout: Layout, events: Collection[Event], batch: str) -> bool:
    """Return whether the file of notices has one of some events about a batch."""
    if not layout.notices.exists():
        return False
    with layout.notices.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if batch in line:
                with suppress(ValueError):  # a line that a kill tore
                    notice = json.loads(line)
                    if notice["event"] in events and notice["payload"].get("batch") == batch:
                        return True
    return False


def _write(layout: Layout, notice: Mapping[str, Any]) -> str:
    """Add the notice to the file; return what went wrong, or ""."""
    try:
        with explained(layout.notices, "written"):
            make_folder(layout.notices.parent)
        append_line(layout.notices, json.dumps(notice, ensure_ascii=False, sort_keys=True))
    except GanmillError as error:
        return str(error)
    return ""


def _emit(settings: Settings, notice: Mapping[str, Any], labels: Mapping[str, str]) -> str:
    """Send the event and wait for the answer; return what went wrong, or "".

    Not by `prefect.events.emit_event`: it hands the event to a thread, which a command that ends
    may cut off, and which goes on trying for long where there is no server.
    """
    from prefect.events.schemas.events import Event as PrefectEvent
    from prefect.events.schemas.events import RelatedResource
    from prefect.runtime import flow_run

    run = {
        "prefect.resource.id": f"prefect.flow-run.{flow_run.id}",
        "prefect.resource.role": "flow-run",
    }
    name = notice["recipe"]
    event = PrefectEvent.model_validate(
        {
            "event": notice["event"],
            "occurred": notice["time_utc"],
            "resource": {
                "prefect.resource.id": f"ganmill.recipe.{name}" if name else "ganmill.workspace",
                "prefect.resource.name": name or "ganmill",
                **labels,
            },
            "related": [RelatedResource.model_validate(run)] if flow_run.id else [],
            "payload": {**notice["payload"], "says": notice["says"]},
        }
    )
    try:
        with brief_client(settings, seconds=_PREFECT_SECONDS) as client:
            answer = client.request("POST", "/events", json=[event.model_dump(mode="json")])
            answer.raise_for_status()
    except ServiceError as error:
        return str(error)
    return ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the notice, perhaps of another scheme."""

    def redirect_request(  # as urllib asks for it
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow none; urllib then raises the answer as an HTTPError."""


def _post(webhook: SecretStr | None, notice: Mapping[str, Any]) -> str:
    """Post the notice; return what went wrong without the address, or ""."""
    if webhook is None:
        return ""
    address = webhook.get_secret_value()
    body = json.dumps({"text": notice["says"], **notice}, ensure_ascii=False).encode()
    headers = {"Content-Type": "application/json", "User-Agent": "ganmill"}
    local = urlsplit(address).hostname in {"127.0.0.1", "localhost", "::1"}
    direct = [urllib.request.ProxyHandler({})] if local else []
    opener = urllib.request.build_opener(_NoRedirect, *direct)
    try:
        request = urllib.request.Request(address, body, headers, method="POST")  # noqa: S310  # http(s), by settings
        with opener.open(request, timeout=_WEBHOOK_SECONDS):
            return ""
    except HTTPError as error:
        error.close()
        return f"it answered with status {error.code}"
    except (OSError, HTTPException, ValueError) as error:  # whose words may quote the address
        return f"it does not answer ({type(getattr(error, 'reason', error)).__name__})"
