"""One module per entity: its Structs, then its repository."""
