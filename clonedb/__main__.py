"""`python -m clonedb` is the command `clonedb`."""

from __future__ import annotations

from clonedb.cli import main

if __name__ == "__main__":
    main()
