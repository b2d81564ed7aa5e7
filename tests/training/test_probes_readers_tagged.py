from __future__ import annotations

from pathlib import Path

import pytest

from training.probes.readers.tagged import TaggedSentence, read_conllu, read_two_columns


def conllu_line(identifier: str, form: str, tag: str, misc: str = "_") -> str:
    return "\t".join([identifier, form, "_", tag, "_", "_", "0", "root", "_", misc])


def read_text(folder: Path, *lines: str) -> list[TaggedSentence]:
    path = folder / "some.conllu"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return read_conllu(path)


def test_words_are_found_in_the_text_comment(tmp_path: Path) -> None:
    (sentence,) = read_text(
        tmp_path,
        "# sent_id = 1",
        "# text = Al-Ani  spoke, 1 + 1 = 2.",
        conllu_line("1", "Al", "PROPN", "SpaceAfter=No"),
        conllu_line("2", "-", "PUNCT", "SpaceAfter=No"),
        conllu_line("3", "Ani", "PROPN"),
        conllu_line("4", "spoke", "VERB", "SpaceAfter=No"),
        conllu_line("5", ",", "PUNCT"),
        conllu_line("6", "1 + 1 = 2", "NUM", "SpaceAfter=No"),
        conllu_line("7", ".", "PUNCT"),
        "",
    )
    assert sentence.text == "Al-Ani  spoke, 1 + 1 = 2."
    assert sentence.words == ("Al", "-", "Ani", "spoke", ",", "1 + 1 = 2", ".")
    assert [sentence.text[start:end] for start, end in sentence.spans] == list(sentence.words)
    assert sentence.spans[:4] == ((0, 2), (2, 3), (3, 6), (8, 13))
    assert sentence.tags == ("PROPN", "PUNCT", "PROPN", "VERB", "PUNCT", "NUM", "PUNCT")


def test_multiword_tokens_split_where_their_words_spell_them_and_are_shared_where_not(tmp_path: Path) -> None:
    (sentence,) = read_text(
        tmp_path,
        "# text = I don't go zum Haus",
        conllu_line("1", "I", "PRON"),
        conllu_line("2-3", "don't", "_"),
        conllu_line("2", "do", "AUX"),
        conllu_line("3", "n't", "PART"),
        conllu_line("4", "go", "VERB"),
        conllu_line("5-6", "zum", "_"),
        conllu_line("5", "zu", "ADP"),
        conllu_line("6", "dem", "DET"),
        conllu_line("6.1", "elided", "VERB"),
        conllu_line("7", "Haus", "NOUN"),
        "",
    )
    assert sentence.words == ("I", "do", "n't", "go", "zu", "dem", "Haus")
    assert [sentence.text[start:end] for start, end in sentence.spans] == [
        "I",
        "do",
        "n't",
        "go",
        "zum",
        "zum",
        "Haus",
    ]


def test_without_a_text_comment_words_are_joined(tmp_path: Path) -> None:
    korean, glued = read_text(
        tmp_path,
        conllu_line("1", "배가", "NOUN"),
        conllu_line("2", "고프다", "ADJ"),
        conllu_line("3", ".", "PUNCT"),
        "",
        conllu_line("1-2", "cannot", "_", "SpaceAfter=No"),
        conllu_line("1", "can", "AUX"),
        conllu_line("2", "not", "PART"),
        conllu_line("3", "!", "PUNCT", "Gloss=a|SpaceAfter=No"),
        conllu_line("4", "😀", "SYM"),
    )
    assert korean == TaggedSentence(
        "배가 고프다 .", ("배가", "고프다", "."), ((0, 2), (3, 6), (7, 8)), ("NOUN", "ADJ", "PUNCT")
    )
    assert glued.text == "cannot!😀"
    assert glued.spans == ((0, 3), (3, 6), (6, 7), (7, 8))


@pytest.mark.parametrize("text", ["a c", "a b c"])
def test_a_text_that_the_words_do_not_spell_is_left_for_the_joined_words(tmp_path: Path, text: str) -> None:
    (sentence,) = read_text(
        tmp_path, f"# text = {text}", conllu_line("1", "a", "X"), conllu_line("2", "b", "X"), ""
    )
    assert sentence.text == "a b"
    assert sentence.spans == ((0, 1), (2, 3))


@pytest.mark.parametrize(
    ("line", "said"), [("1\ta\tb", "10 tab-separated"), (conllu_line("x", "a", "X"), "'x'")]
)
def test_malformed_conllu_is_refused_with_its_line(tmp_path: Path, line: str, said: str) -> None:
    with pytest.raises(ValueError, match=r"some\.conllu:2: ") as refused:
        read_text(tmp_path, conllu_line("1", "a", "X"), line)
    assert said in str(refused.value)


def test_two_columns_are_sentences_apart_by_an_empty_line(tmp_path: Path) -> None:
    path = tmp_path / "train.conll"
    path.write_text("New\tB-location\nYork\tI-location\n\n\t\n!\tO", encoding="utf-8")
    assert read_two_columns(path) == [
        TaggedSentence("New York", ("New", "York"), ((0, 3), (4, 8)), ("B-location", "I-location")),
        TaggedSentence("!", ("!",), ((0, 1),), ("O",)),
    ]


@pytest.mark.parametrize("line", ["alone", "word\t", "\tO", "a\tO\tO"])
def test_malformed_columns_are_refused_with_their_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "train.conll"
    path.write_text(f"a\tO\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"train\.conll:2: expected a word, a tab and a tag"):
        read_two_columns(path)
