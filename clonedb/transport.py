"""What a dsn that names another machine means: TLS 1.3, and a server that proves who it is.

libpq's own default, sslmode=prefer, is content with plaintext and with whoever answers. So a dsn
that leads to another host gets sslmode=verify-full and TLS 1.3 where it does not say otherwise, and
is refused where it asks for less, unless an operator has allowed that. A unix socket and a loopback
address, where Cloud SQL's proxy listens too, are left as they are: nothing of them crosses a
network.
"""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final

from psycopg.pq import Conninfo

from clonedb.errors import InvalidInput

VARIABLE: Final = "CLONEDB_ALLOW_WEAKER_TLS"

_STRONG: Final = {
    "sslmode": "verify-full",
    "ssl_min_protocol_version": "TLSv1.3",
    # A connection that Kerberos encrypts is not asked for a certificate.
    "gssencmode": "disable",
}


def is_weaker_allowed() -> bool:
    """Whether the environment lets dsns ask for less; any value but 1 is InvalidInput."""
    value = os.environ.get(VARIABLE, "")
    if value not in ("", "0", "1"):
        raise InvalidInput(f"{VARIABLE} is neither 0 nor 1")
    return value == "1"


def protected(parameters: Mapping[str, Any], *, allow_weaker: bool = False) -> dict[str, Any]:
    """The parameters of a dsn, made safe for the way that they lead.

    Raises InvalidInput for a dsn to another host that asks for less, unless `allow_weaker`. What
    the environment says to libpq (PGSSLMODE, …) does not count: it holds for every program.
    """
    if not _leaves_the_machine(parameters):
        return dict(parameters)
    for name, strong in _STRONG.items():
        given = parameters.get(name)
        if given in (None, "", strong) or allow_weaker:
            continue
        raise InvalidInput(
            f"the dsn leads to another host and says {name}={_known(given)}: plaintext, an older "
            "protocol or a server that need not be the right one",
            remedy=f"leave {name} out, which is {strong}, with sslrootcert=FILE for an authority "
            f"of your own; or set {VARIABLE}=1 where the network itself is trusted",
        )
    return {**_STRONG, **{name: value for name, value in parameters.items() if value}}


def _known(value: object) -> str:
    # What else stands there may be a password that slipped.
    words = ("disable", "allow", "prefer", "require", "verify-ca", "TLSv1", "TLSv1.1", "TLSv1.2")
    return str(value) if value in words else "…"


def _leaves_the_machine(parameters: Mapping[str, Any]) -> bool:
    # Where a service leads stands in a file, which libpq reads.
    return bool(parameters.get("service")) or not all(map(_is_local, _places(parameters)))


def _places(parameters: Mapping[str, Any]) -> Iterable[str]:
    """Names and addresses that libpq would use, from the dsn or else from the environment.

    A name beside a loopback address is one to be verified: so a tunnel is told who is at its end.
    """
    defaults = {
        option.keyword.decode(): (option.val or b"").decode() for option in Conninfo.get_defaults()
    }
    for name in ("host", "hostaddr"):
        for place in str(parameters.get(name) or defaults.get(name) or "").split(","):
            yield place.strip()


def _is_local(place: str) -> bool:
    """A unix socket's folder, nothing (libpq's own socket), or a loopback address."""
    if not place or place[0] in "/@" or place.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(place).is_loopback
    except ValueError:
        return False
