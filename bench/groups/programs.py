"""Real programs from the distribution, with inputs that inputs.py makes or that lie in bench/programs: time and memory.

Each program's output must be the same under every allocator. Processor time is what is judged, user and system, of all
of the program's threads: what else runs on the machine disturbs it less than the time on the clock. Relies on
scripts/install-dependencies for the programs; one that is not there is skipped.
"""

import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import time
from collections.abc import Callable

from groups import inputs
from harness.allocators import BenchmarkError, Skipped
from harness.rows import Metric, Row

MIB = 1024 * 1024

SCRIPTS = pathlib.Path(__file__).resolve().parents[1] / "programs"

# The quick run's inputs in parts of the full run's.
QUICK_SCALE = 0.2

# Most of what this one does is to read the standard headers, however short our part is.
NOT_QUICK = ("cc1plus",)

# The distribution's own: the first one in the path may be of another kind of installation.
PYTHON = "/usr/bin/python3"

CPU = Metric("cpu_s", "s", "time")
WALL = Metric("wall_s", "s", "info", main=False)
PEAK = Metric("peak_rss", "MiB", "memory")

XPATH = ('concat(count(//item[price > 500]/tag), " ", sum(//price[@currency = "EUR"]), " ", '
         'count(//item[contains(text, "tos") and tag = "alma"]/name), " ", '
         'count(//item[not(@kind = preceding-sibling::item[1]/@kind)]))')

JQ = ('select(.price > 300) | {id, owner: .owner.name, tags: (.tags | sort | unique), '
      'note: (.note | split(" ") | map(ascii_upcase) | join("-"))}')

# What is asked of the redis server once all is loaded. No hash or set is listed: their order is the server's secret.
REDIS_QUESTIONS = """DBSIZE
GET string:55
LRANGE list:7 0 -1
HLEN hash:7
SCARD set:7
ZRANGE sorted:7 0 -1 WITHSCORES
"""

# A server that has not answered by then has failed.
REDIS_SECONDS = 60


@dataclasses.dataclass(frozen=True)
class Program:
    """`command` gives the arguments behind the program, from the session and the scale. A `result` is a file that the
    program writes; without one its standard output is compared."""

    package: str
    find: Callable[[], str | None]
    command: Callable[[object, float], list]
    stdin: Callable[[object, float], object] | None = None
    result: str | None = None
    environment: dict[str, str] = dataclasses.field(default_factory=dict)


def find_in_path(name):
    return functools.partial(shutil.which, name)


def find_compiler(driver, name):
    """The compiler proper, which the driver knows; its own memory is not what is measured."""
    def find():
        if shutil.which(driver) is None:
            return None
        asked = subprocess.run([driver, f"-print-prog-name={name}"], capture_output=True, text=True, check=False)
        return shutil.which(asked.stdout.strip())
    return find


def scale_of(session):
    return QUICK_SCALE if session.quick else 1.0


def check_output(session, name, output, allocator):
    """The first allocator's output is everyone's."""
    digest = hashlib.sha256(output).hexdigest()
    expected, whose = session.memo.setdefault(("output", name), (digest, allocator.name))
    if digest != expected:
        raise BenchmarkError(f"{allocator.name}: {name}: the output is not the same as under {whose}")


def measure(session, allocator, name, program):
    executable = program.find()
    if executable is None:
        raise Skipped(f"{name} needs a program that is not installed: apt-get install {program.package}")
    scale = scale_of(session)
    arguments = [executable, *program.command(session, scale)]
    stdin = program.stdin(session, scale) if program.stdin else None
    run = session.run(allocator, arguments, stdin=stdin, environment=program.environment)
    output = (session.scratch / program.result).read_bytes() if program.result else run.output
    check_output(session, name, output, allocator)
    return numbers_of(run)


def numbers_of(run):
    return {"cpu_s": (run.values["user_ns"] + run.values["system_ns"]) / 1e9, "wall_s": run.values["wall_ns"] / 1e9,
            "peak_rss": run.values["peak_rss_bytes"] / MIB}


def made(name, make):
    """An input file that `make` writes, as a function of session and scale."""
    return lambda session, scale: session.input(name, lambda path: make(path, scale))


def script(name, count, *options):
    """A command that runs one of our scripts on so many records."""
    return lambda _, scale: [*options, SCRIPTS / name, int(count * scale)]


def python(name, count, allocator):
    """PYTHONMALLOC empty is as if it were not set: Python then has small objects from an allocator of its own, which
    takes whole arenas. Hashes of strings must not differ from run to run."""
    return Program("python3", lambda: PYTHON if os.path.exists(PYTHON) else shutil.which("python3"),
                   script(name, count, "-S"), environment={"PYTHONMALLOC": allocator, "PYTHONHASHSEED": "0"})


