"""A column does not say what it tells of a person.

Its comment has to end with `[personal: CLASS]`: biometric, content, contact, behaviour, identifier,
technical or none. Whoever grants a column, or answers a person's question for their data, goes by
it. In a table with rows of people no column is about nobody.
"""

from clonedb.doctor.check import Check
from clonedb.privacy.classes import MEANINGS

CHECK = Check(
    level="error",
    message="{defect}",
    remedy="-- {guess} is a guess: say what it is\nCOMMENT ON COLUMN {object} IS {comment};",
    arguments={"classes": tuple(MEANINGS)},
)
