"""Real programs whose traces are recorded on demand: a server that fills and expires, a compiler, a mix like a browser's.

Relies on `tiermalloc trace` and on the distribution's redis, clang (with g++'s headers) and Python.
"""

import os
import pathlib
import random
import shutil
import subprocess
import sys
import time

from groups import inputs
from simulator.runs import SimulatorError

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOOL = ROOT / "tool" / "tiermalloc"
SCRIPTS = ROOT / "bench" / "programs"

PYTHON = "/usr/bin/python3"

# A server that has not answered by then has failed.
REDIS_SECONDS = 60

# How many keys there are, and how long they live: from the first number of milliseconds to the second.
REDIS_KEYS = 400_000
REDIS_LIFE = (4_000, 24_000)


def need(*names):
    for name in names:
        if shutil.which(name) is None:
            raise SimulatorError(f"{name} is not installed")


def trace(library, output, *words, process=None):
    """The tool with a program; not yet waited for."""
    chosen = ["--process", process] if process else []
    return subprocess.Popen([sys.executable, TOOL, "trace", "--library", library, "-o", output, *chosen, *words],
                            env={**os.environ, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "0"}, stdout=subprocess.DEVNULL)


def finish(process, name):
    if process.wait() != 0:
        raise SimulatorError(f"{name} ended with status {process.returncode}")


def redis_commands(path):
    """One key in fifty stays. Every tenth value is appended to, as logs are."""
    numbers = random.Random(1)
    with open(path, "w", encoding="ascii", newline="") as file:
        for number in range(REDIS_KEYS):
            value = "v" * min(16000, int(48 / (1.001 - numbers.random())))
            life = () if number % 50 == 0 else ("PX", numbers.randrange(*REDIS_LIFE))
            file.write(inputs.redis_command("SET", f"key:{number}", value, *life))
            if number % 10 == 0:
                file.write(inputs.redis_command("APPEND", f"key:{number - number % 100}", value[:500]))


def record_redis(library, output, scratch):
    """Filled through the socket, then left alone with a question now and then until what can expire has expired."""
    need("redis-server", "redis-cli")
    commands = scratch / "commands.redis"
    redis_commands(commands)
    client = ["redis-cli", "-s", "redis.sock"]
    server = trace(library, output, shutil.which("redis-server"), "--port", "0", "--unixsocket", scratch / "redis.sock",
                   "--dir", scratch, "--save", "", "--appendonly", "no", "--daemonize", "no", "--logfile", "redis.log",
                   process="redis-server")
    limit = time.monotonic() + REDIS_SECONDS
    while subprocess.run([*client, "PING"], cwd=scratch, capture_output=True, check=False).stdout != b"PONG\n":
        if server.poll() is not None or time.monotonic() > limit:
            raise SimulatorError("the redis server does not answer")
        time.sleep(0.05)
    with open(commands, "rb") as file:
        subprocess.run([*client, "--pipe"], cwd=scratch, stdin=file, stdout=subprocess.DEVNULL, check=True)
    end = time.monotonic() + REDIS_LIFE[1] / 1000 + 6
    while time.monotonic() < end:
        subprocess.run([*client, "GET", "key:50"], cwd=scratch, stdout=subprocess.DEVNULL, check=True)
        time.sleep(0.2)
    subprocess.run([*client, "SHUTDOWN", "NOSAVE"], cwd=scratch, capture_output=True, check=False)
    finish(server, "redis-server")


def record_compiler(library, output, scratch):
    """clang, which takes its memory from malloc; gcc has a garbage-collected heap of its own."""
    need("g++", "clang++")
    source = scratch / "classes.ii"
    inputs.write_cpp(source, 1.0)
    finish(trace(library, output, "clang++", "-std=c++17", "-O2", "-g", "-w", "-c", source.with_suffix(".cpp"), "-o",
                 scratch / "classes.o"),
           "clang++")


def record_tabs(library, output, _):
    need(PYTHON)
    finish(trace(library, output, PYTHON, "-S", SCRIPTS / "tabs.py", "40"), "tabs.py")


PROGRAMS = {"redis": record_redis, "compiler": record_compiler, "tabs": record_tabs}


def record(name, library, folder, scratch):
    """Returns the trace's path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.absolute() / f"{name}.trace.xz"
    PROGRAMS[name](library, path, scratch)
    return path
