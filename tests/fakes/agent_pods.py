"""All that the fields of a pool say of its pods, as the manifest of a Deployment may have it."""

from typing import Any

from tests.fakes import manifests

EVERYTHING: dict[str, Any] = {
    "agent": manifests.own_agent(
        envFrom=[{"secretRef": {"name": "keys"}}, {"configMapRef": {"name": "settings"}}],
        imagePullPolicy="Always",
        env=[{"name": "HOME", "value": "/home/app"}],
        securityContext={
            "runAsUser": 2000,
            "runAsGroup": 0,
            "readOnlyRootFilesystem": False,
            "privileged": False,
            "allowPrivilegeEscalation": False,
            "runAsNonRoot": True,
            "capabilities": {"drop": ["NET_RAW"], "add": ["NET_BIND_SERVICE"]},
            "seccompProfile": {"type": "Localhost", "localhostProfile": "voice.json"},
            "appArmorProfile": {"type": "RuntimeDefault"},
            "seLinuxOptions": {"type": "container_t", "level": "s0:c1"},
        },
    ),
    "resources": {"requests": {"cpu": 0.5, "memory": "1Gi"}, "limits": {"nvidia.com/gpu": 1}},
    "podTemplate": {
        "annotations": {"kubectl.kubernetes.io/restartedAt": "2026-03-01T12:00:00Z"},
        "serviceAccountName": "booking",
        "automountServiceAccountToken": True,
        "runtimeClassName": "nvidia",
        "hostAliases": [{"ip": "10.0.0.1", "hostnames": ["crm"]}],
        "dnsPolicy": "ClusterFirst",
        "dnsConfig": {"options": [{"name": "ndots", "value": "2"}]},
        "securityContext": {"fsGroup": 3000, "supplementalGroups": [7], "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
            {"name": "cache", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": ["ReadWriteOnce"]}}}},
        ],
        "volumeMounts": [{"name": "cache", "mountPath": "/home/app/.cache"}],
        "initContainers": [
            {
                "name": "models",
                "image": "example/models:3",
                "envFrom": [{"secretRef": {"name": "keys"}}],
                "volumeMounts": [{"name": "models", "mountPath": "/models"}],
            },
            {
                "name": "sql",
                "image": "example/sql-proxy:2",
                "restartPolicy": "Always",
                "resources": {"requests": {"cpu": 0.1}},
            },
        ],
        "containers": [
            {
                "name": "logs",
                "image": "example/logs:1",
                "ports": [{"name": "metrics", "containerPort": 9200}],
                "readinessProbe": {"httpGet": {"port": "metrics", "path": "/"}},
                "securityContext": {"runAsUser": 4000},
            }
        ],
    },
}
