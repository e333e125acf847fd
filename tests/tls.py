"""A real server that speaks TLS over loopback, with certificates made for the occasion."""

from __future__ import annotations

import ipaddress
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from psycopg.conninfo import make_conninfo

from clonedb.errors import EmbeddedError
from clonedb.postgres.accounts import account_for
from clonedb.postgres.binaries import find_binaries
from clonedb.resources import sql_directory

# A name that is not this machine's, so that the library takes the way there for a network.
HOST: Final = "db.clonedb.test"
SUPERUSER: Final = "clonedb_superuser"
PATIENCE_SECONDS: Final = 20

RULES = """
local all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostnossl all all 127.0.0.1/32 reject
"""


def binaries_with_tls() -> Path | None:
    """The programs of a PostgreSQL that was built with OpenSSL: the tests' own, or Debian's."""
    candidates = [*Path("/usr/lib/postgresql").glob("*/bin")]
    with suppress(EmbeddedError):
        candidates.insert(0, find_binaries(None).directory)
    for folder in candidates:
        program = folder / "postgres"
        # Linked with OpenSSL; pg_config, which could be asked, is not always installed.
        if program.is_file() and b"libssl.so" in program.read_bytes():
            return folder
    return None


class Authority:
    """An authority that signs servers' certificates."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        own = self._begin(self._name, self._key.public_key(), days=30).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = folder / f"{name}.crt"
        self.file.write_bytes(
            own.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )

    def _begin(self, subject: x509.Name, key: Any, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
        )

    def issue(self, name: str, host: str = HOST, *, days: int = 30) -> str:
        """Write `name`.crt and `name`.key for a server; negative days have passed."""
        key = ec.generate_private_key(ec.SECP256R1())
        alternatives: list[x509.GeneralName] = [x509.DNSName(host)]
        with suppress(ValueError):
            alternatives = [x509.IPAddress(ipaddress.ip_address(host))]
        certificate = (
            self._begin(
                x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)]), key.public_key(), days
            )
            .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        (self._folder / f"{name}.crt").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
        )
        private = self._folder / f"{name}.key"
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        private.chmod(0o600)
        if os.geteuid() == 0:
            account = account_for(self._folder)
            os.chown(private, account.uid, account.gid)
        return name


class TlsServer(NamedTuple):
    """The server, what signs its certificates, and what signs others'."""

    folder: Path
    port: int
    authority: Authority
    stranger: Authority

    def dsn(self, role: str, password: str, **parameters: Any) -> str:
        """The way over TCP, with this server's authority unless another is named."""
        given = {
            "host": HOST,
            "hostaddr": "127.0.0.1",
            "sslrootcert": str(self.authority.file),
            **parameters,
        }
        return make_conninfo(
            port=self.port, dbname="clonedb", user=role, password=password, **given
        )

    def through_socket(self, database: str = "clonedb") -> psycopg.Connection[Any]:
        """The superuser's connection, whatever TLS is."""
        return psycopg.connect(
            host=str(self.folder), port=self.port, user=SUPERUSER, dbname=database, autocommit=True
        )

    def configure(self, **settings: str) -> None:
        """Have the server use exactly these settings of TLS for whoever connects from now on."""
        wanted = {
            "ssl": "on",
            "ssl_cert_file": "right.crt",
            "ssl_max_protocol_version": "",
            **settings,
        }
        certificate = self.folder / wanted["ssl_cert_file"]
        wanted["ssl_cert_file"] = str(certificate)
        wanted["ssl_key_file"] = str(certificate.with_suffix(".key"))
        if self._found(wanted) == wanted:
            return
        with self.through_socket("postgres") as connection:
            for name, value in wanted.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'".encode())
            connection.execute("SELECT pg_reload_conf()")
        deadline = datetime.now(UTC) + timedelta(seconds=PATIENCE_SECONDS)
        while (found := self._found(wanted)) != wanted:
            assert datetime.now(UTC) < deadline, f"{found} and not {wanted}"

    def _found(self, wanted: dict[str, str]) -> dict[str, str]:
        """The settings that the postmaster has: a new session has the same."""
        with self.through_socket("postgres") as connection:
            return dict(
                connection.execute(
                    "SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(wanted)]
                ).fetchall()
            )


@contextmanager
def running_server(binaries: Path, folder: Path) -> Iterator[TlsServer]:
    """A server on a free port, with clonedb's roles and an empty database `clonedb`."""
    account = account_for(folder)
    account.give(folder)
    done = account.run(
        [
            *(binaries / "initdb", "-D", folder / "data", "-U", SUPERUSER, "-N"),
            *("--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"),
        ],
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    (folder / "data" / "pg_hba.conf").write_text(RULES)
    authority, stranger = Authority(folder, "authority"), Authority(folder, "stranger")
    authority.issue("right")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    settings = {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": str(folder),
        "fsync": "off",
        "max_connections": "50",
    }
    command = [str(binaries / "postgres"), "-D", str(folder / "data")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command,
            cwd="/",
            stdout=log,
            stderr=log,
            user=None if account.is_ours else account.uid,
            group=None if account.is_ours else account.gid,
            extra_groups=None if account.is_ours else (),
        )
    server = TlsServer(folder, port, authority, stranger)
    try:
        _wait_for(server, process)
        with server.through_socket("postgres") as connection:
            connection.execute((sql_directory() / "setup" / "logins.sql").read_bytes())
            connection.execute("CREATE DATABASE clonedb OWNER clonedb_owner")
        server.configure()
        yield server
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder / "data", ignore_errors=True)


def _wait_for(server: TlsServer, process: subprocess.Popen[bytes]) -> None:
    while True:
        try:
            server.through_socket("postgres").close()
        except psycopg.OperationalError:
            assert process.poll() is None, (server.folder / "log").read_text()
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        else:
            return
