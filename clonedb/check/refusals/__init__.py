"""One refusal a module: `find` gives what is wrong, where, and what to do."""
