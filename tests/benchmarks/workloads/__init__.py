"""The work that is measured: one module makes the contests of one kind of work."""
