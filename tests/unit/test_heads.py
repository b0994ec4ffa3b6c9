"""What the log of attempts keeps of a request and an answer: enough to see what went wrong, and no secret."""

from agents.heads import answer_text, request_text

REQUEST = {
    "content-type": "application/json",
    "authorization": "Bearer geheim",
    "x-tenant": "geheim",
    "webhook-id": "1",
}


def test_a_request_keeps_its_headers_and_the_beginning_of_its_body() -> None:
    text = request_text("https://a.example/x", REQUEST, ["X-Tenant"], b'{"text":"hello"}', 8)
    assert text == (
        "POST https://a.example/x\n"
        "content-type: application/json\n"
        "authorization: …\n"
        "x-tenant: …\n"
        "webhook-id: 1\n"
        "\n"
        '{"text":'
    )


def test_an_answer_that_is_no_text_or_too_much_is_cut() -> None:
    headers = {"set-cookie": "session=geheim", "x-long": "x" * 5_000}
    text = answer_text(500, headers, b"\xff\xfe" + b"y" * 5_000, 10)
    assert "geheim" not in text
    assert len(text) < 1_100
    assert text.startswith("500\n")
    assert text.endswith("y" * 8)
