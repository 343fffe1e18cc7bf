"""Every way to refuse a profile: the exact lines printed (file, key, index, value, what is allowed), and exit status 1."""

import pathlib
import tempfile
import unittest

import support

SIZE_RULE = "must be a multiple of 8, 8 to 1048576 (half a hugepage)"
CLASSES_WANTED = "give either classes = [8, 16, ...] or [[class]] tables, and one of the two only"
CONFIG_KEYS = ("page_size, thread_cache_size, min_per_thread_cache, steal_amount, max_free_list_length, max_overages, "
               "max_transfer_slots, max_pages, alignment")
CONFIG_RANGES = {
    "thread_cache_size": (1, 1 << 40),
    "min_per_thread_cache": (1, 1 << 40),
    "steal_amount": (1, 1 << 40),
    "max_free_list_length": (1, (1 << 32) - 1),
    "max_overages": (1, (1 << 32) - 1),
    "max_transfer_slots": (1, 4096),
    "max_pages": (1, 65535),
}
CLASS_RANGES = {"pages": (1, 65535), "batch_size": (1, 1024), "capacity": (1, 32767)}


class RejectionTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def check(self, text, *expected):
        """`text` as x.toml is refused with exactly the lines `expected`, and no header is written."""
        (self.directory / "x.toml").write_text(text, encoding="utf-8")
        result = support.run_generator("x.toml", "--output", "size_classes.h", directory=self.directory)
        self.assertEqual(result.stderr.splitlines(), [f"x.toml: {line}" for line in expected])
        self.assertEqual((result.returncode, result.stdout), (1, ""))
        self.assertEqual([path.name for path in self.directory.iterdir()], ["x.toml"])

    def check_class(self, fields, *expected, config=""):
        """One [[class]] table with these fields; the others of a valid profile stand before it."""
        lines = "\n".join(f"{key} = {value}" for key, value in fields.items())
        self.check(f"[config]\n{config}\n[[class]]\nsize = 8\n[[class]]\n{lines}\n", *expected)


class Document(RejectionTest):
    def test_no_such_file(self):
        result = support.run_generator("--check", "absent.toml", directory=self.directory)
        self.assertEqual((result.returncode, result.stderr),
                         (1, "absent.toml: cannot be read: No such file or directory\n"))

    def test_directory(self):
        result = support.run_generator("--check", ".", directory=self.directory)
        self.assertEqual((result.returncode, result.stderr), (1, ".: cannot be read: Is a directory\n"))

    def check_not_toml(self, content):
        (self.directory / "x.toml").write_bytes(content)
        result = support.run_generator("--check", "x.toml", directory=self.directory)
        self.assertEqual(result.returncode, 1)
        self.assertRegex(result.stderr, r"\Ax\.toml: not valid TOML: .*\n\Z")

    def test_not_toml(self):
        self.check_not_toml(b"classes = [8,\n")

    def test_key_twice(self):
        self.check_not_toml(b"classes = [8]\nclasses = [16]\n")

    def test_not_utf8(self):
        self.check_not_toml(b"# \xff\nclasses = [8]\n")

    def test_number_too_long_for_python(self):
        self.check_not_toml(b"classes = [" + b"1" * 5000 + b"]\n")

    def test_nested_too_deeply(self):
        self.check_not_toml(b"classes = " + b"[" * 100000 + b"\n")


class Keys(RejectionTest):
    def test_unknown_top_key(self):
        self.check("clases = [8]\nclasses = [16]\n", "clases: an array of 1: unknown key; allowed are classes, class, config")

    def test_unknown_config_key(self):
        self.check("classes = [16]\n[config]\npagesize = 4096\n",
                   f"config.pagesize: 4096: unknown key; allowed are {CONFIG_KEYS}")

    def test_unknown_class_key(self):
        self.check_class({"size": 16, "batch": '"many"'},
                         'class[1].batch: "many": unknown key; allowed are size, pages, batch_size, capacity')

    def test_key_that_needs_quotes(self):
        self.check('"a\\nb" = 1\nclasses = [16]\n', '"a\\nb": 1: unknown key; allowed are classes, class, config')

    def test_config_is_no_table(self):
        self.check("config = 5\nclasses = [16]\n", "config: 5: must be a table, [config]")

    def test_config_is_no_table_and_no_classes(self):
        self.check("config = 5\n", "config: 5: must be a table, [config]", f"classes: missing: {CLASSES_WANTED}")

    def test_classes_below_config(self):
        self.check("[config]\npage_size = 8192\nclasses = [8, 16]\n",
                   "config.classes: an array of 2: must stand above the line [config], not below it")

    def test_both_forms(self):
        self.check("classes = [8, 16]\n[[class]]\nsize = 8\n",
                   f"class: an array of 1: classes is there as well; {CLASSES_WANTED}")

    def test_neither_form(self):
        self.check("[config]\npage_size = 8192\n", f"classes: missing: {CLASSES_WANTED}")

    def test_empty_file(self):
        self.check("", f"classes: missing: {CLASSES_WANTED}")

    def test_classes_is_no_array(self):
        self.check("classes = 8\n", "classes: 8: must be an array of sizes")

    def test_class_is_no_array(self):
        self.check("[class]\nsize = 8\n", "class: a table: must be [[class]] tables")

    def test_class_entry_is_no_table(self):
        self.check("class = [{size = 16}, 32]\n", "class[1]: 32: must be a [[class]] table")

    def test_no_classes(self):
        self.check("classes = []\n", "classes: an array of 0: must have 1 to 255 entries")

    def test_too_many_classes(self):
        self.check(f"classes = {[16 * count for count in range(1, 257)]}\n",
                   "classes: an array of 256: must have 1 to 255 entries")

    def test_too_many_class_tables(self):
        self.check("".join(f"[[class]]\nsize = {16 * count}\n" for count in range(1, 257)),
                   "class: an array of 256: must have 1 to 255 entries")


