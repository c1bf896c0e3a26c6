// CustomResourceDefinitions that others publish inside their Go modules. Nothing imports them: do not tidy.
module livekit-operator.dev/tests/cluster/tools/crds

go 1.26.0

require (
	github.com/cert-manager/cert-manager v1.21.2
	sigs.k8s.io/gateway-api v1.6.3
)
