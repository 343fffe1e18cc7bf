"""Inputs for the real programs: each function writes one file, the same in every run, from nothing but a fixed seed.

They are made to be like what such a program gets: no input was chosen by what an allocator does with it. `scale` is the
size of the input; 1.0 is that of the full run.
"""

import random
import subprocess

from harness.allocators import BenchmarkError

WORDS = [first + second + third for first in ("al", "be", "cor", "dun", "el", "fa")
         for second in ("ma", "ne", "ri", "tos") for third in ("", "s", "ra", "ling")]


def sentence(generator, most):
    return " ".join(generator.choices(WORDS, k=generator.randint(1, most)))


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.writelines(f"{line}\n" for line in lines)


# redis: a protocol stream of the usual commands. Nothing expires while it runs, or the end would depend on the time.

def redis_command(*words):
    parts = [f"*{len(words)}\r\n"]
    for word in map(str, words):
        parts.append(f"${len(word.encode())}\r\n{word}\r\n")
    return "".join(parts)


def redis_step(generator, number):
    """One of the usual commands; keys come back, so that values grow, shrink and are replaced."""
    text = "v" * min(2000, int(16 / (1.001 - generator.random())))
    return generator.choice((
        ("SET", f"string:{generator.randrange(60000)}", text),
        ("SET", f"string:{generator.randrange(60000)}", text, "EX", 3600),
        ("APPEND", f"string:{generator.randrange(60000)}", text[:100]),
        ("GET", f"string:{generator.randrange(60000)}"),
        ("DEL", f"string:{generator.randrange(60000)}"),
        ("RPUSH", f"list:{generator.randrange(2000)}", number, text),
        ("LPOP", f"list:{generator.randrange(2000)}"),
        ("HSET", f"hash:{generator.randrange(3000)}", f"field:{number % 200}", text[:300]),
        ("HGETALL", f"hash:{generator.randrange(3000)}"),
        ("SADD", f"set:{generator.randrange(1000)}", f"member:{number * 7919 % 20000}"),
        ("ZADD", f"sorted:{generator.randrange(500)}", number % 1000, f"member:{number % 700}"),
        ("EXPIRE", f"hash:{generator.randrange(3000)}", 3600),
        ("PEXPIREAT", f"string:{generator.randrange(60000)}", 1),  # long ago: gone at once
        ("UNLINK", f"hash:{generator.randrange(3000)}"),
    ))


def write_redis_commands(path, scale):
    generator = random.Random(1)
    with open(path, "w", encoding="ascii", newline="") as file:
        for number in range(int(800_000 * scale)):
            file.write(redis_command(*redis_step(generator, number)))


# SQL: tables that are filled, indexed, joined, changed and thinned out, all in memory.

QUERIES = """
SELECT customer.city, count(*), sum(item.price * item.amount) FROM customer JOIN item ON item.customer = customer.id
 GROUP BY customer.city ORDER BY 3 DESC LIMIT 10;
SELECT a.name, b.name FROM customer a JOIN customer b ON a.city = b.city AND a.name < b.name
 ORDER BY a.name, b.name LIMIT 5;
UPDATE item SET note = note || ' changed ' || id WHERE amount % 3 = 0;
DELETE FROM item WHERE amount = 7 OR price < 30;
CREATE TABLE summary AS SELECT customer, group_concat(note, '; ') AS notes FROM item GROUP BY customer;
SELECT count(*), sum(length(notes)), max(notes) FROM summary WHERE notes LIKE '%ri%';
SELECT substr(note, 1, 8) AS start, count(DISTINCT customer) FROM item GROUP BY start ORDER BY 2 DESC, 1 LIMIT 10;
"""


