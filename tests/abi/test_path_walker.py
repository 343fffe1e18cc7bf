"""The walker that judges the fast paths, on listings made by hand: it must count right, and see what is wrong."""

import unittest

import path_walker
from instructions_aarch64 import Aarch64Instruction
from instructions_x86_64 import X86Instruction


def listing(text, instruction_class=X86Instruction):
    return path_walker.parse(text, instruction_class)


def only(text, instruction_class):
    """The instruction of a listing of one."""
    return listing(f"0000000000001000 <f>:\n    1000:\t{text}\n", instruction_class)[0x1000]


GOOD = """
0000000000001000 <malloc>:
    1000:\tendbr64
    1004:\tlea    0x7(%rdi),%rax
    1008:\tcmp    $0x10007,%rax
    100e:\tja     1040 <malloc+0x40>
    1010:\tmov    0x2fe9(%rip),%rcx        # 4000 <table>
    1014:\tmov    %fs:0x0,%rdx
    101d:\tmovzbl (%rcx,%rax,1),%eax
    1021:\tmov    0x8(%rdx,%rax,8),%rcx
    1026:\tmov    -0x8(%rcx),%rax
    102a:\ttest   %rax,%rax
    102d:\tje     2000 <malloc_door>
    1033:\tsubq   $0x8,(%rdx)
    1037:\tret
    1040:\tmov    (%rdx),%rax
    1043:\tmov    %rax,%rcx
    1046:\tcmp    $0x100000,%rdi
    104d:\tjbe    1010 <malloc+0x10>
    104f:\tjmp    2000 <malloc_door>
0000000000002000 <malloc_door>:
    2000:\tpush   %rbx
    2001:\tret
"""


GOOD_AARCH64 = """
0000000000001000 <malloc>:
    1000:\tbti\tc
    1004:\tcmp\tx0, #0x10, lsl #12
    1008:\tb.hi\t1040 <malloc+0x40>  // b.pmore
    100c:\tadrp\tx1, 15000 <table>
    1010:\tldrb\tw1, [x1, x0]
    1014:\tldp\tx2, x3, [x4]
    1018:\tldur\tx0, [x3, #-8]
    101c:\tcbz\tx0, 1030 <malloc+0x30>
    1020:\tstr\tx3, [x1], #8
    1024:\tret
    1030:\tmov\tx0, x2
    1034:\tb\t2000 <door_malloc>
    1040:\tcmp\tx0, #0x100, lsl #12
    1044:\tb.hi\t1030 <malloc+0x30>  // b.pmore
    1048:\tb\t1010 <malloc+0x10>
"""


class Walk(unittest.TestCase):
    def test_small_and_medium_paths(self):
        fast, exits = path_walker.Walker(listing(GOOD)).paths(0x1000)
        self.assertEqual(len(fast), 2)
        self.assertEqual(exits, {"malloc_door"})
        small, medium = path_walker.split_by_size(fast)
        self.assertEqual((len(small), len(medium)), (1, 1))
        self.assertEqual(small[0].count(), {"instructions": 12, "loads": 6, "stores": 1, "branches": 2})
        self.assertEqual(medium[0].count(), {"instructions": 16, "loads": 7, "stores": 1, "branches": 3})

    def test_inverted_branches_give_the_same(self):
        """The same code, with the small path jumped to and the medium one falling through."""
        inverted = GOOD.replace("ja     1040 <malloc+0x40>", "jbe    1060 <malloc+0x60>")
        inverted = inverted.replace("    1010:\tmov", "    100f:\tjmp    1040 <malloc+0x40>\n    1010:\tmov")
        inverted = inverted.replace("0000000000002000 <malloc_door>:",
                                    "    1060:\tjmp    1010 <malloc+0x10>\n0000000000002000 <malloc_door>:")
        fast, exits = path_walker.Walker(listing(inverted)).paths(0x1000)
        small, medium = path_walker.split_by_size(fast)
        self.assertEqual(exits, {"malloc_door"})
        self.assertEqual(small[0].count(), {"instructions": 13, "loads": 6, "stores": 1, "branches": 2})
        self.assertEqual(medium[0].count(), {"instructions": 17, "loads": 7, "stores": 1, "branches": 3})

    def test_branch_to_a_piece_that_reaches_the_door_is_slow(self):
        code = GOOD.replace("je     2000 <malloc_door>", "je     1050 <malloc+0x50>")
        code = code.replace("0000000000002000", "    1050:\tmov    %rdi,%rsi\n    1053:\tjmp    2000 <malloc_door>\n0000000000002000")
        fast, exits = path_walker.Walker(listing(code)).paths(0x1000)
        self.assertEqual((len(fast), exits), (2, {"malloc_door"}))

    def test_other_exits_are_named(self):
        code = GOOD.replace("jmp    2000 <malloc_door>", "call   3000 <mmap@plt>")
        self.assertEqual(path_walker.Walker(listing(code)).paths(0x1000)[1], {"malloc_door", "mmap@plt"})
        code = GOOD.replace("jmp    2000 <malloc_door>", "jmp    *%rax")
        self.assertEqual(path_walker.Walker(listing(code)).paths(0x1000)[1], {"malloc_door", "jmp *%rax"})

    def test_aarch64(self):
        fast, exits = path_walker.Walker(listing(GOOD_AARCH64, Aarch64Instruction)).paths(0x1000)
        self.assertEqual((len(fast), exits), (2, {"door_malloc"}))
        small, medium = path_walker.split_by_size(fast)
        self.assertEqual(small[0].count(), {"instructions": 9, "loads": 3, "stores": 1, "branches": 2})
        self.assertEqual(medium[0].count(), {"instructions": 11, "loads": 3, "stores": 1, "branches": 3})

    def test_other_exits_of_aarch64_are_named(self):
        for code, name in (("bl\t3000 <mmap@plt>", "mmap@plt"), ("br\tx1", "br x1"), ("blr\tx1", "blr x1"),
                           ("b\t3000 <free@plt>", "free@plt")):
            code = GOOD_AARCH64.replace("b\t2000 <door_malloc>", code)
            self.assertEqual(path_walker.Walker(listing(code, Aarch64Instruction)).paths(0x1000)[1], {name})

    def test_loops_are_no_fast_paths(self):
        code = "0000000000001000 <f>:\n 1000:\tdec    %rax\n 1003:\tjne    1000 <f>\n 1005:\tret\n"
        fast, exits = path_walker.Walker(listing(code)).paths(0x1000)
        self.assertEqual((len(fast), exits), (1, {"a loop at 1000"}))


