"""A password is stored as MD5.

Whoever sees the stored value may log in with it, without knowing the password, and guesses it
quickly. PostgreSQL will drop the method.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="its password is stored as MD5",
    remedy="ALTER ROLE {object} PASSWORD NULL; -- and a new one: \\password {object}",
    needs="may_read_passwords",
)
