"""Marks that say a picture is synthetic and whose it is, in its pixels and beside them."""
