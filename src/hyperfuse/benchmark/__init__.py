"""Tables over methods, networks and scenes; ``reproduce`` makes the tables and figures of the FeINFN paper."""

from hyperfuse.benchmark.entries import Contender, method_contender, network_contender
from hyperfuse.benchmark.plan import Job, Plan, make_plan
from hyperfuse.benchmark.records import Record, read_record
from hyperfuse.benchmark.runner import run_plan
from hyperfuse.benchmark.tables import Summary, summarise, write_tables

__all__ = [
    "Contender",
    "Job",
    "Plan",
    "Record",
    "Summary",
    "make_plan",
    "method_contender",
    "network_contender",
    "read_record",
    "run_plan",
    "summarise",
    "write_tables",
]
