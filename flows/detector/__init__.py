"""The detector as a step of the mill: whether it is due, and its page, with what it can tell."""
