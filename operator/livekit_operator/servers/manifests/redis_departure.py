"""How the managed Redis terminates: after its servers if all of them terminate, soon if it terminates alone.

Deleting a namespace, or a LiveKitServer in the foreground, deletes all pods at once. A terminating livekit-server that
does not find its Redis retries for a long time, and its calls get no signalling. So Redis' pod waits, in a hook that
depends on nobody: the operator may be gone, and nothing can be created in a namespace that is being deleted.

Servers report in the hash `nodes`, every two seconds, whether they are leaving (livekit-server
pkg/routing/redisrouter.go). A server that has removed itself still closes its rooms there, so connections count too.
"""

from typing import Any

POLL_SECONDS = 0.5
# All pods are signalled at once, and servers a second later (servers/manifests/pod.py): how long Redis waits for their
# reports. If only its node is drained, another Redis starts meanwhile, and servers must not be split between two.
LEAVE_WITHIN_SECONDS = 5
# How long it then stays without a server that reports: one that stops finishes its requests for five seconds
# (pkg/service/server.go Start).
END_WITHIN_SECONDS = 15
# A server that has not reported for so long has disappeared. LiveKit misses it after five seconds
# (pkg/routing/selector/utils.go); one that had no CPU for a while may still be there.
_SILENT_SECONDS = 20
# Redis answers in a millisecond, or hangs.
_ASK_SECONDS = 5

# What is read, from protocol's livekit_internal.proto: Node.stats = 4, Node.state = 6 (SHUTTING_DOWN = 2),
# NodeStats.updated_at = 2, in seconds. One line without quotes, because it is quoted twice.
_LUA = " ".join(
    """
local function fields(text)
  local found, at = {}, 1
  local function number()
    local value, factor = 0, 1
    while true do
      local byte = text:byte(at)
      value, factor, at = value + byte % 128 * factor, factor * 128, at + 1
      if byte < 128 then return value end
    end
  end
  while at <= #text do
    local tag = number()
    local kind, value = tag % 8
    if kind == 0 then value = number()
    elseif kind == 2 then
      local length = number()
      value, at = text:sub(at, at + length - 1), at + length
    else at = at + (kind == 1 and 8 or 4) end
    found[math.floor(tag / 8)] = value
  end
  return found
end
local now, leaving = redis.call([[TIME]])[1], false
for _, text in ipairs(redis.call([[HVALS]], KEYS[1])) do
  local node = fields(text)
  if now - (fields(node[4] or [[]])[2] or 0) < SILENT then
    if node[6] ~= 2 then return [[staying]] end
    leaving = true
  end
end
if leaving then return [[leaving]] end
local clients = redis.call([[INFO]], [[clients]]):match([[connected_clients:(%d+)]])
return clients == [[1]] and [[free]] or [[connected]]
""".replace("SILENT", str(_SILENT_SECONDS)).split()
)


def hook(config_file: str, port: int) -> dict[str, Any]:
    """Return a container's `lifecycle` with a preStop hook that ends when Redis may.

    It asks with the image's own redis-cli, which is given the password as Redis has it: by standard input, in a line of
    the configuration. In an image without a shell the hook fails, which an Event says, and Redis ends at once.
    """
    return {"preStop": {"exec": {"command": ["sh", "-c", script(config_file, port)]}}}


def script(config_file: str, port: int) -> str:
    """Return what the hook runs, for any POSIX shell: a countdown that restarts while servers are leaving."""
    polls = {name: round(seconds / POLL_SECONDS) for name, seconds in _PATIENCE.items()}
    return f"""\
ask() {{
  {{ sed -n 's/^requirepass/auth/p' {config_file}; echo 'eval "{_LUA}" 1 nodes'; }} |
    timeout {_ASK_SECONDS} redis-cli -p {port} | tail -n 1
}}
left={polls["leave"]}
while [ "$left" -gt 0 ]; do
  case "$(ask)" in
    free) exit 0 ;;
    leaving) left={polls["end"]} ;;
    *) left=$((left - 1)) ;;
  esac
  sleep {POLL_SECONDS}
done
"""


_PATIENCE = {"leave": LEAVE_WITHIN_SECONDS, "end": END_WITHIN_SECONDS}
