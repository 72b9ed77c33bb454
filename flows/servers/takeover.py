"""What MLflow kept in SQLite goes with it to Postgres: runs, models, versions and their aliases.

Without that a mill that leaves SQLite would have a ledger that names a champion, and a registry
that knows none.
"""

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from gan.errors import ServiceError

if TYPE_CHECKING:
    from sqlalchemy import Connection, MetaData, Table

_ROWS_AT_ONCE = 5_000
_FORM = "alembic_version"


def take_over(kept: Path, address: str) -> int:
    """Copy every row of MLflow's SQLite file into a database whose tables are made and empty.

    All of it or nothing: it is one transaction, so who is killed begins anew. The file stays as it
    is. Where the database has runs or models of its own, nothing is copied.

    Args:
        kept: The file; there may be none.
        address: Of the database in Postgres.

    Returns:
        How many rows were copied.

    Raises:
        ServiceError: The tables of both are not in the same form.
    """
    if not kept.exists():
        return 0
    import sqlalchemy
    from mlflow.store.db.base_sql_model import Base
    from mlflow.store.model_registry.dbmodels import models  # noqa: F401  # they fill `Base`

    tables: MetaData = Base.metadata
    read_only = f"{kept.resolve().as_uri()}?mode=ro"
    source = sqlalchemy.create_engine(
        "sqlite://", creator=lambda: sqlite3.connect(read_only, uri=True)
    )
    target = sqlalchemy.create_engine(address)
    try:
        with source.connect() as old, target.begin() as new:
            if _is_used(new, tables) or not _is_used(old, tables):
                return 0
            _require_same_form(kept, old, new)
            for table in reversed(tables.sorted_tables):
                new.execute(table.delete())  # of what making the tables put into them
            return sum(_copy(table, old, new) for table in tables.sorted_tables)
    finally:
        source.dispose()
        target.dispose()


def _is_used(database: "Connection", tables: "MetaData") -> bool:
    """Tell whether there are runs or models."""
    return any(
        database.execute(tables.tables[name].select().limit(1)).first() is not None
        for name in ("runs", "registered_models")
    )


def _require_same_form(kept: Path, old: "Connection", new: "Connection") -> None:
    from sqlalchemy import String, column, select, table

    form = select(column("version_num", String)).select_from(table(_FORM))
    forms = [each.execute(form).scalar() for each in (old, new)]
    if forms[0] != forms[1]:
        raise ServiceError(
            f"{kept}: its tables are in another form ({forms[0]}) than those of the new database "
            f"({forms[1]}). Start once more without GANMILL_MLFLOW_DATABASE, which upgrades them."
        )


def _copy(table: "Table", old: "Connection", new: "Connection") -> int:
    """Copy one table, and have the numbers that the database gives go on after the last."""
    from sqlalchemy import func, select

    copied = 0
    rows = old.execution_options(yield_per=_ROWS_AT_ONCE).execute(table.select())
    for some in rows.mappings().partitions():
        new.execute(table.insert(), [dict(row) for row in some])
        copied += len(some)
    for column in table.primary_key.columns:
        numbers = func.pg_get_serial_sequence(table.name, column.name)
        if sequence := new.execute(select(numbers)).scalar():
            following = select(func.coalesce(func.max(column), 0) + 1).scalar_subquery()
            new.execute(select(func.setval(sequence, following, False)))  # noqa: FBT003  # SQL's own
    return copied
