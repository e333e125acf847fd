"""What `clonedb demo` shows."""
