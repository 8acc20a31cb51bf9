"""What the frames of the pinned image cost: the same training with and without them, in turns."""

from tests.benchmarks.bench import Bench, epoch_seconds
from tests.benchmarks.figures import Figure, at_most, ratios


def measure(bench: Bench) -> list[Figure]:
    seconds: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(bench.scale.rounds):
        # Whoever is second in a round is so the next time first: a drift of the machine falls on both.
        for live in (True, False) if turn % 2 else (False, True):
            seconds[live].append(seconds_of_training(bench, live))
    cost = [100 * (ratio - 1) for ratio in ratios(seconds[True], seconds[False])]
    return [Figure("what live layers cost the training", "%", cost, at_most(3))]


def seconds_of_training(bench: Bench, live: bool) -> float:
    """Without the first epoch."""
    form = bench.model_form(train_epochs=str(3 * bench.scale.epochs), select_gpu="cpu", live_layers=str(int(live)))
    job = bench.site.train(form)
    bench.site.wait(job)
    return sum(epoch_seconds(job))
