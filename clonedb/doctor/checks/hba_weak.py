"""pg_hba.conf lets somebody in from the network without proof, or with a weak one.

`trust` asks nothing, `ident` the other machine, `password` wants the password readable, `md5`
accepts the old kind.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{rule}: {method} from the network",
    remedy=(
        "-- {file}, line {line}: scram-sha-256 in the place of {method}\nSELECT pg_reload_conf();"
    ),
    needs="may_read_hba_rules",
)
