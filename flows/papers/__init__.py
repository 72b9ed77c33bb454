"""What goes with a registered version, for whoever asks later where it came from."""
