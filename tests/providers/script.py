"""The conversation the stand-ins know: what callers ask and what the front desk of a dental practice answers."""

import re

GREETING = "Hello, how can I help?"
FALLBACK_GREETING = "Hello, thank you for calling. How can I help you today?"
"""What the model says when it is asked to speak first and nobody has said anything."""

LONG_QUESTION = "Please tell me about your practice."

ANSWERS: dict[str, str] = {
    "What are your opening hours?": "We are open from nine to five, Monday to Friday.",
    "How much does a cleaning cost?": "A cleaning costs eighty dollars.",
    "Can I book an appointment for tomorrow?": "Yes, we have a free slot at ten in the morning.",
    "Where can I park my car?": "There is a free car park behind the building.",
    "Do you treat children?": "Yes, we treat children from the age of three.",
    "I would like to cancel my appointment.": "No problem, your appointment has been cancelled.",
    # About fifteen seconds of speech: long enough to be interrupted at leisure.
    LONG_QUESTION: (
        "We are a small dental practice in the middle of the old town. "
        "Three dentists and five assistants look after our patients every day. "
        "We offer cleanings, fillings, crowns, bridges and braces for all ages. "
        "If you are in pain, call us early in the morning and we will see you the same day."
    ),
    "Stop, please, I have another question.": "Of course, please go ahead.",
    "Goodbye.": "Goodbye, and have a nice day.",
}

CALLER_LINES: tuple[str, ...] = tuple(ANSWERS)
AGENT_LINES: tuple[str, ...] = (GREETING, FALLBACK_GREETING, *ANSWERS.values())

INTERRUPTION = "Stop, please, I have another question."


def normalised(text: str) -> str:
    """Words only, in lower case: what two spellings of one sentence have in common."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


def sentences(text: str) -> list[str]:
    """Split a text where a sentence ends, as speech synthesis does to start early."""
    return [part for part in re.split(r"(?<=[.!?])\s+", " ".join(text.split())) if part]


_BY_WORDS = {normalised(question): answer for question, answer in ANSWERS.items()}


def answer_to(question: str | None) -> str:
    """What the model says: a known answer, or an echo that shows what was understood."""
    if question is None:
        return FALLBACK_GREETING
    words = normalised(question)
    if words in _BY_WORDS:
        return _BY_WORDS[words]
    # One message may hold several sentences; the last known question in it is the one to answer.
    inside = [(words.rfind(known), answer) for known, answer in _BY_WORDS.items() if known in words]
    if inside:
        return max(inside)[1]
    return f"You said: {question.strip()}"
