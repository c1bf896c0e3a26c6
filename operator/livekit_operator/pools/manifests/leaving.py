"""The hook by which the kubelet tells a worker of a user's own that its pod is leaving, before it sends SIGTERM.

SIGTERM goes to a container's first process alone. A start script that does not end with `exec` is that process, and
does not pass it on: the kernel drops signals to a first process that has no handler for them, so the worker would take
calls until it is killed. Or the script ends by it, and all calls with it.

The kubelet runs the hook inside the container whoever deletes the pod: the operator, a person, an eviction. Nobody can
call it over the network, so it needs no secret. It asks for no more than `sh`, `ls` and `sleep`, which an image with a
start script has; where they are missing SIGTERM comes all the same
(https://kubernetes.io/docs/concepts/containers/container-lifecycle-hooks/).
"""

from typing import Any

# Who listens on the port that the probes ask is the worker, whatever started it: /proc/net/tcp has the port and the
# socket's inode (proc_pid_net(5)), /proc/<pid>/fd whose socket that is. A first process hears SIGTERM that catches it,
# or blocks it to wait for it, as tini does: bit 14 of its masks (proc_pid_status(5)).
#
#     worker is first             nothing to do: SIGTERM comes next
#     first process is deaf       the worker is told, SIGTERM is dropped; so is each that the script starts after it
#     first process hears         the worker is told, and SIGTERM comes when it has ended, as the other may pass it on
#                                 once more (livekit-agents ends at once by a second one), or end by it
#     no worker yet               SIGTERM comes next where it is heard; else the worker is waited for
#
# Kubernetes may run a hook twice, as after a restart of the kubelet. Who was told is marked in /tmp by its process id
# and the time of its start (field 22 of proc_pid_stat(5)): a mark may be older than the container.
_SCRIPT = """\
hears() {
  while read -r key mask; do
    case $key$mask in SigBlk:*[4567cdef]??? | SigCgt:*[4567cdef]???) return 0 ;; esac
  done </proc/1/status
  return 1
}
find_worker() {
  for table in /proc/net/tcp /proc/net/tcp6; do
    [ -r "$table" ] || continue
    while read -r _ address _ state _ _ _ _ _ inode _; do
      case $address/$state in *":$1/0A") ;; *) continue ;; esac
      for process in /proc/[0-9]*; do
        case $(ls -l "$process/fd" 2>/dev/null) in
          *"socket:[$inode]"*) worker=${process#/proc/} && return 0 ;;
        esac
      done
    done <"$table"
  done
  return 1
}
tell_once() {
  read -r stat 2>/dev/null <"/proc/$worker/stat" || return 0
  mark=/tmp/.told-$worker-$(set -- ${stat##*) } && echo "${20}")
  [ -e "$mark" ] && return 0
  kill -TERM "$worker" && echo 2>/dev/null >"$mark"
}
keep_telling() {
  while sleep 1; do
    [ -e "/proc/$worker/exe" ] || { find_worker "$1" && tell_once; }
  done
}
until find_worker "$1"; do
  hears && exit 0
  sleep 1 || exit 0
done
[ "$worker" = 1 ] && exit 0
tell_once
if hears; then
  while [ -e "/proc/$worker/exe" ]; do sleep 1 || exit 0; done
  exit 0
fi
keep_telling "$1" </dev/null >/dev/null 2>&1 &
"""


def build_leaving_hook(port: int) -> dict[str, Any]:
    """Return a container's `lifecycle`; its worker listens on this port of all addresses."""
    return {"preStop": {"exec": {"command": ["sh", "-c", _SCRIPT, "leave", f"{port:04X}"]}}}
