"""The optimum of class_plan.py against all subsets, on small random problems."""

import itertools
import os
import random
import unittest
import unittest.mock

import samples  # noqa: F401  sets the path
import class_plan

PROBLEMS = 1500
SEED = int(os.environ.get("TIERMALLOC_SEED", "20"))


def ascending(chance, count, most):
    return sorted(chance.randint(0, most) for _ in range(count))


def random_problem(chance):
    """Few distinct numbers half of the time, so that many chains are equally good."""
    size = chance.randint(2, 10)
    most = chance.choice((2, 1000))
    lowest = [0]
    for index in range(1, size):
        lowest.append(chance.randint(lowest[-1], index - 1) if chance.random() < 0.4 else lowest[-1])
    price = chance.randint(0, most)
    prices = [price if chance.random() < 0.5 else chance.randint(0, 20 * most) for _ in range(size)]
    return class_plan.Problem(ascending(chance, size, 5 * most), [0] + ascending(chance, size - 1, most),
                              [0] + ascending(chance, size - 1, most), prices, lowest)


def is_chain(problem, chain):
    return all(problem.lowest[index] <= before < index for before, index in zip((0,) + chain, chain))


def least_costs(problem):
    """For each number of classes the least cost of all chains with so many."""
    last = len(problem.rates) - 1
    least = {}
    for count in range(last):
        for inner in itertools.combinations(range(1, last), count):
            chain = inner + (last,)
            if is_chain(problem, chain):
                value = class_plan.chain_cost(problem, chain)
                least[count + 1] = min(least.get(count + 1, value), value)
    return least


class PlanTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        print(f"TIERMALLOC_SEED={SEED}")
        chance = random.Random(SEED)
        cls.problems = [random_problem(chance) for _ in range(PROBLEMS)]

    def test_cost_of_a_chain(self):
        problem = class_plan.Problem([0, 10, 25, 40], [0, 2, 2, 5], [0, 20, 20, 80], [0, 3, 4, 5], [0] * 4)
        # Classes at 1 and 3: two objects of 10 less 20 bytes, three of 40 less 60, and two prices.
        self.assertEqual(class_plan.chain_cost(problem, [1, 3]), 2 * 10 - 20 + 3 + 3 * 40 - 60 + 5)

    def test_optimum_for_every_number(self):
        for problem in self.problems:
            least = least_costs(problem)
            for most in range(min(least), max(least) + 2):
                chain = tuple(class_plan.best_chain(problem, most))
                self.assertTrue(is_chain(problem, chain), (problem, chain))
                self.assertLessEqual(len(chain), most)
                self.assertEqual(class_plan.chain_cost(problem, chain),
                                 min(value for count, value in least.items() if count <= most), (problem, most))

    def test_best_under_a_surcharge(self):
        for problem in self.problems:
            least = least_costs(problem)
            for surcharge in (1, 7, 101, 100001):
                chain = class_plan.cheapest_chain(problem, surcharge)
                self.assertEqual(2 * class_plan.chain_cost(problem, chain) + surcharge * len(chain),
                                 min(2 * value + surcharge * count for count, value in least.items()))

    def test_least_costs_are_convex(self):
        """What the search for a surcharge relies on."""
        for problem in self.problems:
            least = least_costs(problem)
            self.assertEqual(sorted(least), list(range(min(least), max(least) + 1)))
            for count in range(min(least) + 1, max(least)):
                self.assertLessEqual(2 * least[count], least[count - 1] + least[count + 1], problem)

    def test_jumps_are_spliced(self):
        """Steps that save alike: one surcharge makes the best number of classes jump, and what lies between is spliced."""
        rates = [10 * index for index in range(12)]
        counts = [4 * (index // 2) for index in range(12)]
        problem = class_plan.Problem(rates, counts, [0] * 12, [5] * 12, [0] * 12)
        least = least_costs(problem)
        with unittest.mock.patch.object(class_plan, "splice", wraps=class_plan.splice) as splice:
            for most in range(1, 7):
                chain = class_plan.best_chain(problem, most)
                self.assertEqual(class_plan.chain_cost(problem, chain), min(least[count] for count in range(1, most + 1)))
        self.assertGreater(splice.call_count, 0)


if __name__ == "__main__":
    unittest.main()
