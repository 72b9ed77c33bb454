"""When what runs: slots, what a late run is worth, what Prefect is told of it, and who runs it."""
