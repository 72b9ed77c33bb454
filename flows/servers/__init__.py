"""The servers of the stack: how each is started, guarded, logged in to, and upgraded."""
