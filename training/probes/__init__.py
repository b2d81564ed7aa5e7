"""Downstream evaluation: what can be read off frozen vectors, layer by layer.

sets.py        which sets, and which protocol measures each
runner.py      in what order, and what is already done
bundle.py      all of it for a bundle on disk

source.py      the interface that vectors and scores come through
encoded.py     tokenizer, alphabet and network behind that interface
network.py     a torch network for encoded.py, as it stands in training

readers/       the sets' files -> examples
selection.py   which part of a set is taken
features.py    sentences and spans -> pooled vectors of every layer
mix.py         the learned mix, by the code that learns a task for the service
linear.py      standardise, multinomial logistic regression, choice of C
probing.py     that on each kind of vector

senses.py      word senses: nearest centroid by cosine
all_words.py   the same for all words of a text, back-off to WordNet's first sense
pairs.py       two words or two sentences: the cosine
tagging.py     parts of speech and names: the linear probe
sentences.py   sentences: the linear probe, and what typing errors cost
choices.py     which of two texts is likelier

metrics.py     accuracy, macro-F1, ... of resamples too
intervals.py   95% intervals, and the learned mix against the best layer
picture.py     a word's senses in two dimensions
report.py      results on disk
rows.py        rows measured elsewhere; anchors.json has the published ones
table.py       the report's tables
plots.py       its pictures

One protocol for every model and every set: a span's vector is the mean of the tokens overlapping it;
sentences that stand in test are taken out of train and dev; each layer, the equal and the learned mix are
probed alone; nothing is chosen by a test.
"""
