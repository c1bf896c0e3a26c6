"""Who refers to whom, whatever the links mean."""

from livekit_operator.reconciling.links import Link, Users

HOUSE: Link = ("house", ("team", "a"))
STREET: Link = ("street", "team")


def test_a_link_leads_to_those_that_have_it() -> None:
    users = Users()
    users.put("Cat", ("team", "tom"), [HOUSE])
    users.put("Dog", ("team", "rex"), [HOUSE, STREET])
    assert users.of(HOUSE) == [("Cat", ("team", "tom")), ("Dog", ("team", "rex"))]
    assert users.of(STREET) == [("Dog", ("team", "rex"))]
    assert users.of(("house", ("team", "b"))) == []
    assert users.of(("street", ("team", "a"))) == [], "another link to the same"


def test_who_has_several_of_the_links_is_named_once() -> None:
    users = Users()
    users.put("Dog", ("team", "rex"), [HOUSE, STREET])
    users.put("Dog", ("team", "ace"), [STREET])
    assert users.of(HOUSE, STREET) == [("Dog", ("team", "ace")), ("Dog", ("team", "rex"))]
    assert users.keys_of(HOUSE, STREET) == [("team", "ace"), ("team", "rex")]


def test_a_changed_resource_is_known_by_its_new_links_only() -> None:
    users = Users()
    users.put("Cat", ("team", "tom"), [HOUSE])
    users.put("Cat", ("team", "tom"), [STREET])
    assert users.of(HOUSE) == []
    assert users.keys_of(STREET) == [("team", "tom")]


def test_one_that_is_gone_is_known_by_none() -> None:
    users = Users()
    users.put("Cat", ("team", "tom"), [HOUSE, STREET])
    users.remove("Cat", ("team", "tom"))
    users.remove("Cat", ("team", "tom"))
    assert users.of(HOUSE, STREET) == []
