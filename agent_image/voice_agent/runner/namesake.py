"""Stands in the way of `livekit.agents`: has the runner wait for its worker, then gives way to the library.

`install` puts it where PYTHONPATH has Python look before it looks among installed packages. Tools that start a program
with a `sitecustomize` of their own in front, such as `opentelemetry-instrument`, keep the runner's from being imported;
this is found all the same, because `livekit` is a namespace package, which lies in many folders.
"""

import importlib.util
import os
import sys

from livekit_operator_runner import hook  # type: ignore[import-not-found]

hook.install()


def _give_way() -> None:
    here = os.path.realpath(os.path.dirname(os.path.dirname(__file__)))  # noqa: PTH120  as in sitecustomize
    others = [path for path in sys.modules["livekit"].__path__ if os.path.realpath(path) != here]
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        spec = find(__name__, others) if find else None
        if spec is not None and spec.loader is not None:
            module = sys.modules[__name__] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return
    raise ModuleNotFoundError(f"No module named {__name__!r}", name=__name__)


_give_way()
