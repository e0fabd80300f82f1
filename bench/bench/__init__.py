"""Lets ``python bench/NAME.py`` do what ``python -m bench.NAME`` does.

A script's own folder is the first on the path. There, ``import bench`` finds this package, which puts the
project in the folder's place and stands for the folder itself. With ``-m`` it is never imported.
"""

import sys
from pathlib import Path

_BENCH = Path(__file__).parents[1]

if Path(sys.path[0]).resolve() == _BENCH:
    sys.path[0] = str(_BENCH.parent)
__path__ = [str(_BENCH)]
