"""The way out of the cluster, for agents that call real providers. There is none unless it is asked for.

    names   pod > the cluster's DNS > relay at 10.89.0.1:10053 in the root namespace > the machine's resolvers
    packets pod > node > lkop0 > root namespace, which forwards and masquerades > outside

The names take a relay because a machine's resolver is often on loopback (systemd-resolved, dnsmasq), where no pod can
reach it. Only what leaves the cluster's networks is masqueraded, and nobody outside may open a connection into them.
"""

import shutil
import socket
from pathlib import Path

from tests.cluster import addresses, cgroups, layout, processes, progress, tools, waiting
from tests.cluster.commands import run, succeeds
from tests.cluster.network import HOST_LINK
from tests.cluster.processes import Program

# Not 53 or 5353: the machine may serve DNS or mDNS itself.
_RELAY_PORT = 10053
RELAY = f"{addresses.HOST}:{_RELAY_PORT}"

_RELAY_NAME = "dns-relay"
_RELAY_COREFILE = layout.DATA / "relay.Corefile"
_RESOLVERS = Path("/etc/resolv.conf")
_TABLE = "livekit-operator-egress"
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
# Exists while the machine forwards only because of us; lost at a reboot, like the setting itself.
_FORWARDING_IS_OURS = layout.RUN / "forwarding-is-ours"
_FILTER_EXCEPTIONS = (
    ("-i", HOST_LINK, "-j", "ACCEPT"),
    ("-o", HOST_LINK, "-m", "conntrack", "--ctstate", "RELATED,ESTABLISHED", "-j", "ACCEPT"),
)


def ensure() -> None:
    """Open the way out, or bring it up to date with the machine's resolvers."""
    with progress.step("egress") as step:
        # Rules before forwarding: nothing is forwarded unfiltered.
        _replace_table(ruleset())
        _pass_filter()
        if _FORWARDING.read_text().strip() == "0":
            _FORWARDING_IS_OURS.touch()
            _FORWARDING.write_text("1")
        relay = _relay()
        processes.ensure(relay)

        def answers() -> bool:
            processes.require(relay)
            return _accepts(_RELAY_PORT)

        waiting.wait_for("DNS relay", answers, 30, logs=[relay.log])
        step.result = "on: pods reach what this machine reaches"


def remove() -> None:
    """Close the way out, whatever is left of it."""
    if _FORWARDING_IS_OURS.exists():
        _FORWARDING.write_text("0")
        _FORWARDING_IS_OURS.unlink()
    processes.stop(_RELAY_NAME)
    _RELAY_COREFILE.unlink(missing_ok=True)
    for rule in _FILTER_EXCEPTIONS:
        while succeeds("iptables", "--wait", "-D", "FORWARD", *rule):
            pass
    # A machine without it, where no cluster ever was, has nothing to remove.
    if shutil.which("nft"):
        _replace_table("")


def ruleset() -> str:
    """The nftables rules that let the cluster's packets out, in a table of their own."""
    cluster = f"{{ {addresses.MACHINES}, {addresses.PODS}, {addresses.SERVICES} }}"
    return f"""\
table ip {_TABLE} {{
    chain forward {{
        type filter hook forward priority filter; policy accept;
        # For a node that is gone: the default route would carry it out.
        iifname "{HOST_LINK}" oifname != "{HOST_LINK}" ip daddr {cluster} drop
        # A machine that forwards does so in both directions.
        iifname != "{HOST_LINK}" oifname "{HOST_LINK}" ct state new drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname != "{HOST_LINK}" ip saddr {{ {addresses.MACHINES}, {addresses.PODS} }} ip daddr != {cluster} masquerade
    }}
}}
"""


def _replace_table(text: str) -> None:
    # One transaction. Declared first, so that there is a table to delete.
    run("nft", "-f", "-", stdin=f"table ip {_TABLE}\ndelete table ip {_TABLE}\n{text}")


def _pass_filter() -> None:
    """Except the cluster's packets from a filter that drops what it does not know, such as Docker's.

    What one table drops no other can accept, so this takes rules in the very chain; a chain that accepts gets none.
    """
    if "-P FORWARD DROP" not in run("iptables", "--wait", "-S", "FORWARD"):
        return
    for rule in _FILTER_EXCEPTIONS:
        if not succeeds("iptables", "--wait", "-C", "FORWARD", *rule):
            run("iptables", "--wait", "-I", "FORWARD", *rule)


def _relay() -> Program:
    text = f".:{_RELAY_PORT} {{\n    bind {addresses.HOST}\n    errors\n    forward . {_RESOLVERS}\n}}\n"
    _RELAY_COREFILE.write_text(text)
    return Program(
        name=_RELAY_NAME,
        argv=(str(tools.path("coredns")), "-conf", str(_RELAY_COREFILE)),
        cgroup_procs=cgroups.procs_files(cgroups.CONTROL_PLANE),
        # It reads the resolvers once.
        configuration=text + _RESOLVERS.read_text(),
    )


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((str(addresses.HOST), port), timeout=1).close()
    except OSError:
        return False
    return True