def compiler(package, driver, name, source, make, options):
    source_of = made(source, make)
    return Program(package, find_compiler(driver, name),
                   lambda session, scale: ["-quiet", *options, "-frandom-seed=1", source_of(session, scale), "-o",
                                           session.scratch / f"{source}.s"], result=f"{source}.s")


def xmllint(session, scale):
    return ["--xpath", XPATH, made("catalogue.xml", inputs.write_xml)(session, scale)]


def jq(session, scale):
    return ["--compact-output", JQ, made("records.json", inputs.write_json)(session, scale)]


PROGRAMS = {
    "python-objects": python("objects.py", 7000, ""),
    "python-objects-malloc": python("objects.py", 7000, "malloc"),
    "python-strings": python("strings.py", 6000, ""),
    "python-strings-malloc": python("strings.py", 6000, "malloc"),
    "cc1": compiler("gcc", "gcc", "cc1", "functions.i", inputs.write_c, ["-fpreprocessed", "-O2"]),
    "cc1plus": compiler("g++", "g++", "cc1plus", "classes.ii", inputs.write_cpp,
                        ["-fpreprocessed", "-O1", "-std=c++17"]),
    "sqlite3": Program("sqlite3", find_in_path("sqlite3"), lambda *_: ["-batch", ":memory:"],
                       stdin=made("tables.sql", inputs.write_sql)),
    "lua": Program("lua5.4", find_in_path("lua5.4"), script("tables.lua", 50_000)),
    "z3": Program("z3", find_in_path("z3"), lambda *arguments: [made("schedules.smt2", inputs.write_smt)(*arguments)]),
    "perl": Program("perl", find_in_path("perl"), script("hashes.pl", 14_000), environment={"PERL_HASH_SEED": "0"}),
    "xmllint": Program("libxml2-utils", find_in_path("xmllint"), xmllint),
    "jq": Program("jq", find_in_path("jq"), jq),
}


# redis: the server is measured, the client that loads it runs on the C library's malloc.

def find_redis(session):
    """The server; redis-tools alone has the same executable under the checker's name, and it looks at its name."""
    executable = shutil.which("redis-server") or shutil.which("redis-check-rdb")
    if executable is None or shutil.which("redis-cli") is None:
        raise Skipped("redis needs a program that is not installed: apt-get install redis-tools")
    server = session.scratch / "redis-server"
    if not server.exists():
        server.symlink_to(executable)
    return server


class Client:
    """redis-cli in the session's folder, so that the socket's name is short whatever the folder's."""

    def __init__(self, session):
        self.folder = session.scratch
        self.environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}

    def run(self, *arguments, **source):
        """Its standard output; `source` is stdin or input."""
        try:
            return subprocess.run(["redis-cli", "-s", "redis.sock", *arguments], cwd=self.folder, env=self.environment,
                                  capture_output=True, check=False, timeout=REDIS_SECONDS, **source).stdout
        except subprocess.TimeoutExpired as error:
            raise BenchmarkError(f"redis-cli {arguments}: no answer within {REDIS_SECONDS} s") from error

    def wait_for_server(self, process):
        limit = time.monotonic() + REDIS_SECONDS
        while self.run("PING", stdin=subprocess.DEVNULL) != b"PONG\n":
            if process.popen.poll() is not None or time.monotonic() > limit:
                raise BenchmarkError(f"{process.allocator.name}: the redis server does not answer")
            time.sleep(0.01)

    def load(self, path):
        """Sends all commands and returns the seconds until the last answer."""
        start = time.monotonic()
        with open(path, "rb") as commands:
            output = self.run("--pipe", stdin=commands)
        if b"errors: 0," not in output:
            raise BenchmarkError(f"redis-cli: {output.decode(errors='replace')}")
        return time.monotonic() - start


def measure_redis(session, allocator):
    executable = find_redis(session)
    commands = made("commands.redis", inputs.write_redis_commands)(session, scale_of(session))
    client = Client(session)
    server = [executable, "--port", "0", "--unixsocket", "redis.sock", "--dir", session.scratch, "--save", "",
              "--appendonly", "no", "--daemonize", "no", "--logfile", "redis.log"]
    with session.start(allocator, server) as process:
        client.wait_for_server(process)
        seconds = client.load(commands)
        answers = client.run(input=REDIS_QUESTIONS.encode())
        client.run("SHUTDOWN", "NOSAVE", stdin=subprocess.DEVNULL)
        run = process.wait()
    check_output(session, "redis", answers, allocator)
    return numbers_of(run) | {"load_s": seconds}


def rows():
    redis = Row("programs", "redis", (CPU, Metric("load_s", "s", "info", main=False), PEAK), measure_redis)
    return [redis] + [Row("programs", name, (CPU, WALL, PEAK), functools.partial(measure, name=name, program=program),
                      quick=name not in NOT_QUICK)
                      for name, program in PROGRAMS.items()]
