"""The commands of `clonedb`: arguments in, one library call, lines or JSON out.

A command imports what it runs inside its function, so that `clonedb --help` is quick and one
command's extra is not needed by another.
"""

from __future__ import annotations

import typer

from clonedb.commands.audit import audit
from clonedb.commands.check import check
from clonedb.commands.conversations import demo, load
from clonedb.commands.doctor import doctor
from clonedb.commands.erase_user import erase_user
from clonedb.commands.export_user import export_user
from clonedb.commands.health import health
from clonedb.commands.maintain import maintain
from clonedb.commands.migrate import migrations
from clonedb.commands.rehearse import rehearse
from clonedb.commands.retention import retention
from clonedb.commands.review import review

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    # Its tracebacks show local variables, and a dsn may be among them.
    pretty_exceptions_enable=False,
    help="The database layer of a conversational clone: migrations and tools.",
)

app.command()(check)
app.command()(demo)
app.command()(doctor)
app.command()(erase_user)
app.command()(export_user)
app.command()(health)
app.command()(load)
app.command()(maintain)
app.command()(rehearse)
app.command()(review)
app.add_typer(audit, name="audit")
app.add_typer(migrations, name="migrate")
app.add_typer(retention, name="retention")
