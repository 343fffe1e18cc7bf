"""The generated tables against the brute-force model: for the shipped profiles, rtmalloc's own forms, and random ones."""

import os
import pathlib
import random
import tempfile
import tomllib
import unittest

import model
import support

DEFAULTS = {"page_size": 8192, "thread_cache_size": 33554432, "min_per_thread_cache": 524288, "steal_amount": 65536,
            "max_free_list_length": 8192, "max_overages": 3, "max_transfer_slots": 64, "max_pages": 128,
            "alignment": 16}

RANDOM_PROFILES = 40

# rtmalloc's default file in its full form: size, pages, batch_size.
RTMALLOC_FULL = """
8 1 32  16 1 32  24 1 32  32 1 32  40 1 32  48 1 32  56 1 32  64 1 32  80 1 32  96 1 32  112 1 32  128 1 32
160 1 32  192 1 32  224 1 32  256 1 32  320 1 32  384 1 32  448 1 32  512 1 32  640 1 32  768 1 32  896 1 32  1024 1 32
1280 2 32  1536 2 32  1792 2 32  2048 2 32  2560 4 25  3072 4 21  3584 4 18  4096 4 16  5120 5 12  6144 6 10  7168 7 9
8192 8 8  10240 10 6  12288 12 5  16384 16 4  20480 20 3  32768 16 2  40960 20 2  65536 32 2  131072 32 2  262144 64 2
"""


def entries_of(document):
    """The classes of a parsed profile as tables, whichever form it uses."""
    return document.get("class") or [{"size": size} for size in document["classes"]]


def profile_text(entries, config):
    """A profile in the [[class]] form."""
    lines = ["[config]"] + [f"{key} = {value}" for key, value in config.items()]
    for entry in entries:
        lines += ["[[class]]"] + [f"{key} = {value}" for key, value in entry.items()]
    return "\n".join(lines) + "\n"


def rtmalloc_entries():
    numbers = [int(word) for word in RTMALLOC_FULL.split()]
    return [{"size": size, "pages": pages, "batch_size": batch}
            for size, pages, batch in support.rows(numbers, 3)]


