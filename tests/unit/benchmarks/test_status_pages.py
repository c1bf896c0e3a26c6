"""The status pages that stand for agent pods: the operator understands them, each at an address of its own."""

from ipaddress import ip_address

from livekit_operator.clients.worker import parse_status
from tests.benchmarks.status_pages import address_of, status_of


def test_the_operator_understands_a_page_as_a_pod_with_calls() -> None:
    status = parse_status(status_of(7, 2))
    assert (status.registered, status.sessions, status.provider_errors) == (True, 2, ())
    assert [(job.id, job.room) for job in status.jobs or ()] == [("AJ_7-0", "room-7-0"), ("AJ_7-1", "room-7-1")]


def test_every_page_has_a_loopback_address_of_its_own() -> None:
    addresses = {address_of(number) for number in range(1000)}
    assert len(addresses) == 1000
    assert all(ip_address(address).is_loopback for address in addresses)
