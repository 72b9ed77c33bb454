"""Writes databases as older servers left them: python -m tests.flows.keeping.old_tables ADDRESS.

The steps of MLflow itself, up to one of years ago, in a process of its own: they configure logging.
"""

import sys
from typing import Any

MLFLOW_FORM, PREFECT_FORM = "400f98739977", "5952a5498b51"
# Rows as these forms have them.
MLFLOW_ROWS = """
INSERT INTO experiments (experiment_id, name, artifact_location, lifecycle_stage, creation_time,
  last_update_time) VALUES (1, 'stickers', 'mlflow-artifacts:/1', 'active', 1, 1);
INSERT INTO runs (run_uuid, name, status, start_time, experiment_id, lifecycle_stage, artifact_uri,
  source_type, entry_point_name, source_name, source_version, user_id) VALUES ('0123456789abcdef',
  'old', 'FINISHED', 1, 1, 'active', 'mlflow-artifacts:/1/0123456789abcdef/artifacts', 'LOCAL', '',
  '', '', 'ada');
INSERT INTO registered_models (name, creation_time, last_updated_time) VALUES ('stickers', 1, 1);
INSERT INTO model_versions (name, version, source, run_id, current_stage, status, creation_time,
  last_updated_time) VALUES ('stickers', 7, 'mlflow-artifacts:/1/0123456789abcdef/artifacts/model',
  '0123456789abcdef', 'None', 'READY', 1, 1);
INSERT INTO registered_model_aliases (name, alias, version) VALUES ('stickers', 'champion', 7);
"""


def main() -> None:
    """Write MLflow's tables of then at an address, with rows in them."""
    from alembic import command
    from mlflow.store.db import utils
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine, text

    engine = create_engine(sys.argv[1])
    Base.metadata.create_all(engine)
    configured: Any = utils._get_alembic_config  # as MLflow's own command does
    config = configured(sys.argv[1])
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, MLFLOW_FORM)
    with engine.begin() as connection:
        for row in MLFLOW_ROWS.split(";\n"):
            connection.execute(text(row or "SELECT 1"))


if __name__ == "__main__":
    main()
