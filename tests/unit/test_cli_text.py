"""The `fleetlm` command: what others say cannot harm a terminal, and what a line of input sends."""

from fleetlm_client.cli.lines import message_of
from fleetlm_client.cli.output import entry_line, fields, message_line
from fleetlm_client.cli.plain_text import as_lines, on_one_line, shortened
from fleetlm_client.cli.terminal.layout import wrapped
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

MESSAGE = {
    "seq": 7,
    "sender_id": "bob",
    "kind": "text",
    "text": "one\ntwo",
    "content": {},
    "reply_to": None,
    "created_at": "2026-01-05T12:00:02.120000Z",
}


def test_a_message_cannot_move_the_cursor_of_a_terminal() -> None:
    assert on_one_line("a\x1b[2Jb\nc\rd\u202ee") == "a·[2Jb c d·e"
    assert as_lines("a\x1b[2J\r\nb\tc\x9b\x07") == ["a·[2J", "b   c··"]
    assert as_lines("") == [""]


@given(st.text())
def test_whatever_is_said_only_printable_lines_are_shown(text: str) -> None:
    for line in [*as_lines(text), on_one_line(text)]:
        assert line.replace("\u200c", "").replace("\u200d", "").isprintable()


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])), st.integers(2, 40))
def test_wrapped_lines_fit_and_lose_no_word(line: str, width: int) -> None:
    parts = wrapped(line, width)
    assert all(cell_len(part) <= width for part in parts)
    assert "".join("".join(parts).split()) == "".join(line.split())


def test_words_are_kept_whole_and_indentation_stays() -> None:
    assert wrapped("one two three", 8) == ["one two", "three"]
    assert wrapped("    code = 1", 20) == ["    code = 1"]
    assert wrapped("abcdefghij kl", 4) == ["abcd", "efgh", "ij", "kl"]
    assert wrapped("日本語日本語", 5) == ["日本", "語日", "本語"]


def test_lines_of_messages_and_of_the_inbox() -> None:
    assert message_line(MESSAGE).endswith("    7  bob: one\n            two")
    redaction = {**MESSAGE, "kind": "redaction", "reply_to": 3, "text": ""}
    assert message_line(redaction).endswith("bob: (message 3 was redacted)")
    card = {**MESSAGE, "kind": "card", "text": "", "content": {"a": 1}}
    assert message_line(card).endswith('bob: (card) {"a": 1}')
    entry = {"key": "ops", "unread_count": 3, "mention_count": 1, "last_message": None}
    assert entry_line(entry).split() == ["3@", "ops"]
    assert fields({"a": 1, "long": None, "text": "x\x1by"}) == "a     1\nlong  –\ntext  x·y"
    assert shortened("abcdef", 4) == "abc…"


def test_lines_are_text_or_messages() -> None:
    assert message_of("  hello \n") == {"text": "hello"}
    assert message_of("\n") is None
    assert message_of('{"text": "hi", "metadata": {"a": 1}}') == {"text": "hi", "metadata": {"a": 1}}
    assert message_of('{"content": {"card": 1}, "kind": "card"}') == {"content": {"card": 1}, "kind": "card"}
    for text in ("{curly", '{"other": 1}', "[1]", '"quoted"'):
        assert message_of(text) == {"text": text}
