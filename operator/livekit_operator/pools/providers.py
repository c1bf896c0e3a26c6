"""What a pool says of its providers."""

from collections.abc import Mapping, Sequence

from livekit_operator import reasons
from livekit_operator.api.providers import Provider
from livekit_operator.api.voiceagentpool import VoiceAgentPool
from livekit_operator.conditions import Observed
from livekit_operator.constants import AGENT_STATUS_PORT, CONDITION_PROVIDERS_ACCEPTED
from livekit_operator.pools.decisions.agent_problems import REFUSED_CODES
from livekit_operator.pools.standing import Standing
from livekit_operator.reasons import Reason
from livekit_operator.views import ProviderError


def providers_accepted(pool: VoiceAgentPool, standing: Standing) -> Observed:
    """Return the condition that tells whether providers take the keys."""
    pods = standing.pods
    if errors := pods.provider_errors(standing.stable):
        return Observed(CONDITION_PROVIDERS_ACCEPTED, False, provider_reason(errors), provider_problems(errors))
    if not pods.heard:
        message = f"No agent pod answers on port {AGENT_STATUS_PORT}: let the operator in by a NetworkPolicy."
        return Observed(CONDITION_PROVIDERS_ACCEPTED, None, reasons.WORKERS_UNREACHABLE, message)
    if not pool.spec.agent.stock:
        return Observed(
            CONDITION_PROVIDERS_ACCEPTED, None, reasons.OWN_AGENT, "Your own agent asks its providers itself."
        )
    if not pods.serving:
        return Observed(
            CONDITION_PROVIDERS_ACCEPTED, None, reasons.NOT_ASKED, "No agent is ready to ask the providers."
        )
    return Observed(CONDITION_PROVIDERS_ACCEPTED, True, reasons.ACCEPTED, _accepted(pool.spec.agent.providers))


def _accepted(providers: Mapping[str, Provider]) -> str:
    asked = sorted(place for place, provider in providers.items() if provider.plugin is None)
    only_called = sorted(providers.keys() - asked)
    answers = f"Every provider answers ({', '.join(asked)})." if asked else ""
    plugins = f"Only calls ask plugins ({', '.join(only_called)})." if only_called else ""
    return " ".join(filter(None, (answers, plugins)))


def provider_reason(errors: Sequence[ProviderError]) -> Reason:
    """Return the reason that stands for some errors of providers."""
    if all(error.covered for error in errors):
        return reasons.TOOLS_UNAVAILABLE if all(_is_of_tools(error) for error in errors) else reasons.FALLBACK_SERVES
    refused = any(error.code in REFUSED_CODES for error in errors if not error.covered)
    return reasons.PROVIDER_REJECTED if refused else reasons.PROVIDER_FAILING


def provider_problems(errors: Sequence[ProviderError]) -> str:
    """Return what is wrong with providers and what to do, a sentence each."""
    return " ".join(_provider_problem(error) for error in errors)


def _is_of_tools(error: ProviderError) -> bool:
    """Return whether it is of a server of tools, without which calls go on."""
    return error.role.startswith("tools.")


def _provider_problem(error: ProviderError) -> str:
    if _is_of_tools(error):
        return f"{_what_is_wrong_with_tools(error)} Calls go on without its tools."
    stands_in = " Another provider stands in." if error.covered else ""
    return f"{_what_is_wrong(error)}{stands_in}"


def _what_is_wrong(error: ProviderError) -> str:
    if error.code in REFUSED_CODES:
        return (
            f"{error.provider} refuses the key for {error.role} (HTTP {error.code}): "
            f"check the Secret of spec.agent.{error.role}.apiKeySecretRef."
        )
    if error.code == 0:
        hint = f"check the network and spec.agent.{error.role}.baseUrl."
        return f"{error.provider} cannot be reached for {error.role}: {hint}"
    return f"{error.provider} fails for {error.role} (code {error.code}): check spec.agent.{error.role}."


def _what_is_wrong_with_tools(error: ProviderError) -> str:
    server = f"MCP server {error.provider}"
    if error.code in REFUSED_CODES:
        hint = f"check the Secrets of spec.agent.{error.role}.headers."
        return f"{server} refuses what it is sent (HTTP {error.code}): {hint}"
    if error.code == 0:
        return f"{server} cannot be reached: check the network and spec.agent.{error.role}.url."
    return f"{server} fails (HTTP {error.code}): check spec.agent.{error.role}.url."
