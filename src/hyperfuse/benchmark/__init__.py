"""Tables over methods, networks and scenes; ``reproduce`` makes the tables and figures of the FeINFN paper."""

from hyperfuse.benchmark.entries import Entry, method_entry, network_entry
from hyperfuse.benchmark.plan import BenchmarkJob, BenchmarkPlan, make_plan
from hyperfuse.benchmark.records import Record, read_record
from hyperfuse.benchmark.runner import run_plan
from hyperfuse.benchmark.summary import Summary, summarise, summarise_plan, write_tables

__all__ = [
    "BenchmarkJob",
    "BenchmarkPlan",
    "Entry",
    "Record",
    "Summary",
    "make_plan",
    "method_entry",
    "network_entry",
    "read_record",
    "run_plan",
    "summarise",
    "summarise_plan",
    "write_tables",
]
