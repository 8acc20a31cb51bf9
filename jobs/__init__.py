"""The work: datasets, training, looking inside networks. Knows nothing of HTTP."""
