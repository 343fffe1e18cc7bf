"""What the results say about the machine, the build and the repository. Relies on Linux's /proc and /sys; whatever is
not to be found is None."""

import datetime
import json
import os
import pathlib
import platform
import subprocess
import time

# How long it is looked at what else runs.
LOOK_SECONDS = 2

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_text(path):
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def first_field(path, names):
    """The value of the first line `NAME : VALUE` whose name is one of those."""
    for line in (read_text(path) or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in names:
            return value.strip()
    return None


def command_output(*command):
    try:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def load_average():
    return round(os.getloadavg()[0], 2)


def processor_ticks():
    """(busy, all) since the machine's start, over all processors; what a hypervisor has taken away is busy."""
    ticks = [int(word) for word in read_text("/proc/stat").splitlines()[0].split()[1:9]]
    return sum(ticks) - ticks[3] - ticks[4], sum(ticks)


def busy_processors():
    """How many processors other programs keep busy now. The load average would still hold the build before a run."""
    busy, total = processor_ticks()
    time.sleep(LOOK_SECONDS)
    busy_then, total_then = processor_ticks()
    return round(os.cpu_count() * (busy_then - busy) / max(total_then - total, 1), 2)


def available_processors():
    return len(os.sched_getaffinity(0))


def compiler_of(program):
    """The compilers whose names stand in a program's section .comment."""
    lines = (command_output("readelf", "--string-dump=.comment", str(program)) or "").splitlines()
    return "; ".join(line.split("]", 1)[1].strip() for line in lines if "]" in line) or None


def describe(drivers):
    memory = first_field("/proc/meminfo", ("MemTotal",))
    return {
        "processor": first_field("/proc/cpuinfo", ("model name", "CPU part")),
        "architecture": platform.machine(),
        "cores": available_processors(),
        "memory_mib": int(memory.split()[0]) // 1024 if memory else None,
        "kernel": platform.release(),
        "transparent_hugepages": read_text("/sys/kernel/mm/transparent_hugepage/enabled"),
        "libc": " ".join(platform.libc_ver()),
        "system": distribution(),
        "compiler": compiler_of(drivers / "micro"),
        "busy_before": busy_processors(),
        "load_before": load_average(),
        "load_after": None,
        "date": datetime.datetime.now().astimezone().isoformat(timespec="seconds"),
    }


def distribution():
    for line in (read_text("/etc/os-release") or "").splitlines():
        if line.startswith("PRETTY_NAME="):
            return json.loads(line.partition("=")[2])
    return None


def describe_commit():
    """The repository's commit, and whether the working tree differs from it."""
    status = command_output("git", "-C", str(ROOT), "status", "--porcelain")
    return {"commit": command_output("git", "-C", str(ROOT), "rev-parse", "HEAD"), "dirty": bool(status)}


def one_line(machine):
    """The machine in one line, for the heads of tables and plots."""
    return (f"{machine['processor']}, {machine['cores']} cores, {machine['memory_mib']} MiB, "
            f"Linux {machine['kernel']}, {machine['date'][:16].replace('T', ' ')}")
