"""The engine: one loop, its loss, its schedules, and what lets it be killed at any instant."""
