"""How far new images are from those that the champion was trained on."""