class Values(RejectionTest):
    def check_config(self, key, value, allowed, shown=None):
        self.check(f"classes = [16]\n[config]\n{key} = {value}\n", f"config.{key}: {shown or value}: {allowed}")

    def test_config_ranges(self):
        for key, (least, greatest) in CONFIG_RANGES.items():
            for value in (least - 1, greatest + 1, -1):
                with self.subTest(key=key, value=value):
                    self.check_config(key, value, f"must be {least} to {greatest}")

    def test_config_types(self):
        for key, (least, greatest) in CONFIG_RANGES.items():
            for value in ("1.0", '"1"', "true"):
                with self.subTest(key=key, value=value):
                    self.check_config(key, value, f"must be an integer, {least} to {greatest}")

    def test_config_value_of_other_types(self):
        allowed = "must be an integer, 1 to 65535"
        self.check_config("max_pages", "[1]", allowed, "an array of 1")
        self.check_config("max_pages", "{a = 1}", allowed, "a table")
        self.check_config("max_pages", "2024-01-01", allowed)
        self.check_config("max_pages", '"' + "x" * 100 + '"', allowed, '"' + "x" * 59 + "...")
        self.check_config("max_pages", "0x1" + "0" * 5000, "must be 1 to 65535", "an integer of 20001 bits")

    def test_page_size(self):
        for value in ("2048", "131072", "5000", "0", "-4096", "8192.0", '"8192"', "true"):
            with self.subTest(value=value):
                self.check_config("page_size", value, "must be a power of two, 4096 to 65536")

    def test_alignment(self):
        for value in ("4", "12", "32", "0", "16.0", '"16"', "true"):
            with self.subTest(value=value):
                self.check_config("alignment", value, "must be 16 or 8")

    def test_size_in_array(self):
        for value in ("20", "0", "-8", "1048584", "16.0", '"16"', "true"):
            with self.subTest(value=value):
                self.check(f"classes = [8, {value}]\n", f"classes[1]: {value}: {SIZE_RULE}")

    def test_size_in_table(self):
        for value in ("20", "0", "-8", "1048584", "16.0", '"16"', "true"):
            with self.subTest(value=value):
                self.check_class({"size": value}, f"class[1].size: {value}: {SIZE_RULE}")

    def test_size_is_missing(self):
        self.check_class({"pages": 1}, f"class[1].size: missing: {SIZE_RULE}")

    def test_class_ranges(self):
        for key, (least, greatest) in CLASS_RANGES.items():
            for value in (least - 1, greatest + 1):
                with self.subTest(key=key, value=value):
                    self.check_class({"size": 16, key: value},
                                     f"class[1].{key}: {value}: must be {least} to {greatest}")

    def test_class_types(self):
        for key, (least, greatest) in CLASS_RANGES.items():
            for value in ("1.0", '"1"', "true"):
                with self.subTest(key=key, value=value):
                    self.check_class({"size": 16, key: value},
                                     f"class[1].{key}: {value}: must be an integer, {least} to {greatest}")

    def test_all_problems_at_once(self):
        self.check("classes = [9, 16, 20]\n[config]\nmax_pages = 0\nfoo = 1\n",
                   f"config.foo: 1: unknown key; allowed are {CONFIG_KEYS}",
                   "config.max_pages: 0: must be 1 to 65535",
                   f"classes[0]: 9: {SIZE_RULE}",
                   f"classes[2]: 20: {SIZE_RULE}")


