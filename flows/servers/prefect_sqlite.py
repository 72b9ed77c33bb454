"""Prefect's SQLite without standstills: whoever may write asks for the lock as it begins.

Prefect begins most of its transactions as readers. One that comes to write after somebody else has
written is refused at once ("database is locked"), however long it was willing to wait, and its
cursor is left to the garbage collector. That runs on the server's event loop, and resets the
statement under the mutex of a connection that may be waiting for the lock by then: a minute in
which the whole server stands still, whoever holds the lock included. Here transactions wait for
each other in turn instead, none is refused, and no cursor is left.
"""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.server.database import dependencies
from prefect.server.database.configurations import SQLITE_BEGIN_MODE, AioSqliteConfiguration
from prefect.settings import get_current_settings
from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction


class InTurn(AioSqliteConfiguration):
    """Transactions of which one at a time may write, from its first statement on."""

    @asynccontextmanager
    async def begin_transaction(
        self,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: FBT001  # as Prefect has it
    ) -> AsyncGenerator[AsyncSessionTransaction]:
        """Begin with the write lock; one inside of another begins as Prefect has it.

        The inner one would wait for the outer one otherwise, which waits for it.
        """
        is_outer = SQLITE_BEGIN_MODE.get() is None
        async with super().begin_transaction(session, with_for_update or is_outer) as begun:
            yield begun


def take_turns() -> None:
    """Have the server of this process use SQLite so, if SQLite it is."""
    url = get_current_settings().server.database.connection_url
    if url and url.get_secret_value().startswith("sqlite"):
        config = InTurn(connection_url=url.get_secret_value())
        dependencies.MODELS_DEPENDENCIES["database_config"] = config
