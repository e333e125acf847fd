"""The command line: `python -m tests.benchmarks [--smoke | --full] [--only NAME]`."""

from __future__ import annotations

import argparse
import importlib.util
import random
import tempfile
from pathlib import Path
from typing import Final

import msgspec

from tests.benchmarks import machine, report
from tests.benchmarks.contest import Arena
from tests.benchmarks.effort import DEFAULT, FULL, SMOKE
from tests.benchmarks.progress import elapsed, say
from tests.benchmarks.redis_server import running_redis
from tests.benchmarks.run import Run
from tests.benchmarks.server import running_server
from tests.benchmarks.site import Site
from tests.benchmarks.workloads import (
    bulk,
    cached_of_one,
    cached_values,
    growth,
    limits,
    lists,
    memory_hits,
    point_read,
    purge,
    record_turn,
    row_security,
    stampede,
    streaming,
    whole_turn,
)

_WORKLOADS = {
    "point_read": point_read,
    "lists": lists,
    "record_turn": record_turn,
    "whole_turn": whole_turn,
    "bulk": bulk,
    "streaming": streaming,
    "growth": growth,
    "cached_values": cached_values,
    "cached_of_one": cached_of_one,
    "memory_hits": memory_hits,
    "limits": limits,
    "purge": purge,
    "stampede": stampede,
    "row_security": row_security,
}
_CONTESTS_AT_MOST = 4  # of one workload

# Of each minute that a run may take, the seconds that are kept for a contest still to come.
_RESERVED: Final = 0.5
_DOCUMENTS = Path(__file__).parents[2] / "docs" / "benchmarks"


def main() -> None:
    """Run, and write the tables."""
    arguments = _parse()
    if arguments.render is not None:
        run = report.read(arguments.render)
        report.write(run, arguments.output or arguments.render.parent)
        return
    effort = SMOKE if arguments.smoke else FULL if arguments.full else DEFAULT
    if arguments.rounds is not None:
        rounds = arguments.rounds
        effort = msgspec.structs.replace(effort, rounds=rounds, long_rounds=rounds)
    seed = arguments.seed if arguments.seed is not None else random.SystemRandom().getrandbits(32)
    say(f"the order of the rounds is that of --seed {seed}")
    whole = not (arguments.smoke or arguments.only or arguments.rounds)
    output = arguments.output or (
        _DOCUMENTS if whole else Path(tempfile.mkdtemp(prefix="clonedb-bench-"))
    )
    run = Run(seed=seed, machine=machine.describe())
    with (
        running_server(arguments.directory) as server,
        running_redis(arguments.directory) as redis,
    ):
        run.machine["postgresql"] = server.version
        run.machine["fsync_ms"] = round(server.fsync_milliseconds(), 2)
        run.machine["redis"] = None if redis is None else redis.version
        site = Site(server, redis, effort)
        order = random.Random(seed)
        arenas = [Arena(server, redis, loop, order) for loop in effort.loops if _is_installed(loop)]
        names = list(arguments.only or _WORKLOADS)
        try:
            for done, name in enumerate(names):
                _run(site, name, arenas, run, len(names) - done - 1)
                if not arguments.smoke:
                    # Each kind of work begins with fresh processes, so that memory is its own.
                    for arena in arenas:
                        arena.renew()
        finally:
            for arena in arenas:
                arena.renew()
    run.seconds = round(elapsed())
    for path in report.write(run, output):
        say(f"wrote {path}")


def _run(site: Site, name: str, arenas: list[Arena], run: Run, later: int) -> None:
    contests = _WORKLOADS[name].contests(site)
    left = (len(contests) + later * _CONTESTS_AT_MOST) * len(arenas)
    for contest in contests:
        for arena in arenas:
            say(f"{contest.title} ({arena.loop})")
            site.server.checkpoint()
            left -= 1
            reserved = left * site.effort.minutes * _RESERVED
            results = arena.run(contest, site.effort.minutes * 60 - elapsed() - reserved)
            for line in report.progress_lines(run.add(contest, results)):
                say(f"    {line}")
            run.absent = sorted(arena.absent.union(run.absent))


def _is_installed(loop: str) -> bool:
    return importlib.util.find_spec(loop) is not None


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="nox -s bench --", description="clonedb beside its peers")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--smoke", action="store_true", help="every workload for a moment")
    length.add_argument("--full", action="store_true", help="growth to 10^7 rows too")
    parser.add_argument(
        "--only", action="append", choices=_WORKLOADS, help="this workload; may be repeated"
    )
    parser.add_argument("--rounds", type=int, help="of every contest, for a quick look")
    parser.add_argument("--seed", type=int, help="of the order of the rounds, printed otherwise")
    parser.add_argument("--output", type=Path, help="the folder for the tables and the plot")
    parser.add_argument(
        "--render", type=Path, help="write the tables of a results.json again, and measure nothing"
    )
    parser.add_argument("--directory", type=Path, help="the folder for the server's data")
    return parser.parse_args()


if __name__ == "__main__":
    main()