class Rules(RejectionTest):
    def test_min_per_thread_above_all(self):
        self.check("classes = [16]\n[config]\nthread_cache_size = 1000\nmin_per_thread_cache = 1001\n",
                   "config.min_per_thread_cache: 1001: must be at most thread_cache_size (1000)")

    def test_min_per_thread_default_above_all(self):
        self.check("classes = [16]\n[config]\nthread_cache_size = 1000\n",
                   "config.min_per_thread_cache: 524288: must be at most thread_cache_size (1000)")

    def test_descending(self):
        self.check("classes = [8, 32, 16]\n", "classes[2]: 16: must be greater than the size before it (32)")

    def test_equal(self):
        self.check("[[class]]\nsize = 16\n[[class]]\nsize = 16\n",
                   "class[1].size: 16: must be greater than the size before it (16)")

    def test_no_aligned_class(self):
        self.check("classes = [8, 24]\n", "classes[1]: 24: at least one size must be a multiple of alignment (16)")

    def test_step(self):
        self.check("classes = [16, 144, 4624]\n",
                   "classes[2]: 4624: must be at most 4608, 32 times the class that serves smaller requests (144)")

    def test_step_of_the_first_class(self):
        self.check("classes = [4112]\n",
                   "classes[0]: 4112: must be at most 4096, 32 times the class that serves smaller requests (128)")

    def test_step_counts_aligned_classes_only(self):
        self.check("classes = [128, 136, 4112]\n",
                   "classes[2]: 4112: must be at most 4096, 32 times the class that serves smaller requests (128)")

    def test_step_with_alignment_8(self):
        self.check("classes = [128, 136, 4360]\n[config]\nalignment = 8\n",
                   "classes[2]: 4360: must be at most 4352, 32 times the class that serves smaller requests (136)")

    def test_class_above_max_pages(self):
        self.check("classes = [128, 256, 512, 1024, 2048, 4096, 8192, 16384, 16400]\n[config]\nmax_pages = 2\n",
                   "classes[8]: 16400: must be at most 16384, max_pages (2) pages of 8192")

    def test_pages_below_one_object(self):
        sizes = "".join(f"[[class]]\nsize = {128 << bits}\n" for bits in range(7))
        self.check(f"{sizes}[[class]]\nsize = 16384\npages = 1\n",
                   "class[7].pages: 1: must be at least 2, to hold one object of 16384")

    def test_pages_above_max_pages(self):
        self.check_class({"size": 16, "pages": 5}, "class[1].pages: 5: must be at most 4 (max_pages, and 1048576 bytes)",
                         config="max_pages = 4")

    def test_pages_above_half_a_hugepage(self):
        self.check_class({"size": 16, "pages": 129},
                         "class[1].pages: 129: must be at most 128 (max_pages, and 1048576 bytes)",
                         config="max_pages = 1000")

    def test_pages_of_too_many_objects(self):
        self.check_class({"size": 16, "pages": 128},
                         "class[1].pages: 128: makes 65536 objects; must make at most 65535")

    def test_tail_waste(self):
        sizes = "".join(f"[[class]]\nsize = {size}\n" for size in (128, 256, 512, 1024, 2048))
        self.check(f"{sizes}[[class]]\nsize = 3072\npages = 1\n",
                   "class[5].pages: 1: leaves 25.00 % of the span unused; must leave at most 12.5 %, as 3 would")

    def test_tail_waste_without_a_way_out(self):
        sizes = "".join(f"[[class]]\nsize = {size}\n" for size in (128, 256, 512, 1024, 2048))
        self.check(f"[config]\nmax_pages = 1\n{sizes}[[class]]\nsize = 3072\npages = 1\n",
                   "class[5].pages: 1: leaves 25.00 % of the span unused; must leave at most 12.5 %")

    def test_no_span_keeps_the_bound(self):
        self.check("classes = [128, 256, 512, 1024, 2048, 3072]\n[config]\nmax_pages = 1\n",
                   "classes[5]: 3072: no span of 1 to 1 pages of 8192 leaves at most 12.5 % unused")

    def test_capacity_above_max_free_list_length(self):
        self.check_class({"size": 16, "capacity": 101},
                         "class[1].capacity: 101: must be at most max_free_list_length (100)",
                         config="max_free_list_length = 100")

    def test_batch_above_given_capacity(self):
        self.check_class({"size": 16, "capacity": 100, "batch_size": 64},
                         "class[1].batch_size: 64: must be 1 to 63, what its stack can hold")

    def test_all_problems_at_once(self):
        self.check("[[class]]\nsize = 16\npages = 200\n[[class]]\nsize = 4112\ncapacity = 1\nbatch_size = 2\n",
                   "class[1].size: 4112: must be at most 4096, 32 times the class that serves smaller requests (128)",
                   "class[0].pages: 200: must be at most 128 (max_pages, and 1048576 bytes)",
                   "class[1].batch_size: 2: must be 1 to 1, what its stack can hold")


if __name__ == "__main__":
    unittest.main()
