"""The machine, in words that tell its speed and not where it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from pathlib import Path
from typing import Any, Final

import psutil

_PACKAGES: Final = (
    "clonedb",
    "psycopg",
    "asyncpg",
    "SQLAlchemy",
    "tortoise-orm",
    "uvloop",
    "msgspec",
    "redis",
    "hiredis",
    "valkey-glide",
    "cachetools",
    "limits",
)


def describe() -> dict[str, Any]:
    """Cores, memory, Python, and the versions of what is compared."""
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 1024**3),
        "processor": _processor(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
