"""Files of the repository that are made from others."""
