"""`python -m tests.demo`: a cluster, the chart, the quickstart, and a call. `--down` takes all of it away."""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.caller.call import CallError, place_call
from tests.caller.report import CallReport, heard, said_by_agents
from tests.cluster import layout, lifecycle, progress
from tests.cluster.errors import ClusterError
from tests.harness import install
from tests.harness.kubectl import CommandError, Kubectl, Manifest, is_ready, ready
from tests.harness.target import Target, TargetError, find_target
from tests.providers.script import ANSWERS, GREETING

NAMESPACE = install.DEMO_NAMESPACE
QUICKSTART = Path("examples/quickstart.yaml")
TOKEN_SECRET = "support-42-alice"
KINDS = "livekitservers,voiceagentpools,meetingrooms"
QUESTION = "What are your opening hours?"
READY_SECONDS = 180
RESULT = layout.STATE / "demo.json"
RECORDING = layout.STATE / "demo.wav"


def main() -> int:
    """Run the demo or take it down; what goes wrong is said in a sentence."""
    parser = argparse.ArgumentParser(prog="python -m tests.demo", description=__doc__)
    parser.add_argument("--down", action="store_true", help="remove the demo, and the local cluster with it")
    options = parser.parse_args()
    try:
        target = find_target()
        asyncio.run(_down(target) if options.down else _demo(target))
    except (TargetError, ClusterError, CommandError, TimeoutError, CallError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


async def _demo(target: Target) -> None:
    if target.local:
        # Real providers are outside.
        with_egress = install.provider_keys() is not None or lifecycle.egress_from_environment()
        lifecycle.up(lifecycle.node_count_from_environment(), with_egress=with_egress)
        with progress.step("images"):
            lifecycle.load_images()
    began = time.monotonic()
    images = install.find_images(target)
    keys = install.provider_keys()
    base_urls: dict[str, str] = {}
    with progress.step("providers") as step:
        if keys is None:
            keys, base_urls = install.TEST_KEYS, await install.install_providers(target, images)
            step.result = "stand-ins run; set DEEPGRAM_API_KEY and OPENAI_API_KEY for the real ones"
        else:
            step.result = "Deepgram and OpenAI, with the keys of the environment"
    with progress.step("helm upgrade --install livekit-operator") as step:
        await install.install_chart(target, images, base_urls=base_urls)
        step.result = "the operator is ready"
    kubectl = Kubectl(target, NAMESPACE)
    await kubectl.create_namespace()
    await kubectl.apply(install.provider_secret(keys))
    applied = time.monotonic()
    print(f"\n$ kubectl apply -f {QUICKSTART}")
    print(await kubectl("apply", "--filename", str(QUICKSTART)), end="")
    await _wait_ready(kubectl)
    ready_seconds = time.monotonic() - applied
    progress.say(f"all ready {ready_seconds:.1f}s after kubectl apply")
    print(f"\n$ kubectl get {KINDS}")
    print(await kubectl("get", KINDS))
    report = await _call(kubectl)
    _keep(report, ready_seconds, time.monotonic() - began)
    print(f"\n{report.to_text()}\n")
    _check(report, stand_ins=bool(base_urls))
    print(_next_steps(target))


async def _down(target: Target) -> None:
    if target.local:
        lifecycle.down()
        return
    await Kubectl(target, NAMESPACE).delete_namespace()
    await install.uninstall_chart(target)


async def _wait_ready(kubectl: Kubectl) -> None:
    """Show every change of a `Ready` condition until all are true."""
    shown: dict[str, str] = {}
    deadline = time.monotonic() + READY_SECONDS
    while True:
        objects = await kubectl.find(KINDS)
        for manifest in objects:
            name, line = _line(manifest)
            if shown.get(name) != line:
                shown[name] = line
                progress.say(line)
        if objects and all(is_ready(manifest) for manifest in objects):
            return
        if time.monotonic() > deadline:
            raise TimeoutError(f"not ready after {READY_SECONDS} s: {'; '.join(shown.values())}")
        await asyncio.sleep(0.3)


def _line(manifest: Manifest) -> tuple[str, str]:
    name = f"{manifest['kind'].lower()}/{manifest['metadata']['name']}"
    condition = ready(manifest)
    state = {"True": "Ready", "": "not seen yet"}.get(condition.get("status", ""), condition.get("reason", ""))
    return name, f"  {name:<26} {state}: {condition.get('message', '')}".rstrip(": ")


async def _call(kubectl: Kubectl) -> CallReport:
    print(f"A caller reads Secret {TOKEN_SECRET}, joins, listens, and asks: {QUESTION}")
    secret = await kubectl.secret(TOKEN_SECRET)
    return await place_call(secret, say=[QUESTION], wav=RECORDING)


def _check(report: CallReport, *, stand_ins: bool) -> None:
    """Fail the demo unless the caller heard the greeting and an answer; known voices must have said the right words."""
    if report.greeting_ms is None or report.reply_ms is None:
        raise CallError("the caller heard no greeting or no answer", report)
    # What was said counts where a busy machine broke the sound of it.
    said = {*said_by_agents(report), *heard(report)}
    if stand_ins and not {GREETING, ANSWERS[QUESTION]} <= set(said):
        raise CallError(f"the caller heard something else: {sorted(said)}", report)


def _keep(report: CallReport, ready_seconds: float, demo_seconds: float) -> None:
    timings = json.loads(layout.TIMINGS.read_text()) if layout.TIMINGS.exists() else {}
    figures = {
        "apply_to_ready_seconds": round(ready_seconds, 1),
        "install_to_end_seconds": round(demo_seconds, 1),
        "call": report.to_dict(),
        "cluster_timings_seconds": timings,
    }
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=2) + "\n")


def _next_steps(target: Target) -> str:
    command = f"kubectl --kubeconfig {_shown(target.kubeconfig)} --context {target.context} --namespace {NAMESPACE}"
    steps: Sequence[str] = (
        f"{command} get {KINDS}",
        f"{command} describe meetingroom support-42",
        f"{command} get events --sort-by=.lastTimestamp",
    )
    return "\n".join(
        [
            f"What the caller heard is in {_shown(RECORDING)}, the figures are in {_shown(RESULT)}.",
            "The cluster stays up (`make demo-down` removes it). Try:",
            *(f"  {step}" for step in steps),
        ]
    )


def _shown(path: Path) -> Path:
    return path.relative_to(layout.REPOSITORY) if path.is_relative_to(layout.REPOSITORY) else path


if __name__ == "__main__":
    sys.exit(main())
