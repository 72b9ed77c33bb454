"""How the transactions of Prefect's server on SQLite keep out of each other's way."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import sqlalchemy as sa
from prefect.server.database.configurations import AioSqliteConfiguration
from sqlalchemy.exc import OperationalError
from sqlalchemy.ext.asyncio import AsyncSession

from flows.servers.prefect_sqlite import InTurn

_COUNT, _ADD = sa.text("SELECT count(*) FROM seen"), sa.text("INSERT INTO seen VALUES (1)")


@asynccontextmanager
async def _begun(config: AioSqliteConfiguration) -> AsyncIterator[AsyncSession]:
    session = await config.session(await config.engine())
    async with session, config.begin_transaction(session):
        yield session


async def _two_that_read_and_write(config: AioSqliteConfiguration) -> int:
    """Have a second one write between the reading and the writing of a first; return the rows."""
    async with (await config.engine()).begin() as connection:
        await connection.execute(sa.text("CREATE TABLE seen (number INTEGER)"))
    has_read, may_write = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with _begun(config) as session:
            await session.execute(_COUNT)
            has_read.set()
            await may_write.wait()
            await session.execute(_ADD)

    async def second() -> None:
        await has_read.wait()
        asyncio.get_running_loop().call_later(0.5, may_write.set)
        async with _begun(config) as session:
            await session.execute(_COUNT)
            await session.execute(_ADD)

    await asyncio.gather(first(), second())
    async with _begun(config) as session:
        return int((await session.execute(_COUNT)).scalar_one())


def test_who_reads_and_then_writes_is_not_refused(tmp_path: Path) -> None:
    """The second waits until the first is done, and both are written."""
    config = InTurn(connection_url=f"sqlite+aiosqlite:///{tmp_path}/turns.db")
    assert asyncio.run(_two_that_read_and_write(config)) == 2


def test_prefect_itself_refuses_it(tmp_path: Path) -> None:
    """What the class is there for; once Prefect takes turns by itself, it may go."""
    config = AioSqliteConfiguration(connection_url=f"sqlite+aiosqlite:///{tmp_path}/own.db")
    with pytest.raises(OperationalError, match="database is locked"):
        asyncio.run(_two_that_read_and_write(config))


def test_one_inside_of_another_does_not_wait_for_it(tmp_path: Path) -> None:
    """A reader that is begun while its caller's transaction is open goes on at once."""

    async def nested() -> int:
        config = InTurn(connection_url=f"sqlite+aiosqlite:///{tmp_path}/nested.db")
        async with _begun(config) as outer:
            await outer.execute(sa.text("CREATE TABLE seen (number INTEGER)"))
            async with _begun(config) as inner:
                return int((await inner.execute(sa.text("SELECT 7"))).scalar_one())

    assert asyncio.run(asyncio.wait_for(nested(), 30)) == 7
