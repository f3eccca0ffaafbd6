"""`python -m tutelage`: the command line."""

from __future__ import annotations

from tutelage.cli import main

if __name__ == "__main__":
    main()
