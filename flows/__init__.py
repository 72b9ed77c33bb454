"""The platform: when work runs (Prefect), whether it must (DVC), what came out (MLflow)."""
