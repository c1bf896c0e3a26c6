"""Whose turn it is to speak, by the stock agent: what tells speech from silence, and when a turn is over."""

from typing import Literal

from pydantic import ConfigDict, Field

from livekit_operator.api.base import ApiModel, rule, schema_extra

_BY_PRESET = "by `preset` when left out"


class VoiceActivityDetection(ApiModel):
    """How the agent tells speech from silence, by Silero's model inside the pod."""

    # No bounds of the schema: the API server would print them as whole numbers.
    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.activationThreshold) || (self.activationThreshold > 0.0 && self.activationThreshold < 1.0)",
                "activationThreshold must be above 0 and below 1",
                ".activationThreshold",
            )
        )
    )

    min_speech_duration_ms: int | None = Field(
        default=None,
        description=f"Speech in milliseconds after which the caller counts as speaking; {_BY_PRESET}.",
        ge=0,
        le=10000,
    )
    min_silence_duration_ms: int | None = Field(
        default=None,
        description="Silence in milliseconds after which speech is over. When left out it is by `preset` and turn "
        "detection; where these say nothing 550, and with turn detection `stt` at most 100 less than "
        "`stt.endpointingMs`, but not below 200: a detector that still hears speech when the provider ends the turn is "
        "reset. With turn detection `semantic` at least 250.",
        ge=10,
        le=10000,
    )
    activation_threshold: float | None = Field(
        default=None,
        description="Probability of speech above which sound counts as speech; higher in noisy places. "
        f"{_BY_PRESET.capitalize()}.",
    )


class TurnHandling(ApiModel):
    """When the agent speaks, and when it stops for the caller."""

    model_config = ConfigDict(
        json_schema_extra=schema_extra(
            rule(
                "!has(self.minEndpointingDelayMs) || !has(self.maxEndpointingDelayMs) || "
                "self.minEndpointingDelayMs <= self.maxEndpointingDelayMs",
                "minEndpointingDelayMs must not be above maxEndpointingDelayMs",
                ".minEndpointingDelayMs",
            )
        )
    )

    detection: Literal["stt", "vad", "semantic"] | None = Field(
        default=None,
        description="Who says that the caller's turn is over: the speech-to-text (`stt`), silence (`vad`), or a model "
        "inside the pod that tells the end of a turn from a pause by how it sounds (`semantic`). By `preset` when left "
        "out.",
    )
    min_endpointing_delay_ms: int | None = Field(
        default=None,
        description=f"Shortest silence in milliseconds before the agent answers; {_BY_PRESET}.",
        ge=0,
        le=30000,
    )
    max_endpointing_delay_ms: int | None = Field(
        default=None,
        description="Longest silence in milliseconds before the agent answers, after words that detection `semantic` "
        f"takes for unfinished; {_BY_PRESET}.",
        ge=0,
        le=60000,
    )
    preemptive_generation: bool | None = Field(
        default=None,
        description=f"Start thinking on a likely end of turn, before it is certain; {_BY_PRESET}.",
    )
    preemptive_speech: bool | None = Field(
        default=None,
        description="Have that answer spoken too before it is certain. It is sooner heard; speech that is not used "
        f"is paid all the same. {_BY_PRESET.capitalize()}.",
    )
    allow_interruptions: bool = Field(default=True, description="Whether the caller may interrupt the agent.")
    min_interruption_ms: int | None = Field(
        default=None,
        description=f"Speech in milliseconds that counts as an interruption; {_BY_PRESET}.",
        ge=0,
        le=10000,
    )
    false_interruption_timeout_ms: int | None = Field(
        default=None,
        description="Milliseconds of silence after which an agent that was interrupted without words goes on; "
        f"{_BY_PRESET}.",
        ge=0,
        le=60000,
    )
    aligned_transcript: bool = Field(
        default=True, description="Publish the agent's words when they are spoken, not when they are generated."
    )