def sql_lines(scale):
    generator = random.Random(2)
    customers, items = int(4000 * scale), int(110_000 * scale)
    yield "PRAGMA temp_store = memory;\nBEGIN;"
    yield "CREATE TABLE customer (id INTEGER PRIMARY KEY, name TEXT, city TEXT);"
    yield "CREATE TABLE item (id INTEGER PRIMARY KEY, customer INTEGER, price REAL, amount INTEGER, note TEXT);"
    for number in range(customers):
        yield f"INSERT INTO customer VALUES ({number}, '{sentence(generator, 3)}', '{generator.choice(WORDS)}');"
    yield "CREATE INDEX item_customer ON item (customer);"
    for number in range(items):
        yield (f"INSERT INTO item VALUES ({number}, {generator.randrange(customers)}, "
               f"{generator.randrange(100000) / 100}, {generator.randrange(20)}, '{sentence(generator, 12)}');")
    yield "COMMIT;\nCREATE INDEX customer_city ON customer (city, name);\nCREATE INDEX item_note ON item (note);"
    yield QUERIES


def write_sql(path, scale):
    write_lines(path, sql_lines(scale))


# C: functions over structures, tables and loops, as a compiler meets them in a large source file.

def c_expression(generator, depth):
    if depth == 0:
        return generator.choice(("a", "b", "i", "self->count", "self->values[i & 15]", str(generator.randrange(1000))))
    operator = generator.choice(("+", "-", "*", "^", "&", "|"))
    return f"({c_expression(generator, depth - 1)} {operator} {c_expression(generator, depth - 1)})"


def c_function(generator, number):
    callee = f"function_{generator.randrange(number)}(self, b, a + 1)" if number else "a"
    cases = "\n".join(f"        case {case}: result {generator.choice(('+=', '^=', '-='))} "
                      f"{c_expression(generator, 3)}; break;" for case in range(generator.randint(2, 6)))
    return f"""
struct type_{number} {{ int count; unsigned values[16]; struct type_{number} *next; const char *name; }};
static const unsigned table_{number}[] = {{ {', '.join(str(generator.randrange(1 << 30)) for _ in range(24))} }};
unsigned function_{number}(struct state *self, unsigned a, unsigned b)
{{
    struct type_{number} local = {{ .count = (int)a, .name = "{sentence(generator, 4)}" }};
    unsigned result = a;
    for (unsigned i = 0; i < b % {generator.randint(3, 40)}; i++) {{
        local.values[i & 15] += table_{number}[i % 24] + (unsigned)local.count;
        switch ((result + i) % 7) {{
{cases}
        default: result += {callee}; self->values[i & 15] = local.values[(i + 3) & 15];
        }}
        if (result > {c_expression(generator, 2)})
            self->count += {c_expression(generator, 2)};
    }}
    return result + (unsigned)local.name[a % 3];
}}"""


def write_c(path, scale):
    generator = random.Random(3)
    lines = ["struct state { unsigned count; unsigned values[16]; };"]
    lines += [c_function(generator, number) for number in range(int(70 * scale))]
    write_lines(path, lines)


# C++: what a source file with many small classes and the standard containers makes of templates.

CPP_HEAD = """
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>
template <int N, typename T> struct chain {
    chain<N - 1, T> next;
    T value;
    T sum() const { return value + next.sum(); }
};
template <typename T> struct chain<0, T> { T value; T sum() const { return value; } };
template <typename... Parts> struct record;
template <> struct record<> { template <typename F> void visit(F) const {} };
template <typename First, typename... Rest> struct record<First, Rest...> : record<Rest...> {
    First first;
    template <typename F> void visit(F function) const { function(first); record<Rest...>::visit(function); }
};
"""


