"""The three resources as a user may write them, with defaults spelled out."""

# Nothing else is needed.
EXAMPLE = """
kind: LiveKitServer
metadata: {name: voice, namespace: team, uid: a}
spec:
  version: v1.13.5
  replicas: 1
  media:
    exposure: HostNetwork
    udp: {portRange: {start: 50100, end: 50200}}
    tcpPort: 7881
  signal: {port: 7880, externalUrl: wss://voice.example.com}
---
kind: VoiceAgentPool
metadata: {name: front-desk, namespace: team, uid: b}
spec:
  serverRef: {name: voice}
  agent:
    instructions: You answer the phone of a dental practice. Be brief.
    greeting: Hello, how can I help?
    stt: {provider: deepgram, model: nova-3, language: en-US, endpointingMs: 500,
          apiKeySecretRef: {name: providers, key: deepgram}}
    llm: {provider: openai, model: gpt-4o-mini, apiKeySecretRef: {name: providers, key: openai}}
    tts: {provider: deepgram, model: aura-2-andromeda-en, sampleRate: 24000,
          apiKeySecretRef: {name: providers, key: deepgram}}
  sessionsPerPod: 4
  idleProcesses: 3
  autoscaling: {minReplicas: 1, maxReplicas: 10, bufferSessions: 4}
---
kind: MeetingRoom
metadata: {name: support-42, namespace: team, uid: c}
spec:
  serverRef: {name: voice}
  maxParticipants: 10
  agents: [{poolRef: {name: front-desk}, dispatch: OnFirstParticipant}]
  tokens:
    - {identity: alice, role: Participant}
    - {identity: lobby, role: Viewer, ttlSeconds: 3600, secretName: lobby-token}
"""
