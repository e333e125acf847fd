"""What a run has found."""
from __future__ import annotations
import statistics
from pathlib import Path
from typing import Any
class Run:
    def __init__(self, seed, machine):
        self.seed=seed; self.machine=machine; self.absent=set(); self.seconds=0; self.contests=[]
    def add(self, contest, results):
        self.contests.append((contest, results))
def progress_lines(results):
    out=[]
    for cell, ms in sorted(results.items(), key=lambda kv:(kv[0].callers)):
        r=statistics.median(m.rate for m in ms)
        c=statistics.median(m.client_cpu/m.calls*1e6 for m in ms)
        s=statistics.median((m.server_cpu or 0)/m.calls*1e6 for m in ms)
        m=ms[-1]
        out.append(f"{cell.callers:4} {cell.label:34} {r:10.1f}/s  client {c:9.1f} us server {s:9.1f} us  {m.memory:.0f} MB {m.memory_growth or ''} {m.longest_pause_ms or ''}")
    return out
def write(run, output): return []
