"""What PostgreSQL itself says about every query, written down, and what is refused of it."""
