"""The message that a streamed answer becomes, put together chunk by chunk. Pure.

It reads chunks as the AI SDK does, so that what is kept is what a client saw, and holds the limits of a message while
it grows: an agent that never stops is stopped early.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from agents.chunks import Chunk
from agents.errors import AgentFailed, AnswerInvalid
from agents.parts import TOOL_CHANGES, Part, json_bytes, merge_metadata, name_tool, prose, text_bytes
from agents.rules import Draft
from conversations.rules import Limits

COMPLETE: Final = "complete"
ABORTED: Final = "aborted"

ERROR_CHARACTERS: Final = 500
"""So much of an agent's own error text is kept."""

_PARAGRAPH: Final = "\n\n"


class Transcript:
    """What has been said so far in a run: `add` it every chunk that `agents.chunks.check` has passed.

    `metadata` is what `message-metadata`, `start` and `finish` told; `finished` says that the agent has said that it
    is done, and `status` how: `complete` or `aborted`.
    """

    def __init__(self, limits: Limits) -> None:
        self.metadata: dict[str, Any] = {}
        self.finished = False
        self.status = COMPLETE
        self._limits = limits
        self._parts: list[Part] = []
        # By their ids; texts and reasonings only while they may still grow.
        self._texts: dict[str, Part] = {}
        self._reasonings: dict[str, Part] = {}
        self._tools: dict[str, Part] = {}
        self._data: dict[tuple[str, str], Part] = {}
        self._text_bytes = 0
        self._content_bytes = 0
        self._metadata_bytes = 0

    def add(self, chunk: Chunk) -> bool:
        """Take the next chunk; whether it means anything to those who follow the run.

        Raises `AnswerInvalid` when the chunk does not fit to what came before or passes a limit, and `AgentFailed`
        when the agent reports an error.
        """
        kind = chunk["type"]
        handler = _HANDLERS.get(kind)
        if handler is not None:
            return handler(self, chunk)
        return self._add_data(chunk) if kind.startswith("data-") else False

    def knows_tool(self, tool_call_id: str) -> bool:
        """Whether this tool call has been seen in this run."""
        return tool_call_id in self._tools

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The parts so far, without texts that are empty."""
        return [part.value() for part in self._parts if not part.is_empty]

    @property
    def text(self) -> str:
        """All text of the message. Texts that follow each other are one; a step, a tool, a reasoning or a file between
        them makes a new paragraph."""
        paragraphs = [text for text in self._paragraphs() if text.strip()]
        text = paragraphs[0] if paragraphs else ""
        for paragraph in paragraphs[1:]:
            text = text.rstrip("\n") + _PARAGRAPH + paragraph.lstrip("\n")
        return text

    def draft(self) -> Draft | None:
        """The message so far, with `parts` and `status` as its content, or None if nothing has been said."""
        parts = self.parts
        if all(part["type"] == "step-start" for part in parts):
            return None
        content = {"parts": parts, "status": self.status}
        return Draft(text=self.text, kind="text", content=content, metadata=self.metadata or None)

    def _paragraphs(self) -> Iterator[str]:
        pieces: list[str] = []
        for part in self._parts:
            if part.is_text:
                pieces.extend(part.pieces)
            elif part.is_block:
                yield "".join(pieces)
                pieces = []
        yield "".join(pieces)

    # Limits. The words of a text are counted apart; its frame belongs to the content, like every other part.

    def _append(self, part: Part) -> Part:
        self._resize(part, json_bytes(part.body))
        self._parts.append(part)
        return part

    def _resize(self, part: Part, size: int) -> None:
        self._content_bytes += size - part.size
        part.size = size
        self._check_content()

    def _check_content(self) -> None:
        limit = self._limits.content_bytes
        if self._content_bytes + self._metadata_bytes > limit:
            raise AnswerInvalid(f"What the answer holds besides text is over {limit} bytes.")

    def _grow_text(self, size: int) -> None:
        self._text_bytes += size
        limit = self._limits.text_bytes
        if self._text_bytes > limit:
            raise AnswerInvalid(f"The answer's text is over {limit} bytes.")

    # Text and reasoning

    def _start_text(self, chunk: Chunk) -> bool:
        follows_text = bool(self._parts) and self._parts[-1].is_text
        if self._text_bytes and not follows_text:
            self._grow_text(len(_PARAGRAPH))  # which `text` may put before it
        self._texts[chunk["id"]] = self._append(prose("text", chunk))
        return True

    def _add_text(self, chunk: Chunk) -> bool:
        part = _growing(self._texts, chunk)
        self._grow_text(text_bytes(chunk["delta"]))
        part.pieces.append(chunk["delta"])
        self._note_provider(part, chunk)
        return True

    def _end_text(self, chunk: Chunk) -> bool:
        return self._end(self._texts, chunk)

    def _start_reasoning(self, chunk: Chunk) -> bool:
        self._reasonings[chunk["id"]] = self._append(prose("reasoning", chunk))
        return True

    def _add_reasoning(self, chunk: Chunk) -> bool:
        part = _growing(self._reasonings, chunk)
        self._resize(part, part.size + text_bytes(chunk["delta"]))
        part.pieces.append(chunk["delta"])
        self._note_provider(part, chunk)
        return True

    def _end_reasoning(self, chunk: Chunk) -> bool:
        return self._end(self._reasonings, chunk)

    def _end(self, growing: dict[str, Part], chunk: Chunk) -> bool:
        part = growing.pop(chunk["id"], None)
        if part is None:
            return False  # it has ended before, or never began: no harm is done
        self._note_provider(part, chunk)
        return True

    def _note_provider(self, part: Part, chunk: Chunk) -> None:
        noted = chunk.get("providerMetadata")
        if noted is not None:
            size = part.size - json_bytes(part.body.get("providerMetadata")) + json_bytes(noted)
            part.body["providerMetadata"] = noted
            self._resize(part, size)

    # Tools

    def _change_tool(self, chunk: Chunk) -> bool:
        part = self._tool(chunk)
        TOOL_CHANGES[chunk["type"]](part, chunk)
        self._resize(part, json_bytes(part.body))
        return True

    def _add_tool_input(self, chunk: Chunk) -> bool:
        part = self._tools.get(chunk["toolCallId"])
        if part is None or not part.grows:
            raise _missing(chunk, "toolCallId", "tool-input-start")
        self._resize(part, part.size + text_bytes(chunk["inputTextDelta"]))
        part.pieces.append(chunk["inputTextDelta"])
        return True

    def _tool(self, chunk: Chunk) -> Part:
        """The part of this call: the one that has its id, else, if the chunk names the tool, a new one."""
        tool_call_id = chunk["toolCallId"]
        part = self._tools.get(tool_call_id)
        if "toolName" not in chunk:
            if part is None:
                raise _missing(chunk, "toolCallId", "tool call")
            return part
        if part is None:
            part = self._append(Part({"type": "", "toolCallId": tool_call_id, "state": ""}))
            self._tools[tool_call_id] = part
        name_tool(part, chunk)
        return part

    def _answer_approval(self, chunk: Chunk) -> bool:
        for part in self._tools.values():
            approval = part.body.get("approval")
            if approval is not None and approval["id"] == chunk["approvalId"]:
                answer = {name: chunk[name] for name in ("approved", "reason") if name in chunk}
                part.body |= {"state": "approval-responded", "approval": approval | answer}
                self._resize(part, json_bytes(part.body))
                return True
        return False

    # The rest

    def _add_whole(self, chunk: Chunk) -> bool:
        self._append(Part(chunk))
        return True

    def _add_data(self, chunk: Chunk) -> bool:
        if chunk.get("transient"):
            return True  # for those who follow the run; not kept
        body = {name: chunk[name] for name in ("type", "id") if name in chunk} | {"data": chunk.get("data")}
        key = (chunk["type"], chunk.get("id", ""))
        known = self._data.get(key) if "id" in chunk else None
        if known is None:
            self._data[key] = self._append(Part(body))
        else:
            known.body = body
            self._resize(known, json_bytes(body))
        return True

    def _start_step(self, _: Chunk) -> bool:
        self._append(Part({"type": "step-start"}))
        return True

    def _reset_step(self, _: Chunk) -> bool:
        """Forget what the current step has said: the agent tries it again."""
        while self._parts and self._parts[-1].body["type"] != "step-start":
            part = self._parts.pop()
            self._content_bytes -= part.size
            if part.is_text:
                self._text_bytes -= sum(map(text_bytes, part.pieces))
        left = set(map(id, self._parts))
        self._tools = {key: part for key, part in self._tools.items() if id(part) in left}
        self._data = {key: part for key, part in self._data.items() if id(part) in left}
        self._texts, self._reasonings = {}, {}
        return True

    def _note_metadata(self, chunk: Chunk) -> bool:
        noted = chunk.get("messageMetadata")
        if noted:
            self.metadata = merge_metadata(self.metadata, noted)
            self._metadata_bytes = json_bytes(self.metadata)
            self._check_content()
        return True

    def _finish(self, chunk: Chunk) -> bool:
        self.finished = True
        return self._note_metadata(chunk)

    def _abort(self, _: Chunk) -> bool:
        self.finished, self.status = True, ABORTED
        return True

    def _fail(self, chunk: Chunk) -> bool:
        raise AgentFailed(chunk["errorText"][:ERROR_CHARACTERS] or "The agent reported an error.")

    def _pass_on(self, _: Chunk) -> bool:
        return True


_HANDLERS: Final[Mapping[str, Callable[[Transcript, Chunk], bool]]] = {
    "text-start": Transcript._start_text,
    "text-delta": Transcript._add_text,
    "text-end": Transcript._end_text,
    "reasoning-start": Transcript._start_reasoning,
    "reasoning-delta": Transcript._add_reasoning,
    "reasoning-end": Transcript._end_reasoning,
    **dict.fromkeys(TOOL_CHANGES, Transcript._change_tool),
    "tool-input-delta": Transcript._add_tool_input,
    "tool-approval-response": Transcript._answer_approval,
    "reasoning-file": Transcript._add_whole,
    "source-url": Transcript._add_whole,
    "source-document": Transcript._add_whole,
    "file": Transcript._add_whole,
    "custom": Transcript._add_whole,
    "start-step": Transcript._start_step,
    "finish-step": Transcript._pass_on,
    "reset-step": Transcript._reset_step,
    "start": Transcript._note_metadata,
    "message-metadata": Transcript._note_metadata,
    "finish": Transcript._finish,
    "abort": Transcript._abort,
    "error": Transcript._fail,
}


def _growing(parts: Mapping[str, Part], chunk: Chunk) -> Part:
    part = parts.get(chunk["id"])
    if part is None:
        raise _missing(chunk, "id", chunk["type"].replace("-delta", "-start"))
    return part


def _missing(chunk: Chunk, name: str, what: str) -> AnswerInvalid:
    return AnswerInvalid(f"{chunk['type']}: there was no {what} of {chunk[name][:100]!r}.")
