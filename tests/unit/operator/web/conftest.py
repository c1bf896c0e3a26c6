"""A door for each test."""

from tests.unit.operator.web.door import door as door  # a fixture
