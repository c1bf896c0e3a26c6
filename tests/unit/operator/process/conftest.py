"""An operator for each test."""

from tests.unit.operator.process.operators import operator as operator  # a fixture
