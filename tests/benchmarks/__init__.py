"""`nox -s bench`: clonedb beside its peers, on a server of its own. Nothing here is a test.

    nox -s bench                       all workloads, 15 minutes; writes docs/benchmarks/
    nox -s bench -- --smoke            every workload for a moment; writes to a temporary folder
    nox -s bench -- --full             growth to ten million rows too
    nox -s bench -- --only point_read  one workload

What is measured and how is told in docs/benchmarks/results.md.
"""
