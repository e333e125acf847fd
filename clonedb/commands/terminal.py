"""What the commands share: where they write, and the options that they have in common."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import msgspec
import typer
from rich.console import Console

# Results go to stdout, whatever else there is to say to stderr, so that --json can be piped.
stdout: Final = Console(highlight=False, soft_wrap=True)
stderr: Final = Console(stderr=True, highlight=False, soft_wrap=True)

Dsn = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL",
        show_default=False,
        help="The database: a libpq connection string or postgresql:// URL. Prefer the variable "
        "or a password file where other people can list processes.",
    ),
]
ObjectStoreAt = Annotated[
    str | None,
    typer.Option(
        "--object-store",
        envvar="CLONEDB_OBJECT_STORE",
        show_default=False,
        help="The object store: a folder, gs:// or s3://.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def print_json(value: object) -> None:
    """One line of JSON on stdout."""
    # Not by rich: JSON is for machines, and keeps its long lines.
    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
