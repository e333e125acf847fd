"""The review of a change: what it does to queries, plans, rights and schema, risks first."""
