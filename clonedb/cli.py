"""`clonedb`: the entry point of the command line, and the one place that decides exit codes.

0: done. 1: refused, or something was found. 2: it could not run: no server, wrong arguments, or
not installed with the extra `cli`.
"""

from __future__ import annotations

import sys
from typing import Final

from clonedb.errors import ClonedbError, EmbeddedError, InvalidInput, QueryFileError, Unavailable

REFUSED: Final = 1
COULD_NOT_RUN: Final = 2

_COULD_NOT_RUN: Final = (EmbeddedError, InvalidInput, QueryFileError, Unavailable)
_EXTRA: Final = frozenset(("click", "jinja2", "rich", "typer"))


def main() -> None:
    """Run the command line and exit: one line for an error, no traceback."""
    try:
        from clonedb.commands.app import app

        app(prog_name="clonedb")
    except ModuleNotFoundError as error:
        if error.name not in _EXTRA:
            raise
        _complain(f"the command line needs {error.name}; install it: pip install 'clonedb[cli]'")
        sys.exit(COULD_NOT_RUN)
    except ClonedbError as error:
        _complain(str(error))
        sys.exit(COULD_NOT_RUN if isinstance(error, _COULD_NOT_RUN) else REFUSED)
    except OSError as error:
        # A file that cannot be read or written; a closed pipe is the reader's choice.
        _complain(str(error))
        sys.exit(COULD_NOT_RUN)


def _complain(message: str) -> None:
    sys.stderr.write("clonedb: " + " ".join(message.split()) + "\n")
