"""Random choices from a seed."""

import random


class Draw:
    """What the generators of the tests draw from: the same seed, the same case."""

    def __init__(self, seed):
        self._random = random.Random(seed)

    def pick(self, values):
        return values[int(self._random.random() * len(values))]

    def weighted(self, *pairs):
        """One of several values, each as often as its weight says."""
        place = self._random.random() * sum(weight for _, weight in pairs)
        for value, weight in pairs:
            place -= weight
            if place < 0:
                return value
        return pairs[-1][0]

    def chance(self, count):
        """True one time in `count`."""
        return self._random.random() * count < 1

    def number(self, least, greatest):
        return least + int(self._random.random() * (greatest - least + 1))

    def some(self, values, most):
        """Up to `most` different ones of them."""
        return self._random.sample(values, min(self.number(0, most), len(values)))

    def distinct(self, values, count):
        return self._random.sample(values, count)

    def octets(self, count):
        return self._random.randbytes(count)
