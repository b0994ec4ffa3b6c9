"""Tool calls whose input comes as JSON text. Pure."""

from agents.chunks import Chunk
from agents.dialects import payloads
from agents.errors import AnswerInvalid


def input_chunk(tool_call_id: str, name: str, text: str) -> Chunk:
    """The chunk that gives a tool's whole input; no text is an empty one, and one that is not JSON an error."""
    call = {"toolCallId": tool_call_id, "toolName": name}
    try:
        given = payloads.load(text) if text.strip() else {}
    except AnswerInvalid:
        error = {"input": text, "errorText": "The input of the tool is not JSON."}
        return {"type": "tool-input-error", **call, **error}
    return {"type": "tool-input-available", **call, "input": given}
