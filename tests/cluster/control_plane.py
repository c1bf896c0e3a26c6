"""The control plane: etcd, API server, controllers and scheduler, in the machine's own network namespace."""

from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.cluster import addresses, certificates, cgroups, kubeconfigs, layout, processes, progress, tools, waiting
from tests.cluster.commands import run
from tests.cluster.errors import ClusterError
from tests.cluster.processes import Program

ETCD = "/usr/bin/etcd"
# Half a minute until a silent node counts as lost, and again until its pods are moved: node loss is something tests
# do, and Kubernetes' own defaults (50 s and 300 s) are for networks that stutter.
_NODE_GRACE_SECONDS = 30
_EVICTION_SECONDS = 30


@dataclass(frozen=True)
class ApiServerFiles:
    """What an API server reads: PEM files."""

    certificate: Path
    key: Path
    authority: Path
    accounts_key: Path
    accounts_public_key: Path


def start() -> None:
    """Start etcd and the API server if they do not run, without waiting for them."""
    with progress.step("control plane") as step:
        certificates.ensure_authority()
        certificates.ensure(
            [
                certificates.ADMIN,
                certificates.API_SERVER,
                certificates.API_SERVER_TO_KUBELETS,
                certificates.CONTROLLER_MANAGER,
                certificates.SCHEDULER,
                certificates.PROXY,
            ]
        )
        kubeconfigs.ensure_admin()
        cgroups.ensure(cgroups.CONTROL_PLANE)
        cgroups.weigh(cgroups.ROOT, cgroups.WEIGHT)
        started = [program.name for program in (_etcd(), _api_server()) if processes.ensure(program)]
        step.result = f"started {' and '.join(started)}" if started else "running already"


def wait_until_ready() -> None:
    """Wait for the API server, then start what needs it."""
    with progress.step("API server") as step:
        api_server = _api_server()

        def ready() -> bool:
            processes.require(_etcd())
            processes.require(api_server)
            return is_ready()

        waiting.wait_for("API server ready", ready, 120, logs=[api_server.log])
        step.result = f"ready at {addresses.api_server_url()}"
    with progress.step("controllers and scheduler") as step:
        started = [program.name for program in (_controller_manager(), _scheduler()) if processes.ensure(program)]
        step.result = f"started {' and '.join(started)}" if started else "running already"


def restart_api_server() -> None:
    """End the API server without grace, as a crash does, and wait until it is back; nothing else is touched."""
    program = _api_server()
    processes.stop(program.name, grace=0)
    processes.ensure(program)

    def ready() -> bool:
        processes.require(program)
        return is_ready()

    waiting.wait_for("API server ready", ready, 60, logs=[program.log])


def require() -> None:
    """Fail, with the end of its log, when one of the control plane's programs has ended."""
    for program in (_etcd(), _api_server(), _controller_manager(), _scheduler()):
        processes.require(program)


def has_strangers() -> bool:
    """Whether a process runs in the control plane's cgroup that has no record."""
    recorded = {processes.pid(name) for name in processes.alive()}
    return not recorded.issuperset(cgroups.members(cgroups.CONTROL_PLANE))


def is_ready() -> bool:
    """Whether the API server says that it is ready."""
    try:
        # Not `kubectl`'s retries: the caller has its own.
        kubectl("get", "--raw", "/readyz", timeout=5)
    except ClusterError:
        return False
    return True


def kubectl(*arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
    """Run kubectl against this cluster, whatever the environment says."""
    return run(tools.path("kubectl"), "--kubeconfig", layout.KUBECONFIG, *arguments, stdin=stdin, timeout=timeout)


def _program(name: str, *arguments: str) -> Program:
    return Program(
        name=name,
        argv=(str(tools.path(name)), *arguments),
        cgroup_procs=cgroups.procs_files(cgroups.CONTROL_PLANE),
    )


def etcd_arguments(folder: Path, client_port: int, peer_port: int) -> tuple[str, ...]:
    """The command line of an etcd with its data in a folder; loopback only, so that no pod reaches it."""
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    return (
        ETCD,
        "--name=local",
        f"--data-dir={folder}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=local={peer}",
        # What a power cut would lose is thrown away anyway.
        "--unsafe-no-fsync",
    )


def api_server_arguments(etcd_port: int, address: IPv4Address, port: int, pki: ApiServerFiles) -> tuple[str, ...]:
    """The flags of an API server without nodes: where it listens, whom it knows and what it lets in."""
    return (
        f"--etcd-servers=http://127.0.0.1:{etcd_port}",
        f"--bind-address={address}",
        f"--advertise-address={address}",
        f"--secure-port={port}",
        f"--tls-cert-file={pki.certificate}",
        f"--tls-private-key-file={pki.key}",
        f"--client-ca-file={pki.authority}",
        f"--service-account-issuer=https://kubernetes.default.svc.{addresses.CLUSTER_DOMAIN}",
        f"--service-account-key-file={pki.accounts_public_key}",
        f"--service-account-signing-key-file={pki.accounts_key}",
        f"--service-cluster-ip-range={addresses.SERVICES}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged",
    )


def _etcd() -> Program:
    return Program(
        name="etcd",
        argv=etcd_arguments(layout.DATA / "etcd", addresses.ETCD_CLIENT_PORT, addresses.ETCD_PEER_PORT),
        cgroup_procs=cgroups.procs_files(cgroups.CONTROL_PLANE),
    )


def _api_server() -> Program:
    server, client = certificates.API_SERVER, certificates.API_SERVER_TO_KUBELETS
    files = ApiServerFiles(
        certificate=server.certificate,
        key=server.key,
        authority=certificates.CA,
        accounts_key=certificates.SERVICE_ACCOUNT_KEY,
        accounts_public_key=certificates.SERVICE_ACCOUNT_PUBLIC_KEY,
    )
    return _program(
        "kube-apiserver",
        *api_server_arguments(addresses.ETCD_CLIENT_PORT, addresses.HOST, addresses.API_SERVER_PORT, files),
        f"--kubelet-certificate-authority={certificates.CA}",
        f"--kubelet-client-certificate={client.certificate}",
        f"--kubelet-client-key={client.key}",
        # The machine resolves no node's name.
        "--kubelet-preferred-address-types=InternalIP",
        # Webhooks are called at their pods: the machine's way to service addresses leads through one node.
        "--enable-aggregator-routing",
        f"--default-not-ready-toleration-seconds={_EVICTION_SECONDS}",
        f"--default-unreachable-toleration-seconds={_EVICTION_SECONDS}",
    )


def _controller_manager() -> Program:
    kubeconfig = kubeconfigs.ensure(certificates.CONTROLLER_MANAGER)
    return _program(
        "kube-controller-manager",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--use-service-account-credentials",
        f"--root-ca-file={certificates.CA}",
        f"--service-account-private-key-file={certificates.SERVICE_ACCOUNT_KEY}",
        f"--cluster-signing-cert-file={certificates.CA}",
        f"--cluster-signing-key-file={certificates.CA_KEY}",
        f"--cluster-cidr={addresses.PODS}",
        # A node's share follows from its number instead, so that routes stand before the node registers.
        "--allocate-node-cidrs=false",
        f"--node-monitor-grace-period={_NODE_GRACE_SECONDS}s",
    )


def _scheduler() -> Program:
    kubeconfig = kubeconfigs.ensure(certificates.SCHEDULER)
    return _program(
        "kube-scheduler",
        f"--kubeconfig={kubeconfig}",
        f"--authentication-kubeconfig={kubeconfig}",
        f"--authorization-kubeconfig={kubeconfig}",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
    )
