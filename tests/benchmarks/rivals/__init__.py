"""Other ways to train the starter's autoencoder, each a process of its own: `python -m tests.benchmarks.rivals.NAME TASK`."""
