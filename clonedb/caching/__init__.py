"""The caches of three tiers: in memory, in PostgreSQL, and in an object store for large files."""
