from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from training.perplexity.texts import Line, Text, plain_text, read_blocks, read_texts, treebank, wikitext

THREE = "one two\nthree\n\n\nfour\n\nfive six seven\n"


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three documents."""
    path = tmp_path / "three.txt.xz"
    path.write_bytes(lzma.compress(THREE.encode()))
    return path


def test_a_line_and_its_end_are_words(three: Path) -> None:
    text = plain_text(three)
    assert text.name == "three.txt.xz"
    assert text.lines == [Line("one two", 3), Line("three", 2), Line("four", 2), Line("five six seven", 4)]
    assert text.parts == {}
    assert text.num_blank_lines == 0


def test_sources_are_so_many_documents_each(three: Path) -> None:
    text = plain_text(three, {"web": 2, "books": 1})
    assert text.parts == {"web": range(3), "books": range(3, 4)}
    assert [line.text for line in text.lines[3:4]] == ["five six seven"]


def test_sources_that_do_not_fit_are_refused(three: Path) -> None:
    with pytest.raises(ValueError, match=r"three.txt.xz: expected 4 documents, .* found 3"):
        plain_text(three, {"web": 4})


def test_wikitext_is_counted_as_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "wiki.test.tokens.txt"
    path.write_text(" \n = Title = \n \n The <unk> , 1 @,@ 000 . \n", encoding="utf-8")
    text = wikitext(path)
    assert text.lines == [Line("= Title =", 4), Line("The <unk>, 1,000.", 8, ((4, 9),))]
    assert text.num_blank_lines == 2  # 4 + 8 + 2 = the 10 words of the file and its 4 line ends


def test_the_treebank_is_counted_as_it_is_published(tmp_path: Path) -> None:
    path = tmp_path / "ptb.test.txt"
    path.write_text(" it was n't <unk> \n", encoding="utf-8")
    text = treebank(path)
    assert text.lines == [Line("it wasn't <unk>", 5, ((10, 15),))]


def test_files_come_in_order_and_published_sets_last(three: Path, tmp_path: Path) -> None:
    sources = tmp_path / "sources.toml"
    sources.write_text('["three.txt.xz"]\nweb = 3\n["another.txt"]\nweb = 1\n', encoding="utf-8")
    published = tmp_path / "ptb.test.txt"
    published.write_text("a b\n", encoding="utf-8")
    texts = read_texts([three], sources, ptb_file=published, wikitext_file=published)
    assert [text.name for text in texts] == ["three.txt.xz", "ptb.test.txt", "ptb.test.txt"]
    assert texts[0].parts == {"web": range(4)}
    assert texts[1].treatment != texts[2].treatment


def test_without_a_text_there_is_nothing_to_measure() -> None:
    with pytest.raises(ValueError, match="expected a text to measure on"):
        read_texts([])


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("x = 1", "x: expected a table"),
        ('["a.txt"]\nweb = 0', "a.txt: expected a table of numbers"),
        ('["a.txt"]\nweb = true', "a.txt: expected a table of numbers"),
        ("[", "sources.toml: "),
    ],
)
def test_other_sources_are_refused(toml: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "sources.toml"
    path.write_text(toml, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_blocks(path)
    with pytest.raises(ValueError, match="No such file"):
        read_blocks(tmp_path / "none.toml")


def test_the_shipped_sources_are_well_formed() -> None:
    path = Path(__file__).parents[3] / "training" / "perplexity" / "enko.sources.toml"
    blocks = read_blocks(path)
    assert {name: sum(own.values()) for name, own in blocks.items()} == {
        "heldout.en.txt.xz": 117,
        "heldout.ko.txt.xz": 377,
    }


def test_a_text_has_no_parts_unless_told() -> None:
    assert Text("a", "b", []).parts == {}
