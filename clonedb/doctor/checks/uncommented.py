"""A table or column has no comment.

What it holds, in which unit, and of whom has then to be guessed by whoever answers a person's
question for their data. A column that is classified says there what it is.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="note",
    message="nobody has said what it holds",
    remedy="COMMENT ON {kind} {object} IS '(say what it holds, of whom, in which unit)';",
)