class TableTest(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def check_text(self, text):
        profile = self.directory / "profile.toml"
        profile.write_text(text, encoding="utf-8")
        return self.check_profile(profile)

    def check_profile(self, profile):
        """Compares every constant and every table entry of the header made from `profile` with the model."""
        document = tomllib.loads(profile.read_text(encoding="utf-8"))
        config = DEFAULTS | document.get("config", {})
        entries = entries_of(document)
        header = support.Header(support.generate(profile, self.directory / "size_classes.h"))
        sizes = [entry["size"] for entry in entries]
        self.check_constants(header, config, sizes)
        self.check_classes(header, config, entries)
        self.check_requests(header, config, sizes)
        self.check_alignments(header, config, sizes)
        return header

    def check_constants(self, header, config, sizes):
        largest = max(size for size in sizes if size % config["alignment"] == 0)
        expected = {
            "PAGE_SIZE": config["page_size"],
            "CLASS_COUNT": len(sizes) + 1,
            "LARGEST_CLASS_SIZE": largest,
            "SMALL_SIZE": min(65536, largest),
            "REQUEST_ALIGNMENT": config["alignment"],
            "THREAD_CACHE_SIZE": config["thread_cache_size"],
            "MIN_PER_THREAD_CACHE": config["min_per_thread_cache"],
            "STEAL_AMOUNT": config["steal_amount"],
            "MAX_FREE_LIST_LENGTH": config["max_free_list_length"],
            "MAX_OVERAGES": config["max_overages"],
            "MAX_TRANSFER_SLOTS": config["max_transfer_slots"],
            "MAX_SPAN_PAGES": model.longest_span(config) // config["page_size"],
            "RECIPROCAL_SHIFT": 44,
            "RECIPROCAL_OFFSET_BITS": 23,
            "RECIPROCAL_REST": 0xfffff000000,
        }
        self.assertEqual({name: header.constants.get(name) for name in expected}, expected)
        self.assertEqual(1 << header.constants["PAGE_SHIFT"], config["page_size"])

    def check_classes(self, header, config, entries):
        self.assertEqual(header.classes[0], dict.fromkeys(support.CLASS_FIELDS, 0))
        self.assertEqual(len(header.classes), len(entries) + 1)
        for found, entry in zip(header.classes[1:], entries):
            self.assertEqual(found, model.expected_class(entry, config))
            self.assertTrue(model.span_is_allowed(found["size"], found["span_bytes"]), found)
            self.assertLessEqual(found["span_bytes"], model.longest_span(config))
            self.check_reciprocal(found)

    def check_reciprocal(self, entry):
        """Both sides of every boundary between objects of a span; the C test goes through all offsets."""
        for index in range(entry["objects"]):
            for offset in (index * entry["size"], (index + 1) * entry["size"] - 1):
                self.assertEqual(offset * entry["reciprocal"] >> 44, index, (entry["size"], offset))

    def check_requests(self, header, config, sizes):
        small, largest = header.constants["SMALL_SIZE"], header.constants["LARGEST_CLASS_SIZE"]
        step = 1 << header.constants["MEDIUM_SHIFT"]
        self.assertEqual(len(header.small_class), small // 8 + 1)
        self.assertEqual(len(header.medium_class), largest // step + 1)
        self.assertEqual((header.small_class[0], header.medium_class[0]), (1, 1))
        requests = list(range(1, largest + 1))
        exact = model.request_classes(sizes, config["alignment"], requests)
        self.assertEqual([header.small_class[(request + 7) >> 3] for request in requests[:small]], exact[:small])
        self.assertEqual([header.medium_class[(request + step - 1) // step] for request in requests[small:]],
                         exact[small:])
        # Up to SMALL_SIZE the coarse table answers for the end of the step.
        for index in range(1, small // step + 1):
            self.assertEqual(header.medium_class[index], exact[index * step - 1])

    def check_alignments(self, header, config, sizes):
        self.assertEqual(len(header.aligned_class), header.constants["ALIGNED_CLASS_ROWS"])
        self.assertEqual(16 << (len(header.aligned_class) - 1), config["page_size"])
        for row, found in enumerate(header.aligned_class):
            self.assertEqual(found, [model.aligned_class(sizes, number, 16 << row)
                                     for number in range(len(sizes) + 1)])


class ShippedProfiles(TableTest):
    def test_default(self):
        header = self.check_profile(support.CLASSES / "default.toml")
        self.assertEqual(header.constants["MEDIUM_SHIFT"], 13)
        self.assertGreaterEqual(header.constants["LARGEST_CLASS_SIZE"], 1 << 20)
        sizes = [entry["size"] for entry in header.classes[1:]]
        self.assertEqual(sizes[0], 8)
        self.assertTrue({1 << bits for bits in range(3, 21)} <= set(sizes))
        self.check_default_steps(sizes)

    def check_default_steps(self, sizes):
        """Its own, tighter bounds: 12.5 % internal waste above 128 bytes, 25 % above 64 KiB."""
        for before, size in zip(sizes, sizes[1:]):
            waste = (size - (before + 1)) / size
            if before >= 65536:
                self.assertLessEqual(waste, 0.25, size)
            elif before >= 128:
                self.assertLessEqual(waste, 0.125, size)

    def test_default_writes_out_the_defaults(self):
        document = tomllib.loads((support.CLASSES / "default.toml").read_text(encoding="utf-8"))
        self.assertEqual(document["config"], DEFAULTS)

    def test_rtmalloc(self):
        header = self.check_profile(support.CLASSES / "rtmalloc.toml")
        self.assertEqual(len(header.classes), 46)
        # 17 to 24 and 33 to 40 bytes: the next aligned class, not the unaligned one and not a page.
        for request, size in ((17, 32), (24, 32), (33, 48), (40, 48), (49, 64), (56, 64)):
            self.assertEqual(header.classes[header.small_class[(request + 7) >> 3]]["size"], size)


class ProfilesOfTheTests(TableTest):
    def test_each(self):
        profiles = sorted(support.TEST_PROFILES.glob("*.toml"))
        self.assertTrue(profiles)
        for profile in profiles:
            with self.subTest(profile=profile.name):
                self.check_profile(profile)

    def test_extremes(self):
        """What they are for: the fewest classes that a suggestion may have, the most there may be, and the bounds of a page."""
        headers = {name: self.check_profile(support.TEST_PROFILES / f"{name}.toml").constants
                   for name in ("tiny", "maximal", "pages-4k", "pages-64k")}
        self.assertEqual(headers["tiny"]["CLASS_COUNT"], 4)
        self.assertEqual((headers["maximal"]["CLASS_COUNT"], headers["maximal"]["MEDIUM_SHIFT"]), (256, 4))
        self.assertEqual((headers["pages-4k"]["PAGE_SHIFT"], headers["pages-64k"]["PAGE_SHIFT"]), (12, 16))
        for name, constants in headers.items():
            self.assertEqual(constants["LARGEST_CLASS_SIZE"], 1 << 20, name)


class OtherForms(TableTest):
    def test_rtmalloc_full_form(self):
        """Its default file has [config] first, then [[class]] with pages and batch_size: taken as it is."""
        config = {key: value for key, value in DEFAULTS.items() if key != "alignment"}
        entries = rtmalloc_entries()
        header = self.check_text(profile_text(entries, config))
        self.assertEqual([entry["pages"] for entry in header.classes[1:]], [entry["pages"] for entry in entries])

    def test_rtmalloc_readme_example(self):
        self.check_text("classes = [8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]\n")

    def test_rtmalloc_with_alignment_8(self):
        header = self.check_text(profile_text(rtmalloc_entries(), {"alignment": 8}))
        self.assertEqual(header.classes[header.small_class[3]]["size"], 24)

    def test_one_class(self):
        self.check_text("classes = [16]\n")

    def test_first_class_is_unaligned(self):
        header = self.check_text("classes = [24, 48]\n")
        self.assertEqual(header.small_class, [1, 1, 2, 2, 2, 2, 2])

    def test_last_class_is_unaligned(self):
        header = self.check_text("classes = [16, 32, 40]\n")
        self.assertEqual(header.constants["LARGEST_CLASS_SIZE"], 32)

    def test_most_classes(self):
        sizes = [16 * count for count in range(1, 256)]
        header = self.check_text(f"classes = {sizes}\n")
        self.assertEqual(header.constants["CLASS_COUNT"], 256)

    def test_every_page_size(self):
        for page_size in (4096, 8192, 16384, 32768, 65536):
            with self.subTest(page_size=page_size):
                text = (support.CLASSES / "default.toml").read_text(encoding="utf-8")
                max_pages = (1 << 20) // page_size
                self.check_text(text.replace("page_size = 8192", f"page_size = {page_size}")
                                .replace("max_pages = 128", f"max_pages = {max_pages}"))

    def test_max_pages_beyond_half_a_hugepage(self):
        header = self.check_text("classes = [16]\n[config]\nmax_pages = 1000\n")
        self.assertEqual(header.constants["MAX_SPAN_PAGES"], 128)

    def test_capacity_and_batch(self):
        entries = [{"size": 16, "capacity": 1000, "batch_size": 400}, {"size": 32, "capacity": 1},
                   {"size": 64, "batch_size": 1024}, {"size": 128, "capacity": 8191}]
        header = self.check_text(profile_text(entries, {}))
        self.assertEqual([(entry["capacity"], entry["batch"]) for entry in header.classes[1:]],
                         [(511, 400), (1, 1), (2047, 1024), (8191, 32)])

    def test_max_free_list_length_bounds_capacity(self):
        header = self.check_text("classes = [16]\n[config]\nmax_free_list_length = 31\n")
        self.assertEqual((header.classes[1]["capacity"], header.classes[1]["batch"]), (31, 31))


class RandomProfiles(TableTest):
    def test_random_profiles(self):
        seed = int(os.environ.get("TIERMALLOC_TEST_SEED") or random.SystemRandom().getrandbits(32))
        print(f"seed: {seed} (TIERMALLOC_TEST_SEED={seed} repeats this run)", flush=True)
        generator = random.Random(seed)
        for number in range(RANDOM_PROFILES):
            text = self.random_profile(generator)
            with self.subTest(seed=seed, number=number, text=text):
                self.check_text(text)

    def random_profile(self, generator):
        """A profile that keeps all rules: what the model does not allow is not chosen."""
        config = {"page_size": 4096 << generator.randrange(5), "alignment": generator.choice((8, 16)),
                  "max_free_list_length": generator.choice((1, 100, 8192)),
                  "max_transfer_slots": generator.randrange(1, 4097)}
        config["max_pages"] = generator.randrange(1, 2 * (1 << 20) // config["page_size"])
        full = DEFAULTS | config
        largest = min(1 << generator.randrange(6, 21), model.longest_span(full))
        sizes = self.random_sizes(generator, full, largest)
        entries = [self.random_entry(generator, full, size) for size in sizes]
        if all(set(entry) == {"size"} for entry in entries):
            return f"classes = {sizes}\n" + profile_text([], config)
        return profile_text(entries, config)

    def random_sizes(self, generator, config, largest):
        density = generator.choice((1.05, 1.2, 1.6, 2))
        sizes, aligned = [], 128
        while len(sizes) < 255:
            before = sizes[-1] if sizes else 0
            most = min(2 * aligned, int(max(before, 16) * density) + 16, largest)
            choices = [size for size in range(before + 8, most + 1, 8)]
            size = generator.choice(choices) if choices else None
            if size is None:
                break
            if model.derived_pages(size, config) is None:
                size = self.next_possible(config, before, most)
                if size is None:
                    break
            sizes.append(size)
            if size % config["alignment"] == 0:
                aligned = max(aligned, size)
        if not any(size % config["alignment"] == 0 for size in sizes):
            return [16]
        return sizes

    def next_possible(self, config, before, most):
        """The largest power of two or page multiple that may follow, for where few sizes fill their spans."""
        for size in range(most // 4096 * 4096, before, -4096):
            if model.derived_pages(size, config) is not None:
                return size
        return None

    def random_entry(self, generator, config, size):
        entry = {"size": size}
        if generator.random() < 0.2:
            longest = model.longest_span(config) // config["page_size"]
            pages = [count for count in range(1, longest + 1)
                     if model.span_is_allowed(size, count * config["page_size"])
                     and count * config["page_size"] // size <= 65535]
            entry["pages"] = generator.choice(pages)
        if generator.random() < 0.2:
            entry["capacity"] = generator.randrange(1, min(config["max_free_list_length"], 32767) + 1)
        if generator.random() < 0.2:
            capacity = model.round_capacity(entry.get("capacity", 1024))
            entry["batch_size"] = generator.randrange(1, min(1024, capacity) + 1)
        return entry


if __name__ == "__main__":
    unittest.main()
