"""How the mill is, seen from beside it: metrics for Prometheus, and alerts when nothing happens.

    python -m flows.monitor       started by `ganmill up`, ended by `ganmill down`

A process of its own, that needs none of those it watches: with Prefect, MLflow or the worker dead
it says so. Each round looks at everything once; a scrape returns the last round.
"""
