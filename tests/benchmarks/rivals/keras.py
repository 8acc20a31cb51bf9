"""(d) Keras 3 on its torch backend over images in memory."""

import os

os.environ["KERAS_BACKEND"] = "torch"

import time

import keras
from keras import layers

from tests.benchmarks.rivals.task import (
    BATCH_SIZE,
    DAMPENING,
    LEARNING_RATE,
    MOMENTUM,
    SIDE,
    VALUES,
    WEIGHT_DECAY,
    Task,
    answer,
    given_task,
    prepared_images,
    wait_for,
)


def keras_autoencoder() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((1, SIDE, SIDE)),
            layers.Rescaling(1 / 256),
            layers.Flatten(),
            layers.Dense(300, "relu"),
            layers.Dense(50, "relu"),
            layers.Dense(300, "relu"),
            layers.Dense(VALUES),
            layers.Reshape((1, SIDE, SIDE)),
        ]
    )


class Stopwatch(keras.callbacks.Callback):
    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        self.began = time.perf_counter()

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        wait_for(self.device)
        self.seconds.append(time.perf_counter() - self.began)


def train(task: Task) -> list[float]:
    images = prepared_images(task)
    model = keras_autoencoder()
    # Keras knows no dampening: with a rate of a tenth its steps are the same. Its weight decay is beside the momentum.
    rate = LEARNING_RATE * (1 - DAMPENING)
    solver = keras.optimizers.SGD(rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY * LEARNING_RATE / rate)
    model.compile(optimizer=solver, loss="mse")
    stopwatch = Stopwatch(task.device)
    model.fit(images, images, batch_size=BATCH_SIZE, epochs=task.epochs, shuffle=True, verbose=0, callbacks=[stopwatch])
    return stopwatch.seconds


if __name__ == "__main__":
    answer(train(given_task()))
