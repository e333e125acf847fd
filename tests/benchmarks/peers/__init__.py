"""What is compared: one module for each library, which a process of its own imports.

Each module has `CONTESTANTS`: for each work the ways in which the library does it.
"""
