"""Follows the paths that a function can take through its x86-64 disassembly, and counts what is on them.

A path begins at the function's first instruction and ends at `ret`: a fast path. Where the code calls something, or jumps to
another function that is not merely a piece of the same code, the path is slow and ends there; the name of what it goes to is
kept, because the only way out of a fast path is to be the slow door. Which successor of a conditional branch is the fast one
therefore does not depend on how the compiler laid out the code: both are followed.

`endbr64` is not counted: it marks the place where an indirect call may arrive, and does nothing else.
"""

import re
import subprocess
from dataclasses import dataclass, field

# Register to register or immediate: not listed. These read their memory operand whether it comes first or last.
COMPARES = ("cmp", "test", "bt")
# These name memory without touching it.
NO_ACCESS = ("lea", "nop", "prefetch", "endbr")
# With memory as the last operand, these write without reading.
PLAIN_STORES = ("mov", "set", "movs", "movz")
ABOVE = {"ja", "jae", "jnb", "jnbe", "jnc", "jg", "jge"}
BELOW = {"jb", "jbe", "jna", "jnae", "jc", "jl", "jle"}


@dataclass
class Instruction:
    address: int
    mnemonic: str
    operands: str
    function: str

    @property
    def text(self):
        return f"{self.address:x}: {self.mnemonic} {self.operands}".rstrip()

    def is_conditional_branch(self):
        return re.fullmatch(r"j(?!mp)[a-z]+q?", self.mnemonic) is not None

    def target(self):
        """Address and symbol of a direct jump or call; (None, None) where it is indirect."""
        match = re.match(r"([0-9a-f]+)(?:\s+<([^>]+)>)?\s*$", self.operands)
        if not match:
            return None, None
        return int(match.group(1), 16), re.sub(r"[+-]0x[0-9a-f]+$", "", match.group(2) or "")


@dataclass
class Path:
    instructions: list = field(default_factory=list)
    branches: list = field(default_factory=list)  # (instruction, taken)

    def counted(self):
        return [one for one in self.instructions if one.mnemonic not in ("endbr64", "endbr32")]

    def count(self):
        """How many instructions, loads, stores and conditional branches."""
        counted = self.counted()
        return {
            "instructions": len(counted),
            "loads": sum(loads(one) for one in counted),
            "stores": sum(stores(one) for one in counted),
            "branches": sum(one.is_conditional_branch() for one in counted),
        }

    def text(self):
        return "\n".join("    " + one.text for one in self.instructions)


def split_operands(operands):
    """`%rax,8(%rbx,%rcx,8)` -> two operands: commas within brackets do not count."""
    operands = operands.split("#")[0].split("<")[0].strip()
    return re.split(r",(?![^(]*\))", operands) if operands else []


def is_memory(operand):
    return "(" in operand or operand.startswith(("%fs:", "%gs:")) or re.fullmatch(r"0x[0-9a-f]+", operand) is not None


def is_jump_or_call(instruction):
    return instruction.mnemonic.startswith(("j", "call", "bnd"))


def memory_place(instruction):
    """Where the memory operand stands: None, "source" or "destination" (the last one, in AT&T's order)."""
    if instruction.mnemonic.startswith(NO_ACCESS):
        return None
    operands = split_operands(instruction.operands)
    if is_jump_or_call(instruction):
        return "source" if instruction.operands.startswith("*") and is_memory(operands[0].lstrip("*")) else None
    if operands and is_memory(operands[-1]):
        return "destination"
    if any(is_memory(one) for one in operands):
        return "source"
    return None


def loads(instruction):
    place = memory_place(instruction)
    if instruction.mnemonic.startswith(("pop", "leave")):
        return True
    if place != "destination" or instruction.mnemonic.startswith(COMPARES):
        return place is not None
    return not instruction.mnemonic.startswith(PLAIN_STORES)


def stores(instruction):
    if instruction.mnemonic.startswith("push"):
        return True
    return memory_place(instruction) == "destination" and not instruction.mnemonic.startswith(COMPARES)


def forbidden(instruction):
    """What has no place on a fast path: atomics and the stack; None, or why."""
    operands = split_operands(instruction.operands)
    if instruction.mnemonic.startswith("lock"):
        return "atomic"
    if instruction.mnemonic.startswith("xchg") and any(is_memory(one) for one in operands):
        return "atomic"
    if instruction.mnemonic.endswith("fence"):
        return "atomic"
    if instruction.mnemonic.startswith(("push", "pop", "enter", "leave", "rep", "syscall")):
        return "stack"
    if operands and operands[-1] in ("%rsp", "%esp"):
        return "stack"
    if any("(%rsp" in one for one in operands) and instruction.mnemonic != "lea":
        return "stack"
    return None


def parse(listing):
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
        words = match.group(2).split(None, 1)
        # Prefixes are words of their own: `bnd jmp`, `lock xadd`, `notrack jmp`, `rep stos`.
        if words[0] in ("bnd", "notrack", "cs", "ds", "data16") and len(words) == 2:
            words = words[1].split(None, 1)
        if words[0] in ("lock", "rep", "repz", "repnz"):
            words = [words[0], words[1] if len(words) == 2 else ""]
        address = int(match.group(1), 16)
        code[address] = Instruction(address, words[0], words[1] if len(words) == 2 else "", function)
    return code


def disassemble(library, objdump="objdump"):
    command = [objdump, "-d", "-w", "--no-show-raw-insn", library]
    return parse(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


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
            mnemonic = instruction.mnemonic
            if mnemonic in ("ret", "retq"):
                self.fast.append(Path(instructions, list(path.branches)))
                return None
            if mnemonic.startswith(("call", "ud2", "hlt", "int3", "syscall")):
                return self.leave(instruction.target()[1] or mnemonic + " " + instruction.operands)
            if mnemonic in ("jmp", "jmpq"):
                target, name = instruction.target()
                if target is None:
                    return self.leave("jmp " + instruction.operands)
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
    if instruction.mnemonic in ABOVE:
        return taken
    if instruction.mnemonic in BELOW:
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
