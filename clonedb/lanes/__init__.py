"""The ways to the server; repositories do not know which one they are on."""
