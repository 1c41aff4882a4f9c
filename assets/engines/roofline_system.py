"""What the machine tells the external engines: memory, names, and how much of it can be held. Standard library only."""

import os
import platform
import resource
import subprocess
import sys
from importlib import metadata

# The finest step of the search for the largest tensor.
STEP_BYTES = 64 << 20


def process_peak_reset():
    """Begins a new peak of the process's memory, where the system can."""
    try:
        with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
            file.write("5")
        return True
    except OSError:
        return False


def process_peak():
    """The peak of the process's resident memory in bytes: since the reset on Linux, since its start elsewhere."""
    peak = _proc_number("/proc/self/status", "VmHWM:")
    if peak is not None:
        return peak * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def memory_total():
    """The machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def memory_available():
    """Memory that can be taken without swapping, in bytes: the system's figure, or what a container's limit leaves."""
    if sys.platform == "darwin":
        return _mac_available()
    available = _proc_number("/proc/meminfo", "MemAvailable:")
    available = memory_total() if available is None else available * 1024
    limit, used = (_number(f"/sys/fs/cgroup/memory.{name}") for name in ("max", "current"))
    return available if limit is None or used is None else min(available, max(0, limit - used))


def _proc_number(path, key):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith(key)), None)
    except (OSError, ValueError, IndexError):
        return None


def _number(path):
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None


def _run(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _mac_available():
    """Pages that are free, or that hold what can be read again."""
    pages = {}
    for line in _run("/usr/bin/vm_stat").splitlines():
        name, _, count = line.partition(":")
        if count.strip(" .").isdigit():
            pages[name] = int(count.strip(" ."))
    kept = ("Pages free", "Pages inactive", "Pages speculative", "Pages purgeable")
    found = sum(pages.get(name, 0) for name in kept) * os.sysconf("SC_PAGE_SIZE")
    return found or memory_total() // 2


def processor_name():
    """The processor's name, as its maker writes it."""
    if sys.platform == "darwin":
        return _run("/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string").strip() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            names = (line.partition(":")[2].strip() for line in file if line.startswith("model name"))
            return next(names, None) or platform.machine()
    except OSError:
        return platform.machine()


def translated():
    """Whether this Python was built for x86-64 and runs on Apple silicon by translation."""
    return sys.platform == "darwin" and _run("/usr/sbin/sysctl", "-n", "sysctl.proc_translated").strip() == "1"


def find_limits(allocate, is_out_of_memory, most, point):
    """The largest single tensor and the total of many that could be allocated and written, at most `most` bytes.

    `allocate(bytes)` gives something that holds as much, written, until it is dropped.
    """
    least, beyond = 0, None
    size = most
    while size >= STEP_BYTES and (beyond is None or beyond - least > max(STEP_BYTES, least // 100)):
        point()
        if _fits(allocate, is_out_of_memory, size):
            least = size
        else:
            beyond = size
        if beyond is None:
            break
        size = (least + beyond) // 2 // STEP_BYTES * STEP_BYTES
    held, total = [], 0
    piece = max(STEP_BYTES, min(least, most // 16) // STEP_BYTES * STEP_BYTES)
    while piece >= STEP_BYTES and total < most:
        point()
        size = min(piece, most - total)
        try:
            held.append(allocate(size))
            total += size
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            piece = piece // 2 // STEP_BYTES * STEP_BYTES
    held.clear()
    return least, max(total, least)


def _fits(allocate, is_out_of_memory, size):
    try:
        allocate(size)
        return True
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False


def version_of(package):
    """{package: version} of an installed package, without importing it; empty where it isn't."""
    try:
        return {package: metadata.version(package)}
    except metadata.PackageNotFoundError:
        return {}
