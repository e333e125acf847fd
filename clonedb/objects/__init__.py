"""Large objects in an object store, whose rows in the database say what exists."""
