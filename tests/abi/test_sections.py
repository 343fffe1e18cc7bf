"""The restartable sequences in the shared library, by the kernel's rules for them and our own.

Reads every descriptor, as the dynamic loader will have filled it in, and the code it names. Which registers the compiler has
chosen does not matter, nor how often it has copied a section. A library for another architecture than this machine's can be
read as well, with an objdump for it: OBJDUMP in the environment, or the usual name.
"""

import os
import re
import shutil
import struct
import subprocess
import unittest

SHARED = os.environ["TIERMALLOC_SHARED"]

DESCRIPTOR = struct.Struct("<IIQQQ")  # version, flags, start_ip, post_commit_offset, abort_ip
KINDS = 5  # pop, push, their batches, and setting a limit

# Per architecture: what stands right before an abort handler, and the code in AT&T's and Arm's words.
ARCHITECTURES = {
    "Advanced Micro Devices X86-64": {
        "objdump": "objdump",
        "signature": bytes.fromhex("53300553"),
        "before abort": bytes.fromhex("0fb93d53300553"),  # ud1 (%rip), of which the signature is the distance
        "point at descriptor": r"lea\s+0x[0-9a-f]+\(%rip\),%(?P<register>\w+)\s.*#\s+(?P<address>[0-9a-f]+)\b",
        "arm": r"mov\s+%(?P<register>\w+),0x8\(%(?P<area>\w+)\)$",
        "load number": r"mov\s+\(%(?P<area>\w+),%\w+,1\),%(e\w+|r\d+d)$",
        "store": r"(?:mov\w*|add\w*|sub\w*|inc\w*|dec\w*)\s+(?:.*,)?(?P<place>-?(?:0x[0-9a-f]+)?\(%[^)]*\))$",
        "jump": r"j\w+\s+(?P<target>[0-9a-f]+)\b",
        "abort": r"jmp\s+(?P<target>[0-9a-f]+)\b",
        "forbidden": r"call|ret|syscall|sysenter|int|lock|xchg|cpuid|push|pop|ud|hlt",
    },
    "AArch64": {
        "objdump": "aarch64-linux-gnu-objdump",
        "signature": bytes.fromhex("00bc28d4"),
        "before abort": bytes.fromhex("00bc28d4"),
        "point at descriptor": r"add\s+(?P<register>x\d+), x\d+, #(?P<low>0x[0-9a-f]+)",
        "arm": r"str\s+(?P<register>x\d+), \[(?P<area>x\d+), #8\]$",
        "load number": r"ldr\s+w\d+, \[(?P<area>x\d+), x\d+\]$",
        "store": r"st\w+\s+(?:[wx]\d+, )+(?P<place>\[x\d+.*)$",
        "jump": r"(?:b|b\.\w+|cbz\s+\w+,|cbnz\s+\w+,|tbn?z\s+\w+, #\d+,)\s+(?P<target>[0-9a-f]+)\b",
        "abort": r"b\s+(?P<target>[0-9a-f]+)\b",
        "forbidden": r"bl|blr|ret|svc|hvc|ld\w*x|st\w*xr|cas|swp|ldadd|udf|brk|br\b",
    },
}


