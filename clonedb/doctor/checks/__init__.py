"""One module per check, found by its name, with its query in sql/doctor/ under the same name.

A module's docstring says what is wrong and why it matters; `CHECK` is the rest. To add one: write
both files, and the defect that it finds into tests/doctor/defects.py.
"""
