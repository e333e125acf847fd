"""PostgreSQL's programs, files and processes, as far as the embedded server needs them."""
