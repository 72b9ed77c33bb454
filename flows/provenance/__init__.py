"""Whose a picture is: what the workspace knows of its assets, and what a file gives away."""
