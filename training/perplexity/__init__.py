"""Perplexity that others can check, from the files that are served: what `polyseme-train perplexity` does.

detokenize.py  WikiText's and Penn Treebank's words, as text is written
texts.py       files -> named texts, with their words counted as their publishers count them
score.py       negative log-likelihood of every token, through ONNX Runtime
report.py      the numbers, as a table and as JSON
"""
