"""Where a latent fires, as HTML: the right tokens, the darker, the larger; and text that cannot break the page."""

import re

import torch

from maskedsae.report.contexts import top_contexts


class Tokenizer:
    """A token's text is a letter, or one that HTML could misread."""

    def decode(self, ids):
        return "".join(["<b>" if number == 26 else "\n" if number == 27 else chr(97 + number) for number in ids])


CONTEXTS = torch.tensor([[0, 1, 2, 3, 4], [5, 6, 26, 8, 27], [10, 11, 12, 13, 14], [15, 16, 17, 18, 19]])
VALUES = torch.tensor([[0, 1, 0, 0, 0], [0, 0, 4, 2, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 3]], dtype=torch.float32)


def lines(**options) -> list[str]:
    return top_contexts(VALUES, CONTEXTS, Tokenizer(), **options).splitlines()


def test_the_largest_come_first_and_contexts_in_which_it_is_silent_are_left_out():
    assert [re.search(r"<code>([\d.]+)</code>", line)[1] for line in lines()] == ["4.00", "3.00", "1.00"]
    assert len(lines(count=2)) == 2


def test_each_token_is_as_dark_as_its_value():
    marked = [re.findall(r", (\d\.\d\d)\)\">(.*?)</span>", line) for line in lines()]
    assert marked == [[("1.00", "&lt;b&gt;"), ("0.50", "i")], [("0.75", "t")], [("0.25", "b")]]


def test_it_shows_the_tokens_around_the_place_and_not_beyond_the_context():
    texts = [re.sub(r"<.*?>", "", line) for line in lines(around=1)]
    assert texts == ["4.00 …g&lt;b&gt;i…", "3.00 …st…", "1.00 …abc…"]


def test_a_line_break_stays_in_its_line():
    assert "⏎" in lines(around=4)[0] and len(lines(around=4)) == 3


def test_a_latent_that_never_fires_says_so():
    assert top_contexts(torch.zeros(4, 5), CONTEXTS, Tokenizer()) == "<div>It fires nowhere here.</div>"
