"""Prefect's server behind our guard, as `prefect server start` would run it: pages, API, services.

What differs is what a request passes first (`guard.py`), how transactions of SQLite begin
(`prefect_sqlite.py`), and that runs which could not be heard while the server was away are not
taken for dead before they could say a word.
"""

import asyncio
import os
from datetime import UTC, datetime, timedelta

from flows.schedules.automations import DEAD_AFTER_SECONDS, ZOMBIES
from flows.servers import environments, schemas
from flows.servers.guard import GOODBYE_SECONDS, Guard, public_names
from flows.settings import Settings
from gan.paths import Layout

# What asks only whether the server lives.
_PROBES = {"/api/health", "/api/ready"}


def serve(layout: Layout, settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        ServiceError: The database does not answer, or is of a newer version.
    """
    os.environ.update(environments.of_prefect(settings, os.environ))
    tables = schemas.of_prefect(layout, settings)
    if old := schemas.due_upgrade(tables):
        schemas.announce_upgrade(tables, old)  # Prefect does it as it starts
    from flows.servers import prefect_sqlite  # Prefect reads the environment as it is imported

    prefect_sqlite.take_turns()
    if schemas.has_tables(tables):
        asyncio.run(_wait_for_heartbeats())
    import uvicorn
    from prefect.server.api.server import create_app
    from prefect.settings import get_current_settings

    api = get_current_settings().server.api
    uvicorn.run(
        Guard(create_app(final=True), public_names(settings), settings.prefect_port, _PROBES),
        host=settings.host,
        port=settings.prefect_port,
        timeout_keep_alive=api.keepalive_timeout,
        ws_ping_interval=api.websocket_ping_interval,
        ws_ping_timeout=api.websocket_ping_timeout,
        timeout_graceful_shutdown=GOODBYE_SECONDS,
        log_level=get_current_settings().server.logging_level.lower(),
    )


async def _wait_for_heartbeats() -> None:
    """Count the time in which the next heartbeat of a run has to come from now on."""
    from prefect.server.database import provide_database_interface
    from sqlalchemy import select, update

    tables = provide_database_interface()
    bucket, automation = tables.AutomationBucket, tables.Automation
    ours = select(automation.id).where(automation.name == ZOMBIES)
    later = datetime.now(UTC) + timedelta(seconds=DEAD_AFTER_SECONDS)
    waiting = update(bucket).where(bucket.automation_id.in_(ours), bucket.end < later)
    async with tables.session_context(begin_transaction=True) as session:
        await session.execute(waiting.values(end=later))
