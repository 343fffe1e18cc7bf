"""A workload for the Python interpreter: strings, regular expressions, and syntax trees. The argument says how much."""

import ast
import collections
import re
import sys

SYLLABLES = ("ba", "ke", "lo", "mi", "nu", "ra", "se", "to", "vi", "zu", "an", "er", "in", "os")

FUNCTION = '''
def function_{0}(first, second=None, *rest):
    """Adds {0} to what it is given."""
    table = {{"key {0}": first, "other": [second, {0}, *rest]}}
    for name, value in sorted(table.items()):
        if isinstance(value, list) and len(value) > {1}:
            return [item for item in value if item is not None and str(item) != name]
        first = (first or 0) + {0} * {1} - len(name)
    return first, {{"{0}": lambda x: x ** {1} if x else table}}
'''


def make_word(number):
    return "".join(SYLLABLES[number // 14 ** place % 14] for place in range(2 + number % 3))


def make_text(count):
    lines, state = [], 1
    for number in range(count):
        words = []
        for _ in range(10):
            state = (state * 1103515245 + 12345) % 2 ** 31
            words.append(make_word(state >> 12 & 0xfff))
        lines.append(f"{number:06d} {' '.join(words)} <{words[0]}@{words[1]}.example> {state % 1000}.{state % 97:02d}")
    return "\n".join(lines)


def look_through(text):
    mails = collections.Counter(match.group(1) for match in re.finditer(r"<(\w+@\w+)\.example>", text))
    words = collections.Counter(re.findall(r"[a-z]+", text))
    changed = re.sub(r"(\d+)\.(\d+)", lambda match: match.group(2) + "," + match.group(1), text)
    fields = [line.split() for line in changed.splitlines()]
    lines = ["|".join(word.upper() for word in line[1:]) for line in fields]
    lines.sort(key=lambda line: line[::-1])
    return mails.most_common(3), words.most_common(3), lines[0], sum(map(len, lines))


def parse(count):
    source = "".join(FUNCTION.format(number, number % 9) for number in range(count))
    tree = ast.parse(source)
    names = collections.Counter(node.id for node in ast.walk(tree) if isinstance(node, ast.Name))
    code = compile(tree, "generated", "exec")
    return names.most_common(3), len(code.co_consts), len(ast.unparse(tree))


def main():
    count = int(sys.argv[1])
    for part in range(3):
        print(*look_through(make_text(count + part * 100)))
        print(*parse(count // 16))


if __name__ == "__main__":
    main()
