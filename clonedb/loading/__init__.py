"""Storing files of conversations, for `clonedb load`."""
