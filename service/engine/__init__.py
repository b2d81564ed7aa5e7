"""From sentences to vectors: tokenize, queue, batch, run. Knows nothing of HTTP."""
