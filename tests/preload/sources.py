"""Large C and C++ source files for the compilers to work on, the same at every call."""

import random

C_HEAD = '''#include <stdint.h>
#include <stdio.h>
#include <string.h>
struct record { uint32_t key; int16_t small[6]; double value; struct record *next; };
static uint32_t table[4096];
'''

C_FUNCTION = '''
static uint32_t step_{n}(uint32_t value, struct record *record)
{{
    char text[{length}];
    for (int i = 0; i < {loops}; i++) {{
        switch ((value >> {shift}) & 7) {{
        case 0: value += table[(value ^ {a}u) & 4095]; break;
        case 1: value = value * {b}u + (uint32_t)record->small[i % 6]; break;
        case 2: record->value += value / {c}.0; break;
        case 3: snprintf(text, sizeof text, "step {n} %u", value); value ^= (uint32_t)strlen(text); break;
        case 4: record = record->next ? record->next : record; break;
        default: table[i * {d} & 4095] ^= value; value = value << 3 | value >> 29;
        }}
    }}
    return value{call};
}}
'''

C_TAIL = '''
int main(void)
{{
    struct record record = {{ 1, {{ 1, 2, 3, 4, 5, 6 }}, 0.5, 0 }};
    printf("%u\\n", step_{last}(12345u, &record));
    return 0;
}}
'''

CXX_HEAD = '''#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <tuple>
#include <unordered_map>
#include <vector>
template <int N> struct tower { static constexpr long value = tower<N - 1>::value * 3 % 1000003 + N; };
template <> struct tower<0> { static constexpr long value = 1; };
static_assert(tower<800>::value > 0, "");
'''

CXX_PIECE = '''
struct thing_{n} {{
    std::map<std::string, std::tuple<int, double, std::vector<char>>> items;
    std::unordered_map<int, std::unique_ptr<thing_{n}>> children;
    long work(std::function<long(long)> const &f) const
    {{
        long sum = {a};
        for (auto const &[name, item] : items)
            sum += f(std::get<0>(item)) + static_cast<long>(name.size());
        for (auto const &child : children)
            try {{ sum += child.second->work([&](long x) {{ return x * {b} + sum; }}); }} catch (std::exception const &) {{ sum--; }}
        return sum;
    }}
}};
long use_{n}(int key)
{{
    thing_{n} thing;
    thing.items["{a}"] = {{ key, {b}.5, {{ 'x', 'y' }} }};
    thing.children[key] = std::make_unique<thing_{n}>();
    return thing.work([](long x) {{ return x ^ {a}; }});
}}
'''


def c_source(functions):
    """A C file with that many functions, each calling one before it."""
    numbers = random.Random(2024)
    parts = [C_HEAD]
    for n in range(functions):
        call = f' + step_{numbers.randrange(max(0, n - 9), n)}(value >> 1, record)' if n else ''
        parts.append(C_FUNCTION.format(
            n=n, call=call, length=numbers.randrange(32, 200), loops=numbers.randrange(2, 40), shift=numbers.randrange(20),
            a=numbers.randrange(2**31), b=numbers.randrange(2**31), c=numbers.randrange(1, 999), d=numbers.randrange(1, 99)))
    parts.append(C_TAIL.format(last=functions - 1))
    return ''.join(parts)


def cxx_source(pieces):
    """A C++ file with that many classes that instantiate containers, closures and exceptions."""
    numbers = random.Random(2024)
    parts = [CXX_HEAD]
    parts += [CXX_PIECE.format(n=n, a=numbers.randrange(1, 99_999), b=numbers.randrange(1, 999)) for n in range(pieces)]
    calls = ' + '.join(f'use_{n}({n})' for n in range(pieces))
    parts.append('\nint main() { std::cout << ' + calls + ' << "\\n"; }\n')
    return ''.join(parts)
