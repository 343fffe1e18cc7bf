"""A browser-like mix: tabs are opened and closed, each with a tree of small nodes, texts, and a few large buffers.

Usage: tabs.py SECONDS. Run with PYTHONMALLOC=malloc, so that every object comes from malloc. The same each time, but for
the time that it takes: a step each 50 ms, as far as the machine keeps up.
"""

import random
import sys
import time
import zlib
from xml.etree import ElementTree

WORDS = [first + second for first in ("al", "be", "cor", "dun", "el", "fa") for second in ("ma", "ne", "ri", "tos", "ling")]
STEP = 0.05
MOST_TABS = 12


class Tab:
    """A page: what is parsed stays, what parsing took goes."""

    def __init__(self, numbers):
        markup = self.make_markup(numbers, int(5000 * numbers.paretovariate(1.2)))
        self.tree = ElementTree.fromstring(zlib.decompress(zlib.compress(markup.encode(), 1)))
        self.images = [bytearray(min(8 << 20, int(4096 * numbers.paretovariate(0.6)))) for _ in range(numbers.randrange(30))]
        self.cache = {}

    @staticmethod
    def make_markup(numbers, nodes):
        nodes = min(nodes, 60000)
        parts = [f'<p id="{number}" class="{numbers.choice(WORDS)}">{" ".join(numbers.choices(WORDS, k=6))}</p>'
                 for number in range(nodes)]
        return f"<html>{''.join(parts)}</html>"

    def work(self, numbers):
        """A script that changes the page: strings and nodes come and go, an image is scaled."""
        for _ in range(300):
            key = numbers.choice(WORDS) + str(numbers.randrange(2000))
            self.cache[key] = key * numbers.randrange(1, 40)
        for node in numbers.choices(self.tree, k=min(50, len(self.tree))):
            node.text = " ".join(numbers.choices(WORDS, k=9))
            ElementTree.SubElement(node, "i").text = numbers.choice(WORDS)
        if self.images:
            chosen = numbers.randrange(len(self.images))
            self.images[chosen] = bytearray(min(8 << 20, int(4096 * numbers.paretovariate(0.6))))


def main():
    numbers = random.Random(9)
    tabs = []
    start = time.monotonic()
    for step in range(int(float(sys.argv[1]) / STEP)):
        fate = numbers.random()
        # People open many tabs, and close most of them at once.
        if fate < 0.08 or not tabs:
            tabs.append(Tab(numbers))
        elif fate < 0.11:
            tabs.pop(numbers.randrange(len(tabs)))
        if len(tabs) > MOST_TABS:
            numbers.shuffle(tabs)
            del tabs[2:]
        if tabs:
            numbers.choice(tabs).work(numbers)
        time.sleep(max(0.0, start + step * STEP - time.monotonic()))


main()