class Count(unittest.TestCase):
    def check(self, text, loads, stores, forbidden=None, instruction_class=X86Instruction):
        one = only(text, instruction_class)
        self.assertEqual((one.loads(), one.stores(), one.forbidden()), (bool(loads), bool(stores), forbidden), text)

    def check_aarch64(self, *arguments):
        self.check(*arguments, instruction_class=Aarch64Instruction)

    def test_loads_and_stores(self):
        self.check("mov    %rax,%rbx", 0, 0)
        self.check("mov    (%rax),%rbx", 1, 0)
        self.check("mov    %rbx,0x8(%rax,%rcx,8)", 0, 1)
        self.check("movq   $0x0,(%rax)", 0, 1)
        self.check("movzbl (%rax,%rdi,1),%eax", 1, 0)
        self.check("mov    %fs:0xfffffffffffffff8,%rax", 1, 0)
        self.check("mov    %fs:(%rax),%rax", 1, 0)
        self.check("mov    %rax,%fs:0x10", 0, 1)
        self.check("mov    0x2fd9(%rip),%rax        # 3ff0 <thread@@Base>", 1, 0)
        self.check("cmp    %rdx,0x10(%rcx)", 1, 0)
        self.check("cmpq   $0x0,(%rcx)", 1, 0)
        self.check("test   %rax,(%rcx)", 1, 0)
        self.check("add    0x8(%rcx),%rax", 1, 0)
        self.check("add    %rax,0x8(%rcx)", 1, 1)
        self.check("addq   $0x8,(%rcx)", 1, 1)
        self.check("decl   (%rcx)", 1, 1)
        self.check("lea    0x8(%rcx),%rax", 0, 0)
        self.check("prefetcht0 (%rcx)", 0, 0)
        self.check("nopw   0x0(%rax,%rax,1)", 0, 0)
        self.check("cmove  (%rcx),%rax", 1, 0)
        self.check("shr    $0xd,%rax", 0, 0)
        self.check("jmp    *0x2fd9(%rip)        # 3ff0 <x>", 1, 0)
        self.check("jmp    1000 <f>", 0, 0)

    def test_forbidden(self):
        self.check("push   %rbx", 0, 1, "stack")
        self.check("pop    %rbx", 1, 0, "stack")
        self.check("sub    $0x18,%rsp", 0, 0, "stack")
        self.check("mov    %rdi,0x8(%rsp)", 0, 1, "stack")
        self.check("xchg   %rax,(%rdi)", 1, 1, "atomic")
        self.check("xchg   %rax,%rdi", 0, 0)
        self.check("mfence", 0, 0, "atomic")
        self.assertEqual(only("lock cmpxchg %rdx,(%rdi)", X86Instruction).forbidden(), "atomic")

    def test_aarch64(self):
        self.check_aarch64("ldrb\tw1, [x0, x1]", 1, 0)
        self.check_aarch64("ldur\tx0, [x3, #-8]", 1, 0)
        self.check_aarch64("ldp\tx2, x1, [x3]", 1, 0)
        self.check_aarch64("str\tx0, [x2], #8", 0, 1)
        self.check_aarch64("stp\tx0, x1, [x2]", 0, 1)
        self.check_aarch64("mrs\tx4, tpidr_el0", 0, 0)
        self.check_aarch64("adrp\tx0, 2f000 <name>", 0, 0)
        self.check_aarch64("prfm\tpldl1keep, [x0]", 0, 0)
        self.check_aarch64("mov\tx5, #0xffffffff80000000    \t// #-2147483648", 0, 0)
        self.check_aarch64("stp\tx29, x30, [sp, #-16]!", 0, 1, "stack")
        self.check_aarch64("sub\tsp, sp, #0x10", 0, 0, "stack")
        self.check_aarch64("mov\tx29, sp", 0, 0, "stack")
        self.check_aarch64("ldaxr\tw0, [x1]", 1, 0, "atomic")
        self.check_aarch64("ldar\tx0, [x1]", 1, 0, "atomic")
        self.check_aarch64("stlr\tx0, [x1]", 0, 1, "atomic")
        self.check_aarch64("stxr\tw2, x0, [x1]", 0, 1, "atomic")
        self.check_aarch64("ldaddal\tx0, x1, [x2]", 1, 0, "atomic")
        self.check_aarch64("casal\tx0, x1, [x2]", 0, 0, "atomic")
        self.check_aarch64("dmb\tish", 0, 0, "atomic")

    def test_endbr64_is_not_counted(self):
        one = path_walker.Path(list(listing("0000000000001000 <f>:\n 1000:\tendbr64\n 1004:\tret\n").values()))
        self.assertEqual(one.count()["instructions"], 1)


if __name__ == "__main__":
    unittest.main()
