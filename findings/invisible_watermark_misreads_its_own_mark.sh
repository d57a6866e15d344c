#!/usr/bin/env bash
# invisible-watermark: in a picture of one colour, its decoder often reads other bits than its encoder has just written.
#
# Versions: invisible-watermark 0.2.0, opencv-python-headless 5.0.0.93, PyWavelets 1.9.0, numpy 2.4.6, Python 3.11.
#
# Behaviour: the method `dwtDct` writes a bit into one coefficient of a 4x4 block of the smooth band: the largest, which it moves to a quarter or
# three quarters of a step of 36. The decoder looks for the largest one again. Where the block is flat, all its coefficients are alike; the
# written one can be moved down, and then a neighbour that carries nothing is the largest and is read instead. That is so for every block of
# such a colour, so that no majority helps: all bits come out as ones, or all as noughts. Pure white and pure blue fail for a second reason:
# the chroma that the mark needs cannot be shown, and clipping removes it. Of 216 colours over the cube fewer than half give back their eight
# bits; the two commonest wrong answers are all ones and all noughts. No step lies between writing and reading: no file, no compression.
#
# Why it matters: line art, slides, logos and white backgrounds of marked generators may read as unmarked or as another mark, and a missing
# mark says nothing there. Constant answers such as all ones should never count as a hit, whatever mark is looked for.
# The script loads the module of this method alone, as the package imports PyTorch for another one.
#
# Output seen (written 01101001):
#   grey          01101001
#   red           01101001
#   white         00000000
#   blue          00000000
#   slate         11111111
#   216 colours:  94 read rightly, 103 as all ones, 19 as all noughts
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-deps invisible-watermark==0.2.0 opencv-python-headless==5.0.0.93 pywavelets==1.9.0 numpy==2.4.6 \
    2> /dev/null
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import collections
import importlib.util
import itertools
import sysconfig

import numpy as np

spec = importlib.util.spec_from_file_location("max_dct", sysconfig.get_path("purelib") + "/imwatermark/maxDct.py")
max_dct = importlib.util.module_from_spec(spec)
spec.loader.exec_module(max_dct)

BITS = "01101001"


def read_back(colour: tuple[int, int, int]) -> str:
    """Return the bits read from a picture of this colour (red, green, blue) right after they were written."""
    flat = np.full((256, 256, 3), colour[::-1], np.uint8)
    marked = max_dct.EmbedMaxDct([int(bit) for bit in BITS], wmLen=len(BITS)).encode(flat)
    return "".join(str(int(bit)) for bit in max_dct.EmbedMaxDct(wmLen=len(BITS)).decode(marked))


colours = {"grey": (128, 128, 128), "red": (255, 0, 0), "white": (255, 255, 255), "blue": (0, 0, 255), "slate": (128, 128, 150)}
answers = {name: read_back(colour) for name, colour in colours.items()}
for name, bits in answers.items():
    print(f"{name:<13} {bits}")
counts = collections.Counter(read_back(colour) for colour in itertools.product(range(0, 256, 51), repeat=3))
right, ones, noughts = counts[BITS], counts["1" * 8], counts["0" * 8]
print(f"{counts.total()} colours:  {right} read rightly, {ones} as all ones, {noughts} as all noughts")
expected = {"grey": BITS, "red": BITS, "white": "0" * 8, "blue": "0" * 8, "slate": "1" * 8}
assert answers == expected and right < 108 and ones > 50, "the behaviour has changed"
PYTHON
