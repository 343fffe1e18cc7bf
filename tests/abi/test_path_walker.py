"""The walker that judges the fast paths, on listings made by hand: it must count right, and see what is wrong."""

import unittest

import path_walker


def listing(text):
    return path_walker.parse(text)


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

    def test_loops_are_no_fast_paths(self):
        code = "0000000000001000 <f>:\n 1000:\tdec    %rax\n 1003:\tjne    1000 <f>\n 1005:\tret\n"
        fast, exits = path_walker.Walker(listing(code)).paths(0x1000)
        self.assertEqual((len(fast), exits), (1, {"a loop at 1000"}))


class Count(unittest.TestCase):
    def check(self, text, loads, stores, forbidden=None):
        one = listing(f"0000000000001000 <f>:\n    1000:\t{text}\n")[0x1000]
        self.assertEqual((path_walker.loads(one), path_walker.stores(one), path_walker.forbidden(one)),
                         (bool(loads), bool(stores), forbidden), text)

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
        one = listing("0000000000001000 <f>:\n    1000:\tlock cmpxchg %rdx,(%rdi)\n")[0x1000]
        self.assertEqual(path_walker.forbidden(one), "atomic")

    def test_endbr64_is_not_counted(self):
        one = path_walker.Path(list(listing("0000000000001000 <f>:\n 1000:\tendbr64\n 1004:\tret\n").values()))
        self.assertEqual(one.count()["instructions"], 1)


if __name__ == "__main__":
    unittest.main()
