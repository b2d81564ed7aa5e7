"""What the model is compared with, probed by the protocol of training/probes: `polyseme-train baseline`.

words.py      a text -> words with offsets, for vectors of words
static.py     fastText vectors, trained on the same text; alone, and with their neighbours beside them
counts.py     without vectors, over all sets: tfidf.py for texts, tags.py for words
untrained.py  the same network with random weights
recurrent.py  the line of recurrent language models that ELMo grew out of, trained on the same tokens
commands.py   one command each; arguments.py its options

Rows are kept as training/probes/rows.py has them, for a report to join.
"""
