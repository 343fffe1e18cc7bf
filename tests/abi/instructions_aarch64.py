"""What an instruction of aarch64 does, from its line in objdump's listing.

A pair that is loaded or stored by one instruction (ldp, stp) counts as one load or store.
"""

import re

from path_walker import Instruction

ABOVE = {"b.hi", "b.cs", "b.hs", "b.gt", "b.ge"}
BELOW = {"b.ls", "b.cc", "b.lo", "b.lt", "b.le"}
# Exclusive, acquiring, releasing, and those that read and write at once.
ATOMIC = re.compile(r"ld(a?x|ar|apr|lar|add|clr|eor|set|[su]max|[su]min)|st(l?x|lr|llr|add|clr|eor|set|[su]max|[su]min)"
                    r"|cas|swp|dmb|dsb|isb")


class Aarch64Instruction(Instruction):
    @staticmethod
    def split(text):
        """Mnemonic and operands; objdump's remark on the condition is dropped."""
        words = text.split("//")[0].split(None, 1)
        return words[0], words[1].strip() if len(words) == 2 else ""

    def is_landing_mark(self):
        return self.mnemonic == "bti"

    def is_return(self):
        return self.mnemonic == "ret"

    def is_call(self):
        return self.mnemonic in ("bl", "blr", "svc", "brk", "hlt", "udf")

    def is_jump(self):
        return self.mnemonic in ("b", "br")

    def is_conditional_branch(self):
        return self.mnemonic.startswith("b.") or self.mnemonic in ("cbz", "cbnz", "tbz", "tbnz")

    def target_operand(self):
        """The last one: `x0, 1000 <name>`, `x0, #3, 1000 <name>`, `1000 <name>`."""
        return self.operands.split(", ")[-1]

    def is_above(self):
        return self.mnemonic in ABOVE

    def is_below(self):
        return self.mnemonic in BELOW

    def loads(self):
        return self.mnemonic.startswith("ld")

    def stores(self):
        return self.mnemonic.startswith("st")

    def forbidden(self):
        if ATOMIC.match(self.mnemonic):
            return "atomic"
        if re.search(r"\bw?sp\b", self.operands):
            return "stack"
        return None
