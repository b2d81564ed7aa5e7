"""Texts that were published as words between spaces, put together as they were written.

No word is changed, added or left out: only spaces go, and the marks that stand for them. `<unk>`, and `N` for
any number in Penn Treebank, stay as they are. Sources: Merity et al. 2016 (arXiv:1609.07843) for WikiText's
` @-@ `, Mikolov et al. 2010 for the treebank, which has neither case nor punctuation.
"""

from __future__ import annotations

UNKNOWN = "<unk>"

_INFIXES = {"@-@": "-", "@,@": ",", "@.@": "."}
_AFTER_A_WORD = frozenset({",", ".", ";", ":", "!", "?", "%", ")", "]", "}", "…", "n't"})
_BEFORE_A_WORD = frozenset({"(", "[", "{", "$", "£", "€", "#"})
_CONTRACTIONS = frozenset({"'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "n't"})


def wikitext_line(line: str) -> str:
    """Join punctuation, brackets, quotation marks, contractions and numbers to the words they belong to.

    A quotation mark opens and closes in turn within a line; headings keep their `=`.
    """
    text = ""
    is_joined = True  # the next word follows without a space
    is_open = {'"': False, "'": False}
    for word in line.split():
        infix = _INFIXES.get(word)
        if infix is not None:
            text, is_joined = text + infix, True
            continue
        closes = is_open.get(word, False) or (word == "'" and text.endswith("s"))
        follows = word in _AFTER_A_WORD or word in _CONTRACTIONS or closes
        text += word if is_joined or follows else " " + word
        is_joined = word in _BEFORE_A_WORD or (word in is_open and not closes)
        if word in is_open:
            is_open[word] = not closes
    return text


def treebank_line(line: str) -> str:
    r"""Join contractions and amounts (`$ N`) to their words; `\/` is a slash."""
    text = ""
    is_joined = True
    for word in line.split():
        follows = word in _CONTRACTIONS or word == "'"
        text += word if is_joined or follows else " " + word
        is_joined = word in ("$", "#")
    return text.replace("\\/", "/")


def words_of_unknown(text: str) -> list[tuple[int, int]]:
    """Return the span of every `<unk>`, in code points."""
    spans = []
    start = text.find(UNKNOWN)
    while start >= 0:
        spans.append((start, start + len(UNKNOWN)))
        start = text.find(UNKNOWN, start + len(UNKNOWN))
    return spans
