"""`nox -s bench`: clonedb beside its peers, on a server of its own. Nothing here is a test.

    nox -s bench                       all workloads, 20 minutes; writes docs/benchmarks/
    nox -s bench -- --smoke            every workload for a moment; writes to a temporary folder
    nox -s bench -- --full             growth to ten million rows too
    nox -s bench -- --only point_read  one workload

Caches and limits are compared with clients of Redis where `redis-server` is on the PATH
(`apt-get install redis-server`); one of the benchmark's own is started, and no other is touched.

What is measured and how is told in docs/benchmarks/results.md.
"""
