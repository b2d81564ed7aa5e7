"""Downstream evaluation: what can be read off frozen vectors, layer by layer.

source.py    the interface that vectors come through
encoded.py   tokenizer, alphabet and network behind that interface
network.py   a torch network for encoded.py, as it stands in training
data.py      the sets' files -> examples
features.py  sentences and spans -> pooled vectors of every layer
linear.py    standardise, multinomial logistic regression, choice of C
senses.py    nearest centroid by cosine
tagging.py   part of speech with the linear probe
report.py    results on disk, the table
runner.py    which sets, in what order, what is already done
bundle.py    all of it for a bundle on disk

One protocol for every model and every set: a span's vector is the mean of the tokens overlapping it;
sentences that stand in test are taken out of train and dev; each layer and their equal mix are probed alone.
"""
