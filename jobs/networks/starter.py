"""Text of the network that a new model starts from: an autoencoder with a code of 50 nodes."""

from math import prod

STARTER = """\
from torch import nn

autoencoder = nn.Sequential(
    Scale(1 / 256), nn.Flatten(),
    nn.Linear({values}, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, {values}), nn.Unflatten(1, {shape}))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)   # the target is the input
"""


def starter_network(image_shape: tuple[int, int, int]) -> str:
    """Python text of an autoencoder for images of this shape, (channels, height, width)."""
    return STARTER.format(values=prod(image_shape), shape=tuple(image_shape))
