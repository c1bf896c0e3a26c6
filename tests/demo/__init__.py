"""The demo: from nothing to a spoken conversation, as a user would get there."""
