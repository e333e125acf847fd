"""Migrations rehearsed on data: what each locks and does, and when it may be applied."""
