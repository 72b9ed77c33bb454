"""What is kept: backup and restore, one rule for how long, and upgrades of the databases."""