def cpp_class(generator, number):
    types = ["int", "long", "double", "std::string", "std::vector<int>", "unsigned char"]
    parts = ", ".join(generator.sample(types, 4))
    key, value = generator.choice(("int", "long", "std::string")), generator.choice(types)
    return f"""
struct class_{number} {{
    record<{parts}> parts;
    std::map<{key}, std::vector<{value}>> table;
    std::shared_ptr<class_{number}> next;
    chain<{number % 40 + 3}, {generator.choice(('int', 'long', 'double'))}> values;
}};
std::size_t size_of(const class_{number} &object, const std::function<bool(std::size_t)> &wanted)
{{
    std::size_t total = static_cast<std::size_t>(object.values.sum());
    object.parts.visit([&](const auto &part) {{ total += sizeof part; }});
    std::vector<std::size_t> sizes;
    for (const auto &entry : object.table)
        sizes.push_back(entry.second.size() + {number});
    std::sort(sizes.begin(), sizes.end(), [](std::size_t a, std::size_t b) {{
        return a % {number + 2} < b % {number + 2};
    }});
    return total + static_cast<std::size_t>(std::count_if(sizes.begin(), sizes.end(), wanted));
}}"""


def write_cpp(path, scale):
    """Preprocessed with this machine's headers: the compiler proper is what is measured."""
    generator = random.Random(4)
    source = path.with_suffix(".cpp")
    write_lines(source, [CPP_HEAD] + [cpp_class(generator, number) for number in range(int(14 * scale))])
    command = ["g++", "-std=c++17", "-E", "-P", "-o", path, source]
    if subprocess.run(command, check=False).returncode != 0:
        raise BenchmarkError("g++ cannot preprocess the input of cc1plus")


# SMT: small schedules, one after the other: each job passes the machines in the same order, no machine has two at once.

def smt_schedule(generator, jobs, machines):
    yield from (f"(declare-const t{job}_{machine} Int)" for job in range(jobs) for machine in range(machines))
    lengths = [[generator.randint(2, 9) for _ in range(machines)] for _ in range(jobs)]
    horizon = max(sum(job[machine] for job in lengths) for machine in range(machines)) + generator.randint(8, 16)
    for job in range(jobs):
        yield f"(assert (>= t{job}_0 0))"
        yield f"(assert (<= (+ t{job}_{machines - 1} {lengths[job][-1]}) {horizon}))"
        for machine in range(1, machines):
            yield f"(assert (>= t{job}_{machine} (+ t{job}_{machine - 1} {lengths[job][machine - 1]})))"
        for other in range(job):
            for machine in range(machines):
                yield (f"(assert (or (>= t{job}_{machine} (+ t{other}_{machine} {lengths[other][machine]})) "
                       f"(>= t{other}_{machine} (+ t{job}_{machine} {lengths[job][machine]}))))")
    yield "(check-sat)\n(reset)"


def write_smt(path, scale):
    generator = random.Random(5)
    write_lines(path, [line for _ in range(int(32 * scale)) for line in smt_schedule(generator, 6, 4)])


# XML: a catalogue with attributes, nested elements and text.

def xml_lines(scale):
    generator = random.Random(6)
    yield '<?xml version="1.0" encoding="UTF-8"?>\n<catalogue>'
    for number in range(int(36_000 * scale)):
        tags = "".join(f"<tag>{generator.choice(WORDS)}</tag>" for _ in range(generator.randint(0, 4)))
        yield (f'<item id="i{number}" kind="{generator.choice(WORDS)}"><name>{sentence(generator, 4)}</name>'
               f'<price currency="{generator.choice(("EUR", "CHF"))}">{generator.randrange(100000) / 100}</price>'
               f'{tags}\n<text>{sentence(generator, 20)} <b>{sentence(generator, 3)}</b> &amp; '
               f'{sentence(generator, 9)}</text></item>')
    yield "</catalogue>"


def write_xml(path, scale):
    write_lines(path, xml_lines(scale))


# JSON: records in records, one per line.

def json_lines(scale):
    generator = random.Random(7)
    for number in range(int(12_000 * scale)):
        tags = ", ".join(f'"{generator.choice(WORDS)}"' for _ in range(generator.randint(0, 5)))
        yield (f'{{"id": {number}, "owner": {{"name": "{sentence(generator, 3)}", "age": {generator.randrange(90)}}}, '
               f'"price": {generator.randrange(100000) / 100}, "tags": [{tags}], "note": "{sentence(generator, 15)}"}}')


def write_json(path, scale):
    write_lines(path, json_lines(scale))
