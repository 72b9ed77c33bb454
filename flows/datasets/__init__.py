"""Data versions: what is kept of each, how one comes back, and what became of an image in them."""
