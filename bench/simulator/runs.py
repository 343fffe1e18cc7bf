"""Running the simulator's programs: generating traces, unpacking recorded ones, simulating.

Relies on `simulate` and `generate` as bench/simulator/meson.build builds them.
"""

import gzip
import json
import lzma
import pathlib
import shutil
import subprocess

SERIES = ("event", "milliseconds", "used", "resident", "occupied", "intact", "given_back", "mappings")

PACKED = {".gz": gzip.open, ".xz": lzma.open}


class SimulatorError(Exception):
    """What was asked for is not there, or a program has refused it."""


class Programs:
    def __init__(self, folder):
        self.folder = folder
        if not (folder / "simulate").exists() or not (folder / "generate").exists():
            raise SimulatorError(f"no simulator in {folder}; `meson compile -C build simulator` builds it")

    def output(self, program, *arguments):
        result = subprocess.run([self.folder / program, *map(str, arguments)], capture_output=True, text=True, check=False)
        if result.returncode != 0:
            raise SimulatorError(result.stderr.strip() or f"{program} ended with status {result.returncode}")
        return result.stdout

    def listing(self):
        return self.output("generate", "--list")

    def workloads(self):
        return [line.split()[0] for line in self.listing().splitlines()]

    def simulate(self, trace, heap, options, count):
        """All runs are alike but for the page heap's own times: of these the least are those least disturbed."""
        results = [json.loads(self.output("simulate", "--heap", heap, *options, trace))
                   for _ in range(count)]
        own = [result["own_ns"] for result in results]
        least = {operation: {value: min(one[operation][value] for one in own) for value in own[0][operation]}
                 for operation in own[0]}
        return {**results[0], "own_ns": least}


class Traces:
    """Traces as plain files, made on demand in one folder."""

    def __init__(self, programs, folder, seed, scale):
        self.programs, self.folder, self.seed, self.scale = programs, folder, seed, scale
        self.names = programs.workloads()

    def find(self, name):
        if name in self.names:
            return self.generated(name)
        path = pathlib.Path(name)
        if not path.is_file():
            raise SimulatorError(f"{name}: neither a file nor a workload; there are {', '.join(self.names)}")
        return self.unpacked(path) if path.suffix in PACKED else path

    def generated(self, name):
        path = self.folder / f"{name}-{self.seed}-{self.scale:g}.trace"
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            self.programs.output("generate", "--seed", self.seed, "--scale", self.scale, name, path)
        return path

    def unpacked(self, path):
        target = self.folder / path.stem
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            with PACKED[path.suffix](path) as packed, open(target, "wb") as plain:
                shutil.copyfileobj(packed, plain)
        except (OSError, EOFError, lzma.LZMAError) as error:
            raise SimulatorError(f"{path}: cannot be unpacked: {error}") from error
        return target
