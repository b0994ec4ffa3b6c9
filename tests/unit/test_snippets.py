"""The blocks of a page, and the comments above them."""

import pytest

from tests.e2e.snippets import Directives, PageError, parse, parse_directives

PAGE = """
# A page

<!-- test: background 5000; prints: listening -->

```python title="agent.py"
print("```")
```

Words.

1. A step:

    <!-- test: until: ready
    before:
    import x
    after:
    x.go()
    check:
    echo done
    -->
    ```js
    if (x) {
      y();
    }
    ```

````text
```sh
not a block
```
````
"""


def test_blocks_have_their_place_their_title_and_their_words() -> None:
    first, second, third = parse("page.md", PAGE)
    assert (first.place, first.language, first.title, first.text) == (
        "page.md:6",
        "python",
        "agent.py",
        'print("```")\n',
    )
    assert first.directives == Directives(background=True, port=5000, prints=("listening",))
    assert (second.language, second.text) == ("js", "if (x) {\n  y();\n}\n")
    assert second.program == "import x\nif (x) {\n  y();\n}\nx.go()\n"
    assert (second.directives.until, second.directives.check) == (("ready",), "echo done\n")
    assert (third.language, third.text) == ("text", "```sh\nnot a block\n```\n")


def test_directives_may_be_combined_and_repeated() -> None:
    said = parse_directives(" guarded; fails; prints: a: b; prints: c; background ", "here")
    assert said.flags == {"guarded", "fails"}
    assert (said.prints, said.background, said.port) == (("a: b", "c"), True, None)


@pytest.mark.parametrize(
    "text",
    [
        "<!-- test: background -->\n\nwords\n",
        "<!-- test: background -->\n",
        "<!-- test: background\n```sh\nls\n```\n",
        "<!-- test: async -->\n<!-- test: fails -->\n```sh\nls\n```\n",
        "<!-- test: backround -->\n```sh\nls\n```\n",
        "<!-- test: not run -->\n```sh\nls\n```\n",
        "<!-- test: not run: slow -->\n```sh\nls\n```\n",
        "<!-- test: until: -->\n```sh\nls\n```\n",
        "```sh\nls\n",
    ],
)
def test_what_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(PageError):
        parse("page.md", text)
