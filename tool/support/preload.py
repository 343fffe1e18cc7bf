"""The environment in which a program runs on the library, and starting it there. Relies on glibc's LD_PRELOAD."""

import os
import signal
import subprocess
import sys

from support.refusal import Refused

PRELOAD = "LD_PRELOAD"
CONFIGURATION = "TIERMALLOC_CONF"

# As env, nohup and the shells have it.
EXIT_NOT_FOUND = 127
EXIT_CANNOT_RUN = 126
EXIT_SIGNAL = 128

# What ends a command from outside; Ctrl-C reaches the program by itself, since both are in the terminal's foreground.
PASSED_ON = (signal.SIGTERM, signal.SIGHUP)
LEFT_TO_PROGRAM = (signal.SIGINT, signal.SIGQUIT)


def check_entries(option, values):
    """The entries KEY:VALUE of an option, which may stand several to a value; the library knows which keys there are."""
    entries = [entry for value in values for entry in value.split(",")]
    for entry in entries:
        key, colon, value = entry.partition(":")
        if not (key and colon and value):
            raise Refused(f"{option}: {entry or 'empty'}: must be KEY:VALUE, several with commas between them")
    return entries


def settings(library, entries=(), environment=None):
    """The variables to set: the library in front of what is preloaded already, and our options behind those that are there,
    since the last one counts."""
    environment = os.environ if environment is None else environment
    preloaded = environment.get(PRELOAD)
    changed = {PRELOAD: f"{library}:{preloaded}" if preloaded else str(library)}
    value = ",".join(part for part in (environment.get(CONFIGURATION, ""), *entries) if part)
    if value:
        changed[CONFIGURATION] = value
    return changed


def become(program, environment):
    """Runs a program in place of this one; returns only if it can't, with the exit status."""
    try:
        os.execvpe(program[0], program, environment)
    except OSError as error:
        return cannot_run(program[0], error)


def cannot_run(name, error):
    print(f"tiermalloc: {name}: cannot be run: {error.strerror}", file=sys.stderr)
    return EXIT_NOT_FOUND if isinstance(error, FileNotFoundError) else EXIT_CANNOT_RUN


def run(program, environment, **streams):
    """Runs a program to its end and returns its status, as a shell would; it gets the signals that we get."""
    process = None
    early = []  # signals that came before the program could be sent any

    def pass_on(number, _):
        if process is None:
            early.append(number)
        else:
            process.send_signal(number)

    before = {number: signal.signal(number, pass_on) for number in PASSED_ON}
    # Ignored by us alone: what has a handler here is as usual in the program.
    before |= {number: signal.signal(number, lambda *_: None) for number in LEFT_TO_PROGRAM}
    try:
        process = subprocess.Popen(program, env=environment, **streams)
        for number in early:
            process.send_signal(number)
        status = process.wait()
    except OSError as error:
        return cannot_run(program[0], error)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return EXIT_SIGNAL - status if status < 0 else status
