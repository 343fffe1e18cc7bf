"""The exact optimum over chains of candidate sizes: which classes cost least, at most so many of them.

A chain 0 = c(0) < c(1) < ... < c(k) = last costs the sum of its edges; the edge from i to j is a class at j that serves all
requests above i:

    edge(i, j) = rate(j) * (count(j) - count(i)) - (bytes(j) - bytes(i)) + price(j)

with count and bytes summed over all requests up to a candidate. It is defined for lowest(j) <= i < j. For i < i' < j < j'

    edge(i, j) + edge(i', j') <= edge(i, j') + edge(i', j)        (Monge's condition)

because the difference is (rate(j') - rate(j)) * (count(i') - count(i)), and neither rates nor counts fall. It holds with
undefined edges taken as infinite, too, since lowest never falls: if edge(i, j') is defined, all four are. From this follow

* for each j the best i never moves back as j grows, so that one queue finds the best chain of any length (cheapest_chain);
* the least cost C(k) of exactly k classes is convex in k. So for every K there is an integer surcharge per class under
  which a best chain of any length has K classes, between C(K) - C(K+1) and C(K-1) - C(K);
* two chains that are best under the same surcharge, one with more and one with fewer than K classes, can be spliced into
  one with exactly K that is best as well (splice).

The costs are doubled and surcharges are odd here: no two lengths are then equally good, because the difference of C at
neighbours is even. All numbers are integers, so there are no ties of rounding, and the result is the same everywhere.
"""

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Problem:
    """The lists by candidate; index 0 is "no class yet". `rates`, `counts` and `lowest` never fall."""

    rates: list
    counts: list
    sums: list
    prices: list
    lowest: list


def make_problem(candidates, requests, prices, byte_unit):
    """`requests` have the size that is needed, the size asked for, and a weight."""
    weights = [0] * len(candidates.sizes)
    weighted = [0] * len(candidates.sizes)
    for request in requests:
        index = bisect_left(candidates.sizes, request.needed)
        weights[index] += request.weight
        weighted[index] += request.weight * request.size * byte_unit
    return Problem(candidates.rates, list(accumulate(weights)), list(accumulate(weighted)), prices, candidates.lowest)


def chain_cost(problem, chain):
    """The cost of the classes in `chain`, which ascends and does not contain the 0."""
    total = 0
    before = 0
    for index in chain:
        total += (problem.rates[index] * (problem.counts[index] - problem.counts[before])
                  - (problem.sums[index] - problem.sums[before]) + problem.prices[index])
        before = index
    return total


def cheapest_chain(problem, surcharge):
    """A chain of least 2 * cost + surcharge * classes.

    `queue` holds the candidates that are the best predecessor of some later one, oldest first; start[n] is the first
    candidate for which queue[n] is better than those before it.
    """
    rates, counts, sums = problem.rates, problem.counts, problem.sums
    size = len(rates)
    expiry = expiries(problem.lowest)
    parent = [0] * size
    # The least cost of a chain up to each candidate, without `sums`: of them, every chain subtracts the same.
    carried = [0] * size
    queue = [0]
    start = [1]
    head = 0
    for index in range(1, size):
        while head + 1 < len(queue) and start[head + 1] <= index:
            head += 1
        best = queue[head]
        parent[index] = best
        carried[index] = own = (carried[best] + 2 * rates[index] * (counts[index] - counts[best])
                                + 2 * problem.prices[index] + surcharge)
        while True:
            last = queue[-1]
            takeover = expiry[last]
            more = counts[index] - counts[last]
            if more:
                rate = -((carried[last] - own) // (2 * more))
                takeover = bisect_left(rates, rate, index + 1, max(takeover, index + 1))
            elif own <= carried[last]:
                takeover = index + 1
            if takeover > start[-1]:
                break
            # Never the head, whose turn has begun.
            queue.pop()
            start.pop()
        if takeover < size:
            queue.append(index)
            start.append(takeover)
    return trace(parent)


def expiries(lowest):
    """For each candidate the first one that it may not precede any more."""
    size = len(lowest)
    expiry = [size] * size
    done = 0
    for index in range(1, size):
        while done < lowest[index]:
            expiry[done] = index
            done += 1
    return expiry


def trace(parent):
    chain = []
    index = len(parent) - 1
    while index > 0:
        chain.append(index)
        index = parent[index]
    return chain[::-1]


def best_chain(problem, most):
    """A chain of least cost with at most `most` classes; there has to be one."""
    low, low_chain = 1, cheapest_chain(problem, 1)
    if len(low_chain) <= most:
        return low_chain
    high, high_chain = cheap_enough(problem, most, low, low_chain)
    while len(high_chain) < most and high - low > 2:
        middle = next_surcharge(low, len(low_chain), high, most)
        chain = cheapest_chain(problem, middle)
        if len(chain) > most:
            low, low_chain = middle, chain
        else:
            high, high_chain = middle, chain
    if len(high_chain) == most:
        return high_chain
    # Both are best under the even surcharge between the two.
    return splice(high_chain, low_chain, most)


def cheap_enough(problem, most, low, low_chain):
    """An odd surcharge under which at most `most` classes are best, and the chain."""
    count = len(low_chain)
    high = low
    while True:
        high = high * 64 * max(count // most, 1) ** 2 | 1
        chain = cheapest_chain(problem, high)
        if len(chain) <= most:
            return high, chain


def next_surcharge(low, low_count, high, most):
    """An odd number between two odd ones.

    Where many classes are used up their number falls about with the root of the surcharge, which gives a good guess; it
    is kept within the middle half (by digits) of what is open, so that the search always ends soon.
    """
    bits = high.bit_length() - low.bit_length()
    guess = low * low_count * low_count // (most * most)
    least = low << (bits // 4) if bits >= 4 else low + (high - low) // 4
    greatest = high >> (bits // 4) if bits >= 4 else high - (high - low) // 4
    return min(max(min(max(guess, least), greatest) | 1, low + 2), high - 2)


def splice(few, many, wanted):
    """Two best chains with fewer and with more classes make one with `wanted`, which is as good.

    The beginning of the longer one and the end of the shorter one, changed over where an edge of the longer lies within
    the edge of the shorter that is (wanted - len(few)) places before it. Such a place exists, since both chains have the
    same ends. The other beginning and the other end make a chain, too, and by Monge's condition these two cost no more
    than those they were made of: neither can be worse.
    """
    few = [0] + few
    many = [0] + many
    ahead = wanted - (len(few) - 1)
    for place in range(len(few) - 1):
        if few[place] <= many[place + ahead] and many[place + ahead + 1] <= few[place + 1]:
            return many[1:place + ahead + 1] + few[place + 1:]
    raise AssertionError("two best chains must cross")
