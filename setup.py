"""Everything is in setup.cfg. This tells those who cannot install hydrart so, before pip looks for what it needs."""

import sys

from setuptools import setup

if sys.maxsize < 2**32:
    sys.exit("hydrart needs a 64-bit Python, for which Numba exists: on a Raspberry Pi install the 64-bit system")
setup()
