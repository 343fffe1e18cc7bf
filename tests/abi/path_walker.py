"""Follows the paths that a function can take through its disassembly, and counts what is on them.

A path begins at the function's first instruction and ends at `ret`: a fast path. Where the code calls something, or jumps to
another function that is not merely a piece of the same code, the path is slow and ends there; the name of what it goes to is
kept, because the only way out of a fast path is to be the slow door. Which successor of a conditional branch is the fast one
therefore does not depend on how the compiler laid out the code: both are followed.

What marks the place where an indirect call may arrive (`endbr64`, `bti`), and does nothing else, is not counted.

What an instruction does is said by a subclass of Instruction for each kind of processor: instructions_*.py.
"""

import re
import subprocess
from dataclasses import dataclass, field


@dataclass
class Instruction:
    """A line of the listing. A processor's subclass has these methods:

    split(text)                 mnemonic and operands, from the text behind the address
    is_landing_mark()           does nothing but mark where an indirect call may arrive
    is_return()
    is_call()                   a call, or what traps or enters the system
    is_jump()                   without a condition
    is_conditional_branch()
    target_operand()            the text that says where a jump or call goes to
    is_above(), is_below()      it branches if the first of two values that were compared is the larger, or the smaller one
    loads(), stores()
    forbidden()                 what has no place on a fast path: "atomic", "stack"; None if it may stand there
    """

    address: int
    mnemonic: str
    operands: str
    function: str

    @property
    def text(self):
        return f"{self.address:x}: {self.mnemonic} {self.operands}".rstrip()

    def target(self):
        """Address and symbol of a direct jump or call; (None, None) where it is indirect."""
        match = re.match(r"([0-9a-f]+)(?:\s+<([^>]+)>)?\s*$", self.target_operand())
        if not match:
            return None, None
        return int(match.group(1), 16), re.sub(r"[+-]0x[0-9a-f]+$", "", match.group(2) or "")


@dataclass
class Path:
    instructions: list = field(default_factory=list)
    branches: list = field(default_factory=list)  # (instruction, taken)

    def counted(self):
        return [one for one in self.instructions if not one.is_landing_mark()]

    def count(self):
        """How many instructions, loads, stores and conditional branches."""
        counted = self.counted()
        return {
            "instructions": len(counted),
            "loads": sum(one.loads() for one in counted),
            "stores": sum(one.stores() for one in counted),
            "branches": sum(one.is_conditional_branch() for one in counted),
        }

    def text(self):
        return "\n".join("    " + one.text for one in self.instructions)


def parse(listing, instruction_class):
    """objdump's listing -> {address: instruction}."""
    code, function = {}, ""
    for line in listing.splitlines():
        heading = re.match(r"[0-9a-f]+ <(.+)>:$", line)
        if heading:
            function = heading.group(1)
            continue
        match = re.match(r"\s*([0-9a-f]+):\s+(.*\S)", line)
        if not match:
            continue
        address = int(match.group(1), 16)
        code[address] = instruction_class(address, *instruction_class.split(match.group(2)), function)
    return code


def disassemble(library, instruction_class, objdump="objdump"):
    command = [objdump, "-d", "-w", "--no-show-raw-insn", library]
    return parse(subprocess.run(command, check=True, capture_output=True, text=True).stdout, instruction_class)


class Walker:
    """Finds all fast paths from an address, and all exits of the slow ones."""

    LONGEST = 400

    def __init__(self, code):
        self.code = code
        order = sorted(code)
        self.next_address = dict(zip(order, order[1:]))

    def paths(self, start):
        """(list of fast paths, set of names that slow paths go to)"""
        self.fast, self.exits = [], set()
        self.follow(start, Path(), frozenset())
        return self.fast, self.exits

    def leave(self, name):
        self.exits.add(name or "an address without a name")

    def follow(self, address, path, seen):
        """Walks on from an address until the path forks or ends."""
        instructions, seen = list(path.instructions), set(seen)
        while True:
            instruction = self.code.get(address)
            if instruction is None or len(instructions) > self.LONGEST:
                return self.leave(f"{address:x}, which is no code")
            if address in seen:
                return self.leave(f"a loop at {address:x}")
            seen.add(address)
            instructions.append(instruction)
            if instruction.is_return():
                self.fast.append(Path(instructions, list(path.branches)))
                return None
            if instruction.is_call():
                return self.leave(instruction.target()[1] or f"{instruction.mnemonic} {instruction.operands}")
            if instruction.is_jump():
                target, name = instruction.target()
                if target is None:
                    return self.leave(f"{instruction.mnemonic} {instruction.operands}")
                if "door" in name or name.endswith("@plt"):
                    return self.leave(name)
                address = target
                continue
            if instruction.is_conditional_branch():
                return self.fork(instruction, Path(instructions, path.branches), seen)
            address = self.next_address.get(address)

    def fork(self, instruction, path, seen):
        target, name = instruction.target()
        if "door" in name or name.endswith("@plt"):
            self.leave(name)
        else:
            self.follow(target, Path(path.instructions, path.branches + [(instruction, True)]), seen)
        self.follow(self.next_address[instruction.address], Path(path.instructions, path.branches + [(instruction, False)]),
                    seen)


def is_above(branch):
    """Whether a (branch, taken) goes the way of the larger value; None where the branch does not tell larger from smaller."""
    instruction, taken = branch
    if instruction.is_above():
        return taken
    if instruction.is_below():
        return not taken
    return None


def split_by_size(fast_paths):
    """(paths of small requests, paths of medium ones): they part at the first branch by size of which both sides are fast."""
    for one in fast_paths:
        for position, branch in enumerate(one.branches):
            before = one.branches[:position]
            other_side = [two for two in fast_paths if two.branches[:position] == before
                          and len(two.branches) > position and two.branches[position] == (branch[0], not branch[1])]
            if other_side and is_above(branch) is not None:
                same_side = [two for two in fast_paths if two not in other_side]
                return (other_side, same_side) if is_above(branch) else (same_side, other_side)
    return fast_paths, []
