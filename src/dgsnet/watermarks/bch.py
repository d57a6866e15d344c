"""The code of TrustMark's 100 bits: which 96 of them are a word of a shortened BCH code over GF(2^7), and how many had to be mended.

TrustMark (https://github.com/adobe/trustmark, python/trustmark/datalayer.py) writes payload, check bits and four bits that name the schema.
The codes are binary and of length 127, of the field of x^7 + x^3 + 1; they mend up to `mends` bits. Decoding is by syndromes, the algorithm
of Berlekamp and Massey, and a search of all roots (S. Lin and D. J. Costello, Error Control Coding, 2nd edition, sections 6.2 and 6.3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

_FIELD = 127
_POLYNOMIAL = 0b10001001

_POWERS = [1]
for _ in range(_FIELD - 1):
    _POWERS.append(_POWERS[-1] << 1 ^ (_POLYNOMIAL if _POWERS[-1] & 64 else 0))
_LOGARITHMS = {value: power for power, value in enumerate(_POWERS)}


def _times(left: int, right: int) -> int:
    return _POWERS[(_LOGARITHMS[left] + _LOGARITHMS[right]) % _FIELD] if left and right else 0


@dataclass(frozen=True)
class Code:
    """A code that mends up to `mends` bits of words of `data` payload bits and the check bits that follow them."""

    name: str
    data: int
    mends: int

    @property
    def checks(self) -> int:
        """Return the number of check bits."""
        return self._generator.bit_length() - 1

    @property
    def length(self) -> int:
        """Return the bits of a word: payload and check bits."""
        return self.data + self.checks

    def encode(self, payload: int) -> int:
        """Return the word of a payload, as a number whose first bit is the highest."""
        rest = payload << self._padding + self.checks
        while rest.bit_length() > self.checks:
            rest ^= self._generator << rest.bit_length() - self.checks - 1
        return payload << self.checks | rest

    def mend(self, word: int) -> tuple[int, int] | None:
        """Return the payload of a word and how many of its bits were wrong; None where no word of the code is near enough."""
        checked = word & (1 << self.checks) - 1
        whole = word >> self.checks << self._padding + self.checks | checked
        locator = _locator([self._syndrome(whole, power) for power in range(1, 2 * self.mends + 1)])
        wrong = [place for place in range(self.length + self._padding) if not _value(locator, _POWERS[-place % _FIELD])]
        padded = range(self.checks, self.checks + self._padding)
        if len(wrong) > self.mends or len(wrong) != len(locator) - 1 or any(place in padded for place in wrong):
            return None
        for place in wrong:
            whole ^= 1 << place
        return whole >> self._padding + self.checks, len(wrong)

    @property
    def _padding(self) -> int:
        """Return the zeros that the payload is filled up with to whole bytes before its check bits are computed; they are not stored."""
        return -self.data % 8

    @staticmethod
    def _syndrome(word: int, power: int) -> int:
        found = 0
        while word:
            place = word.bit_length() - 1
            found ^= _POWERS[place * power % _FIELD]
            word ^= 1 << place
        return found

    @cached_property
    def _generator(self) -> int:
        """Return the product of the minimal polynomials of the odd powers below 2 t, each once, as bits."""
        roots = {odd * 2**double % _FIELD for odd in range(1, 2 * self.mends, 2) for double in range(7)}
        product = [1]
        for root in sorted(roots):
            product = [_times(low, _POWERS[root]) ^ high for low, high in zip([*product, 0], [0, *product], strict=True)]
        return sum(bit << place for place, bit in enumerate(product))


def _locator(syndromes: list[int]) -> list[int]:
    """Return the error locator, lowest first, of which the inverses of the wrong places' powers are the roots."""
    current, former, shift, last = [1], [1], 1, 1
    degree = 0
    for step, syndrome in enumerate(syndromes):
        differs = syndrome
        for place in range(1, min(degree, len(current) - 1) + 1):
            differs ^= _times(current[place], syndromes[step - place])
        if not differs:
            shift += 1
            continue
        factor = _POWERS[(_LOGARITHMS[differs] - _LOGARITHMS[last]) % _FIELD]
        added = [0] * shift + [_times(factor, value) for value in former]
        width = max(len(current), len(added))
        summed = [(current[place] if place < len(current) else 0) ^ (added[place] if place < len(added) else 0) for place in range(width)]
        if 2 * degree <= step:
            former, last, shift, degree = current, differs, 1, step + 1 - degree
        else:
            shift += 1
        current = summed
    while len(current) > 1 and not current[-1]:
        current.pop()
    return current


def _value(polynomial: list[int], at: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = _times(value, at) ^ coefficient
    return value


CODES = {0: Code("BCH_SUPER", 40, 8), 1: Code("BCH_5", 61, 5), 2: Code("BCH_4", 68, 4), 3: Code("BCH_3", 75, 3)}
"""By the number in the last two bits."""