def output_of(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


class Library:
    def __init__(self, path):
        self.path = path
        with open(path, "rb") as file:
            self.bytes = file.read()
        self.machine = re.search(r"Machine:\s+(.*\S)", output_of("readelf", "-hW", path)).group(1)
        self.rules = ARCHITECTURES.get(self.machine)
        self.sections = {}  # name: (address, offset, size)
        for line in output_of("readelf", "-SW", path).splitlines():
            match = re.match(r"\s*\[\s*\d+\]\s+(\S+)\s+\w+\s+([0-9a-f]+)\s+([0-9a-f]+)\s+([0-9a-f]+)", line)
            if match:
                self.sections[match.group(1)] = tuple(int(one, 16) for one in match.groups()[1:])
        self.relocations = {}  # address: what it will hold, from the library's beginning
        for line in output_of("readelf", "-rW", path).splitlines():
            match = re.match(r"([0-9a-f]+)\s+[0-9a-f]+\s+R_\w+_RELATIVE\s+([0-9a-f]+)", line)
            if match:
                self.relocations[int(match.group(1), 16)] = int(match.group(2), 16)

    def objdump(self):
        return os.environ.get("OBJDUMP") or self.rules["objdump"]

    def read(self, address, count):
        for start, offset, size in self.sections.values():
            if start != 0 and start <= address and address + count <= start + size:
                return self.bytes[offset + address - start:][:count]
        raise AssertionError(f"{address:x} is in no section of {self.path}")

    def code(self):
        """{address: text of the instruction}"""
        code = {}
        for line in output_of(self.objdump(), "-d", "-w", "--no-show-raw-insn", self.path).splitlines():
            match = re.match(r"\s*([0-9a-f]+):\s+(.*\S)", line)
            if match:
                # Some registers are only to be had with a distance.
                code[int(match.group(1), 16)] = re.sub(r"\b0x0\(", "(", match.group(2))
        return code

    def descriptors(self):
        """{address: (version, flags, start, length, abort)}: what the loader relocates in the second and the last word only."""
        found = {}
        start, _, size = self.sections[".data.rel.ro"]
        for address in range((start + 31) // 32 * 32, start + size - DESCRIPTOR.size + 1, 8):
            relocated = [address + at in self.relocations for at in (0, 8, 16, 24)]
            version, flags, _, length, _ = DESCRIPTOR.unpack(self.read(address, DESCRIPTOR.size))
            if relocated == [False, True, False, True] and 0 < length < 1000:
                found[address] = (version, flags, self.relocations[address + 8], length, self.relocations[address + 24])
        return found


LIBRARY = Library(SHARED)


def reason_to_skip():
    if LIBRARY.rules is None:
        return f"no rules are written down for {LIBRARY.machine}"
    if not shutil.which(LIBRARY.objdump()):
        return f"{LIBRARY.objdump()} is not there"
    return ""


REASON = reason_to_skip()


@unittest.skipIf(REASON, REASON)
class Sections(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.rules = LIBRARY.rules
        cls.code = LIBRARY.code()
        cls.order = sorted(cls.code)
        cls.descriptors = LIBRARY.descriptors()

    def each(self):
        """Address of the descriptor, of the code, of its end, and the code's [(address, text)]."""
        for address, (_, _, start, length, _) in self.descriptors.items():
            inside = [(at, self.code[at]) for at in self.order if start <= at < start + length]
            yield address, start, start + length, inside

    def match(self, rule, text):
        match = re.match(self.rules[rule], text)
        self.assertIsNotNone(match, f"not what is wanted to {rule}: {text}")
        return match

    def matches(self, rule, text):
        return re.match(self.rules[rule], text)

    def test_all_are_found(self):
        """There is a descriptor for each signature before an abort handler, and the other way round."""
        start, offset, size = LIBRARY.sections[".text"]
        signatures = LIBRARY.bytes[offset:offset + size].count(self.rules["before abort"])
        print(f"{len(self.descriptors)} sections, {signatures} abort handlers")
        self.assertEqual(len(self.descriptors), signatures)
        self.assertGreaterEqual(len(self.descriptors), KINDS)

    def test_descriptors(self):
        for address, (version, flags, start, length, abort) in self.descriptors.items():
            with self.subTest(descriptor=f"{address:x}"):
                self.assertEqual(address % 32, 0, "not aligned")
                self.assertEqual((version, flags), (0, 0))
                self.assertIn(start, self.code)
                self.assertIn(start + length, self.code, "the end is not between two instructions")
                self.assertFalse(start <= abort < start + length, "the abort handler lies inside")
                self.assertEqual(LIBRARY.read(abort - 4, 4), self.rules["signature"])

    def test_number_is_loaded_first(self):
        for _, start, _, inside in self.each():
            area = self.match("load number", inside[0][1]).group("area")
            arm = self.match("arm", self.code[self.order[self.order.index(start) - 1]])
            self.assertEqual(arm.group("area"), area, f"armed in another area than the number's at {start:x}")

    def test_arming(self):
        """The abort handler goes back to where this descriptor's address is taken, right before it is stored and the code begins."""
        for address, start, _, _ in self.each():
            position = self.order.index(start)
            arm = self.match("arm", self.code[self.order[position - 1]])
            point = self.match("point at descriptor", self.code[self.order[position - 2]])
            self.assertEqual(point.group("register"), arm.group("register"))
            abort = self.descriptors[address][4]
            again = int(self.match("abort", self.instruction_at(abort)).group("target"), 16)
            if "address" in point.groupdict():
                self.assertEqual(int(point.group("address"), 16), address)
                self.assertEqual(again, self.order[position - 2])
            else:
                page = re.match(r"adrp\s+x\d+, ([0-9a-f]+)", self.code[self.order[position - 3]])
                self.assertEqual(int(page.group(1), 16) + int(point.group("low"), 16), address)
                self.assertEqual(again, self.order[position - 3])

    def instruction_at(self, address):
        """objdump takes the signature before an abort handler for code, and may go on in the middle of an instruction."""
        if address in self.code:
            return self.code[address]
        stop = f"--stop-address={address + 8}"
        listing = output_of(LIBRARY.objdump(), "-d", "-w", "--no-show-raw-insn", f"--start-address={address}", stop, SHARED)
        return re.search(rf"^\s*{address:x}:\s+(.*\S)", listing, re.MULTILINE).group(1)

    def test_commit_is_the_last_instruction_and_the_only_one(self):
        for _, _, end, inside in self.each():
            listing = "\n".join(f"{at:x}: {text}" for at, text in inside)
            last = self.matches("store", inside[-1][1])
            self.assertIsNotNone(last, "the last instruction stores nothing:\n" + listing)
            places = [match.group("place") for _, text in inside if (match := self.matches("store", text))]
            self.assertEqual(places.count(last.group("place")), 1, "stored there before:\n" + listing)
            # What lies above a top, or in the caller's array.
            self.assertLessEqual(len(places), 2, listing)
            self.assertEqual(self.order[self.order.index(inside[-1][0]) + 1], end)

    def test_nothing_forbidden_is_inside(self):
        for _, _, _, inside in self.each():
            for at, text in inside:
                self.assertIsNone(self.matches("forbidden", text), f"{at:x}: {text}")

    def test_nobody_jumps_into_the_middle(self):
        jumps = [(at, int(match.group("target"), 16)) for at, text in self.code.items() if (match := self.matches("jump", text))]
        for _, start, end, _ in self.each():
            for at, target in jumps:
                self.assertFalse(start < target < end and not start <= at < end, f"{at:x} jumps to {target:x}")


if __name__ == "__main__":
    unittest.main()
