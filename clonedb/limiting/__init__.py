"""A front over the token buckets: rules known by the process, and callers who share a call."""
