"""A real Kubernetes on one Linux machine, for the tests and the demo.

The control plane runs in the machine's own network namespace; every node is a network and a mount namespace with a
container runtime, kubelet and kube-proxy of its own, joined by a switch:

    root namespace          etcd, API server, controllers, scheduler           10.89.0.1
    node-1                  containerd, kubelet, kube-proxy, pods 10.244.1.0/24    10.89.0.11
    node-2                  containerd, kubelet, kube-proxy, pods 10.244.2.0/24    10.89.0.12

`python -m tests.cluster up` brings it up or heals it, `down` takes every trace of it away.
"""
