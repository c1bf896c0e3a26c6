"""A server's API keys: the Secret that is their state, digests of them, and what tokens need."""

import base64
import re
from dataclasses import dataclass, field
from functools import cached_property

import yaml

from livekit_operator import reasons
from livekit_operator.api.livekitserver import LiveKitServer
from livekit_operator.constants import (
    ANNOTATION_CLAIMS_SINCE,
    ANNOTATION_KEY_IN_USE_SINCE,
    ANNOTATION_KEY_USERS_MOVED,
    ANNOTATION_ROTATION,
    KEY_API_KEY,
    KEY_API_SECRET,
    KEY_KEY_FILE,
    KEY_SALT,
    MIN_API_SECRET_LENGTH,
)
from livekit_operator.errors import Blocked, Problem
from livekit_operator.manifests.metadata import COMPONENT_SERVER, Manifest, digest, opaque_secret
from livekit_operator.moments import read_moment, timestamp
from livekit_operator.servers.decisions.key_rotation import ApiKey, KeyState
from livekit_operator.servers.manifests.names import keys_secret_name

_KEY_FORM = re.compile(r"[A-Za-z0-9._~+/=-]+")
_MAX_KEY_LENGTH = 1024
_RETRY_SECONDS = 3.0
# Some thirty keys of the greatest length that is taken.
_MAX_KEY_FILE = 64 * 1024


def build_keys_secret(server: LiveKitServer, state: KeyState) -> Manifest:
    """Return the Secret that holds the keys and how far their rotation has come."""
    # One line for each key, the newest last: the order is part of the state.
    key_file = yaml.safe_dump({key.id: key.secret for key in state.accepted}, sort_keys=False, width=10_000)
    values = {KEY_API_KEY: state.in_use.id, KEY_API_SECRET: state.in_use.secret, KEY_KEY_FILE: key_file}
    if state.salt:
        values[KEY_SALT] = state.salt
    manifest = opaque_secret(server, COMPONENT_SERVER, keys_secret_name(server), values)
    times = {
        ANNOTATION_KEY_IN_USE_SINCE: state.in_use_since,
        ANNOTATION_KEY_USERS_MOVED: state.users_moved,
        ANNOTATION_CLAIMS_SINCE: state.claims_since,
    }
    manifest["metadata"]["annotations"] = {
        ANNOTATION_ROTATION: state.rotation,
        **{name: timestamp(moment) for name, moment in times.items() if moment is not None},
    }
    return manifest


def read_stored_keys(secret: Manifest) -> KeyState:
    """Return the state of keys that a Secret holds; raises ValueError, or Blocked when its keys are wrong.

    Without its file somebody has emptied it, and what is left counts as much as a Secret of the user's.
    """
    if KEY_KEY_FILE not in (secret.get("data") or {}):
        parse_key(secret)
    return read_keys_secret(secret)


def read_keys_secret(secret: Manifest) -> KeyState:
    """Return the state that `build_keys_secret` wrote; raises ValueError when it is none."""
    values = {name: base64.b64decode(value, validate=True).decode() for name, value in (secret["data"] or {}).items()}
    try:
        in_use = ApiKey(values[KEY_API_KEY], values[KEY_API_SECRET])
    except KeyError as error:
        raise ValueError("not a Secret of API keys") from error
    accepted = _read_key_file(values.get(KEY_KEY_FILE) or "") or (in_use,)
    if in_use not in accepted:
        accepted = (*(key for key in accepted if key.id != in_use.id), in_use)
    annotations = secret["metadata"].get("annotations") or {}
    return KeyState(
        in_use,
        accepted,
        annotations.get(ANNOTATION_ROTATION, ""),
        read_moment(annotations.get(ANNOTATION_KEY_IN_USE_SINCE)),
        read_moment(annotations.get(ANNOTATION_KEY_USERS_MOVED)),
        read_moment(annotations.get(ANNOTATION_CLAIMS_SINCE)),
        values.get(KEY_SALT, ""),
    )


def parse_key(secret: Manifest) -> ApiKey:
    """Return the API key of a Secret that people wrote; raises Blocked saying what is wrong with it."""
    name, data = secret["metadata"]["name"], secret.get("data") or {}
    values = []
    for key in (KEY_API_KEY, KEY_API_SECRET):
        try:
            value = base64.b64decode(data[key], validate=True).decode()
        except (KeyError, ValueError):
            value = ""
        if not value.strip():
            raise _invalid(f"Secret {name} has no key {key}: add it.")
        if not _KEY_FORM.fullmatch(value) or value.isdigit():
            raise _invalid(
                f"{key} in Secret {name} must be of letters, digits and ._~+/=- only, not of digits alone and without "
                f"a line break at its end: livekit-server reads it as YAML."
            )
        if len(value) > _MAX_KEY_LENGTH:
            raise _invalid(f"{key} in Secret {name} is longer than {_MAX_KEY_LENGTH} characters: choose a shorter one.")
        values.append(value)
    if len(values[1]) < MIN_API_SECRET_LENGTH:
        raise _invalid(
            f"{KEY_API_SECRET} in Secret {name} is shorter than {MIN_API_SECRET_LENGTH} characters: take a longer one."
        )
    return ApiKey(values[0], values[1])


def _invalid(message: str) -> Blocked:
    return Blocked(Problem(reasons.KEYS_INVALID, message, retry_after=_RETRY_SECONDS))


def _read_key_file(text: str) -> tuple[ApiKey, ...]:
    """Return the keys of a file that `build_keys_secret` wrote; raises ValueError when it is something else.

    Whoever may write Secrets may write it, so nothing is built of it: of YAML's events only those of one table of plain
    texts are taken, and neither aliases nor merges nor depth can make more of it than is written there.
    """
    if len(text) > _MAX_KEY_FILE:
        raise ValueError("a file of keys that is too long")
    scalars: list[str] = []
    tables = 0
    try:
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            tables += isinstance(event, yaml.MappingStartEvent)
            if isinstance(event, yaml.ScalarEvent) and tables == 1:
                scalars.append(event.value)
            elif tables > 1 or isinstance(event, yaml.ScalarEvent | yaml.AliasEvent | yaml.SequenceStartEvent):
                raise ValueError("not a file of keys")
    except yaml.YAMLError as error:
        raise ValueError("not a file of keys") from error
    return tuple(map(ApiKey, scalars[::2], scalars[1::2]))


def keys_digest(state: KeyState) -> str:
    """Return a digest of the keys that servers accept."""
    return digest([[key.id, key.secret] for key in state.accepted], 8, salt=state.salt)


def key_digest(api_key: str, api_secret: str, salt: str = "") -> str:
    """Return a digest of the key in use."""
    return digest([api_key, api_secret], 8, salt=salt)


@dataclass(frozen=True)
class ServerKeys:
    """What a token is signed with, and what goes beside it into its Secret."""

    api_key: str
    api_secret: str = field(repr=False)
    internal_url: str
    external_url: str

    @cached_property
    def fingerprint(self) -> str:
        """Return what tells one key from another: short on purpose, too little to test guesses of a key against."""
        return f"{self.api_key} {digest(self.api_secret, 8)}"
