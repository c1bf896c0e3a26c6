"""What holds for every test.

Bytecode is written even where the environment asks for none (PYTHONDONTWRITEBYTECODE).

Without it each process of a run compiles the libraries and rewrites the tests' assertions again, which is half of what
collecting the unit tests costs. Processes that tests and pytest-xdist start inherit it.
"""

import os
import sys

from hypothesis import HealthCheck, settings

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# How long an example takes says how busy the machine is, and nothing of the code.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
