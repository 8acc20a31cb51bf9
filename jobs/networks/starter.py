"""Text of the network that a new model starts from: an autoencoder with a code of 50 nodes."""

from math import prod

from jobs.models.generic_image import Framework

PYTHON = """\
from torch import nn

autoencoder = nn.Sequential(
    Scale(1 / 256), nn.Flatten(),
    nn.Linear({values}, 300), nn.ReLU(), nn.Linear(300, 50), nn.ReLU(),
    nn.Linear(50, 300), nn.ReLU(), nn.Linear(300, {values}), nn.Unflatten(1, ({channels}, {height}, {width})))

def network(params):
    return dict(model=autoencoder, loss=nn.MSELoss(), train_batch_size=64, validation_batch_size=100,
                label_hook=lambda input, label: input)   # the target is the input
"""

LUA = """\
local autoencoder = nn.Sequential()
autoencoder:add(nn.MulConstant(1 / 256))
autoencoder:add(nn.View(-1):setNumInputDims(3))  -- an image becomes {values} values
autoencoder:add(nn.Linear({values}, 300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300, 50))  -- the code
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(50, 300))
autoencoder:add(nn.ReLU())
autoencoder:add(nn.Linear(300, {values}))
autoencoder:add(nn.View({channels}, {height}, {width}):setNumInputDims(1))  -- and an image again

return function(params)
    return {{
        model = autoencoder,
        loss = nn.MSECriterion(),
        trainBatchSize = 64,
        validationBatchSize = 100,
        labelHook = function(input, label) return input end,  -- the target is the input
    }}
end
"""

STARTERS: dict[Framework, str] = {"pytorch": PYTHON, "torch": LUA}


def starter_network(image_shape: tuple[int, int, int], framework: Framework = "pytorch") -> str:
    """An autoencoder for images of this shape, (channels, height, width), in the language of the framework."""
    channels, height, width = image_shape
    return STARTERS[framework].format(values=prod(image_shape), channels=channels, height=height, width=width)
