"""Upgrades the tables of one server in a process of its own.

    GANMILL_TABLES=sqlite:////... python -m flows.keeping.server_tables mlflow|login

Of its own, because the libraries that know the steps log and configure as they like. The address
comes by the environment: it may hold a password.
"""

import os
import sys

ADDRESS = "GANMILL_TABLES"


def main() -> None:
    """Upgrade what is asked for to the newest form."""
    address = os.environ[ADDRESS]
    if sys.argv[1] == "login":
        import sqlalchemy
        from mlflow.server.auth.db import utils

        utils.migrate(sqlalchemy.create_engine(address), "head")
    else:
        from mlflow.db import upgrade

        upgrade.main([address], standalone_mode=False)  # arguments of a function, not of a process


if __name__ == "__main__":
    main()
