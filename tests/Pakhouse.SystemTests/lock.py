"""Holds every lock of a SQLite database in WAL mode, as a process that hangs in the middle of something does.

The locks are POSIX locks on bytes 120 to 127 of the -shm file (https://sqlite.org/walformat.html, "WAL Locks").
Prints a line when it holds them, and lets go when its standard input ends.
"""

import fcntl
import sys

with open(sys.argv[1], "r+b") as shared:
    fcntl.lockf(shared, fcntl.LOCK_EX, 8, 120)
    print("locked", flush=True)
    sys.stdin.read()
