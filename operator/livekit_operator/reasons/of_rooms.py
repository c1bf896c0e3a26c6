"""The reasons of a MeetingRoom, as docs/operations.md tells them."""

from livekit_operator import reasons
from livekit_operator.reasons.tables import Row, Table

ROOMS = Table(
    doc="docs/operations.md",
    name="rooms",
    kinds=("MeetingRoom",),
    columns=("reason", "meaning", "what to do"),
    rows=(
        Row(
            (reasons.READY,),
            "the room is open, its tokens are minted",
        ),
        Row(
            (reasons.SERVER_NOT_FOUND, reasons.SERVER_NOT_READY, reasons.SERVER_UNREACHABLE),
            "the server cannot be used, for the reason that the message gives",
            "as that says; the conditions of the LiveKitServer",
        ),
        Row(
            (reasons.SERVER_NOT_ALLOWED,),
            "the LiveKitServer of another namespace does not list this one in `allowedNamespaces`, or is not there",
            "who has the server adds the namespace",
        ),
        Row(
            (reasons.SERVER_REFUSED,),
            "the server refuses a request; the message quotes it",
            "what it names in the spec; its log",
        ),
        Row(
            (reasons.POOL_NOT_FOUND, reasons.POOL_ON_OTHER_SERVER),
            "a pool of `spec.agents` cannot serve the room; or a `VoiceAgent` room finds none",
            "create it, or name another one",
        ),
        Row(
            (reasons.POOL_AMBIGUOUS,),
            "a `VoiceAgent` room finds more than one pool",
            "name one in `spec.agents`",
        ),
        Row(
            (reasons.POOL_NOT_ALLOWED,),
            "the pool of another namespace does not list this one in `allowedNamespaces`, or is not there",
            "who has the pool adds the namespace",
        ),
        Row(
            (reasons.AGENT_FAILING,),
            "the agent fails again and again; the message has how often, on which pod, and its last words",
            "the agent's code; the pod's log. It is called again after a pause that grows to two minutes, and at once "
            "where its pods have been replaced",
        ),
        Row(
            (reasons.AGENT_LEAVES_EARLY,),
            "with `restart: Always`: the agent leaves on purpose, again and again, before a call has lasted 60 s; the "
            "message has how often, after how long and on which pod",
            "have it stay, or `restart: OnFailure`. It is called again after a pause that grows to two minutes",
        ),
        Row(
            (reasons.SHARE_REACHED,),
            "the namespace has its [share](#sharing-a-server-between-namespaces) of a pool's places, and the free "
            "ones are kept for others",
            "wait, or raise the pool's `maxReplicas`",
        ),
        Row(
            (reasons.AGENT_NOT_ALLOWED,),
            "an agent of another namespace is asked for by name, whose pool does not list this one",
            "one of those that the message tells",
        ),
        Row(
            (reasons.ROOM_NAME_NOT_ALLOWED,),
            "`roomName` begins with the name of a namespace that the server allows, and `/`",
            "another name",
        ),
        Row(
            (reasons.NO_WORKER_REGISTERED, reasons.ALL_WORKERS_FULL, reasons.DISPATCH_PENDING),
            "somebody waits for an agent",
            "[why](pools.md#why-is-there-no-agent)",
            others=True,
        ),
        Row(
            (reasons.PROVIDER_REJECTED, reasons.PROVIDER_FAILING),
            "the pool says so of its providers",
            "as the pool says",
        ),
        Row(
            (reasons.NOT_OWNED,),
            "a Secret with a token's name exists already and is left alone; the other tokens and the agents go on",
            "remove it, or another `secretName`",
        ),
        Row(
            (reasons.SECRET_NAME_TAKEN,),
            "two identities want one Secret",
            "give one a `secretName`",
        ),
        Row(
            (reasons.NAME_CONFLICT,),
            "an older MeetingRoom has this room",
            "another `roomName`, or delete that one",
        ),
        Row(
            (reasons.ROOM_EXISTS,),
            "a room of this name is there that no MeetingRoom made",
            "`adopt: true` takes it over; or another `roomName`",
        ),
        Row(
            (reasons.ROOM_UNANSWERED,),
            "for 15 s the server has answered, but none of its nodes for this room: it hangs, or its node is lost",
            "make it anew, by the annotation in the message",
        ),
        Row(
            (reasons.RECREATING,),
            "the room is made anew; [how](rooms.md)",
        ),
        Row(
            (reasons.PENDING_RECREATE,),
            "the room will be made anew when it is empty",
            "wait, or the annotation in the message",
        ),
        Row(
            (reasons.SECRET_NAME_NOT_ALLOWED,),
            "a `secretName` does not begin with the room's name",
            "one that does",
        ),
        Row(
            (reasons.NOT_ALLOWED,),
            "a label or annotation of a token Secret is one that other controllers act on",
            "leave it out, or the chart's value that the message names",
        ),
        Row(
            (reasons.TOKENS_TOO_LARGE,),
            "the texts of the room's tokens have more than 1 MiB together",
            "fewer tokens, shorter texts",
        ),
        Row(
            (reasons.PRESET_NOT_FOUND,),
            "the server's `extraConfig` has no such preset",
            "add it, or another `preset`",
        ),
        Row(
            (reasons.SERVER_LIMIT_EXCEEDED,),
            "a text is longer than the server takes",
            "shorten it, or raise `limits` of the LiveKitServer",
        ),
        Row(
            (reasons.GRANT_NOT_ALLOWED,),
            "a grant reaches beyond the room, of another namespace's server",
            "leave it out",
        ),
        Row(
            (reasons.INVALID_SECRET,),
            "Kubernetes refuses a token's Secret, its labels or keys",
            "the field or the policy that the message names",
        ),
        Row(
            (reasons.DELETING,),
            "the server is asked to close the room; after 60 s without an answer the resource goes anyway",
        ),
        Row(
            (reasons.ROOM_NOT_DELETED,),
            "an Event: it went so",
            "delete the room by DeleteRoom, should it still be there",
        ),
        Row(
            (reasons.POOLS_READY,),
            "of `AgentsReady`: every agent is in the room, or comes when it is needed",
        ),
        Row(
            (reasons.ROOM_ENDED,),
            "an Event: the room [has ended](rooms.md#rooms-that-end), and its resource with it",
        ),
    ),
)
