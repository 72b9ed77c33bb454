"""What every test has in common: one thread for torch, so that a busy machine changes nothing."""

import os

# Before torch is imported, and for the processes that tests start: two threads that wait for one
# free processor are several times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
