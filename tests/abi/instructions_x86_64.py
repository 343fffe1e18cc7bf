"""What an instruction of x86-64 does, from its line in objdump's listing (AT&T's order: the destination comes last)."""

import re

from path_walker import Instruction

# Register to register or immediate: not listed. These read their memory operand whether it comes first or last.
COMPARES = ("cmp", "test", "bt")
# These name memory without touching it.
NO_ACCESS = ("lea", "nop", "prefetch", "endbr")
# With memory as the last operand, these write without reading.
PLAIN_STORES = ("mov", "set", "movs", "movz")
ABOVE = {"ja", "jae", "jnb", "jnbe", "jnc", "jg", "jge"}
BELOW = {"jb", "jbe", "jna", "jnae", "jc", "jl", "jle"}
# Prefixes are words of their own: `bnd jmp`, `lock xadd`, `notrack jmp`, `rep stos`.
EMPTY_PREFIXES = ("bnd", "notrack", "cs", "ds", "data16")
PREFIXES = ("lock", "rep", "repz", "repnz")


def split_operands(operands):
    """`%rax,8(%rbx,%rcx,8)` -> two operands: commas within brackets do not count."""
    operands = operands.split("#")[0].split("<")[0].strip()
    return re.split(r",(?![^(]*\))", operands) if operands else []


def is_memory(operand):
    return "(" in operand or operand.startswith(("%fs:", "%gs:")) or re.fullmatch(r"0x[0-9a-f]+", operand) is not None


class X86Instruction(Instruction):
    @staticmethod
    def split(text):
        """Mnemonic and operands."""
        words = text.split(None, 1)
        if words[0] in EMPTY_PREFIXES and len(words) == 2:
            words = words[1].split(None, 1)
        if words[0] in PREFIXES:
            return words[0], words[1] if len(words) == 2 else ""
        return words[0], words[1] if len(words) == 2 else ""

    def is_landing_mark(self):
        return self.mnemonic in ("endbr64", "endbr32")

    def is_return(self):
        return self.mnemonic in ("ret", "retq")

    def is_call(self):
        return self.mnemonic.startswith(("call", "ud2", "hlt", "int3", "syscall"))

    def is_jump(self):
        return self.mnemonic in ("jmp", "jmpq")

    def is_conditional_branch(self):
        return re.fullmatch(r"j(?!mp)[a-z]+q?", self.mnemonic) is not None

    def target_operand(self):
        return self.operands

    def is_above(self):
        return self.mnemonic in ABOVE

    def is_below(self):
        return self.mnemonic in BELOW

    def memory_place(self):
        """Where the memory operand stands: None, "source" or "destination"."""
        if self.mnemonic.startswith(NO_ACCESS):
            return None
        operands = split_operands(self.operands)
        if self.mnemonic.startswith(("j", "call", "bnd")):
            return "source" if self.operands.startswith("*") and is_memory(operands[0].lstrip("*")) else None
        if operands and is_memory(operands[-1]):
            return "destination"
        if any(is_memory(one) for one in operands):
            return "source"
        return None

    def loads(self):
        place = self.memory_place()
        if self.mnemonic.startswith(("pop", "leave")):
            return True
        if place != "destination" or self.mnemonic.startswith(COMPARES):
            return place is not None
        return not self.mnemonic.startswith(PLAIN_STORES)

    def stores(self):
        if self.mnemonic.startswith("push"):
            return True
        return self.memory_place() == "destination" and not self.mnemonic.startswith(COMPARES)

    def forbidden(self):
        operands = split_operands(self.operands)
        if self.mnemonic.startswith("lock"):
            return "atomic"
        if self.mnemonic.startswith("xchg") and any(is_memory(one) for one in operands):
            return "atomic"
        if self.mnemonic.endswith("fence"):
            return "atomic"
        if self.mnemonic.startswith(("push", "pop", "enter", "leave", "rep", "syscall")):
            return "stack"
        if operands and operands[-1] in ("%rsp", "%esp"):
            return "stack"
        if any("(%rsp" in one for one in operands) and self.mnemonic != "lea":
            return "stack"
        return None
