"""New passwords are stored as MD5.

See password_md5: the stored value is as good as the password.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="new passwords are stored as {value}",
    remedy="{place};",
)
