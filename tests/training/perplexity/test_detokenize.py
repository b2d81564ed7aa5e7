from __future__ import annotations

import pytest

from training.perplexity.detokenize import treebank_line, wikitext_line, words_of_unknown


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ("He had a guest @-@ starring role .", "He had a guest-starring role."),
        ("about 7 @,@ 900 ( 13 @.@ 5 % ) of them", "about 7,900 (13.5%) of them"),
        ('as " Craig " in " Teddy \'s Story " ; he', 'as "Craig" in "Teddy\'s Story"; he'),
        ("the Marines ' losses , they 'd said", "the Marines' losses, they'd said"),
        ("called ' the Rock ' twice", "called 'the Rock' twice"),
        ("it is n't [ sic ] $ 5 : why ?", "it isn't [sic] $5: why?"),
        ("= = Career = =", "= = Career = ="),
        ("Judge John <unk> , <unk> 's", "Judge John <unk>, <unk>'s"),
        ("", ""),
    ],
)
def test_wikitext_reads_as_it_was_written(published: str, text: str) -> None:
    assert wikitext_line(published) == text


@pytest.mark.parametrize(
    ("published", "text"),
    [
        ("no it was n't black monday", "no it wasn't black monday"),
        ("capital cities\\/abc 's $ N a share", "capital cities/abc's $N a share"),
        ("the holders ' <unk> & co", "the holders' <unk> & co"),
    ],
)
def test_the_treebank_reads_as_it_was_written(published: str, text: str) -> None:
    assert treebank_line(published) == text


def test_nothing_but_spaces_and_their_marks_is_changed() -> None:
    published = 'The " best @-@ known " ( or 1 @,@ 000 ) of John \'s , was <unk> .'
    joined = published.replace("@-@", "-").replace("@,@", ",")
    assert wikitext_line(published).replace(" ", "") == joined.replace(" ", "")


def test_masked_words_are_found_where_they_stand() -> None:
    assert words_of_unknown("a <unk>-<unk> b") == [(2, 7), (8, 13)]
    assert words_of_unknown("a <unk b") == []
