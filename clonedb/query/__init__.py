"""Reading query files: tokens, headers, conditional lines, statements."""
