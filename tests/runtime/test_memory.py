import numpy as np
import pytest

from hyperfuse.runtime.memory import free_bytes, peak_bytes, reset_peak, total_bytes

GB = 2**30


def test_without_a_limit_memory_is_the_machines(groups):
    groups(["0::/user"], {"user/memory.max": "max\n", "user/memory.current": "100\n"})
    assert total_bytes() == 64 * GB
    assert free_bytes() == 32 * GB


def test_a_limit_of_version_2_counts_and_its_cache_is_free(groups):
    stat = f"anon 1\ninactive_file {GB}\n"
    files = {"a/b/memory.max": "max", "a/memory.max": f"{8 * GB}", "a/memory.current": f"{3 * GB}"}
    groups(["0::/a/b"], {**files, "a/memory.stat": stat, "a/b/memory.current": "0"})
    assert total_bytes() == 8 * GB
    assert free_bytes() == 6 * GB


def test_a_limit_of_version_1_counts(groups):
    files = {
        "memory/memory.limit_in_bytes": f"{4 * GB}",
        "memory/memory.usage_in_bytes": f"{3 * GB}",
        "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {GB // 2}\n",
    }
    # The path is the host's; inside the container its own group is mounted as the root.
    groups(["12:cpu,cpuacct:/docker/x", "11:memory:/docker/x", "1:name=systemd:/docker/x"], files)
    assert total_bytes() == 4 * GB
    assert free_bytes() == 1.5 * GB


def test_the_lowest_of_nested_limits_counts_also_where_it_slows_down(groups):
    files = {"memory.max": f"{16 * GB}", "memory.current": f"{10 * GB}"}
    files |= {"a/memory.max": f"{8 * GB}", "a/memory.high": f"{6 * GB}", "a/memory.current": f"{5 * GB}"}
    groups(["0::/a"], files)
    assert total_bytes() == 6 * GB
    assert free_bytes() == 1 * GB


def test_both_versions_may_be_mounted(groups):
    files = {"memory/memory.limit_in_bytes": f"{9223372036854771712}", "memory/memory.usage_in_bytes": "7"}
    files |= {"unified/x/memory.max": f"{2 * GB}", "unified/x/memory.current": "0"}
    groups(["4:memory:/", "0::/x"], files)
    assert total_bytes() == 2 * GB


@pytest.mark.parametrize("lines", [[], ["0::/../../etc"], ["nonsense", "0:"]])
def test_groups_that_cannot_be_read_limit_nothing(groups, lines):
    groups(lines, {})
    assert total_bytes() == 64 * GB


def test_this_machine_has_memory():
    assert 0 < free_bytes() <= total_bytes()


def test_the_peak_counts_from_its_reset():
    np.ones(40_000_000)  # 320 MB, and gone
    reset_peak()
    before = peak_bytes()
    held = np.ones(10_000_000)
    assert 60e6 < peak_bytes() - before < 160e6
    assert held.size
