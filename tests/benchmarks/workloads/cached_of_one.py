"""The same as in `cached_values`, by 16 callers of one user: a document that is being taken in."""

from __future__ import annotations

from tests.benchmarks.contest import Contest
from tests.benchmarks.site import Site
from tests.benchmarks.workloads.cached_values import contests_on, seeded_ground

SUFFIX = "_of_one"


def contests(site: Site) -> list[Contest]:
    """As many entries as all users have there."""
    entries = site.effort.cache_users * site.effort.cache_entries
    ground = seeded_ground(site, "one", 1, entries)
    return contests_on(site, ground, SUFFIX, ", all of one user")
