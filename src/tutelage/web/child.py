"""`python -m tutelage.web.child ARGUMENTS`: the command line in a child that can be interrupted.

A process that was started with Ctrl-C ignored (by `nohup`, or a shell's `&`) hands that down to its children, and a run that
ignores Ctrl-C could only be killed.
"""

from __future__ import annotations

import runpy
import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module("tutelage", run_name="__main__", alter_sys=True)
