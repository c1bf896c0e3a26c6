"""Property tests try few examples each time: the suite is run after every change, so it sees many all the same."""

from hypothesis import settings

settings.register_profile("operator", max_examples=40, deadline=None)
settings.load_profile("operator")
