"""One training, top to bottom: open the dataset, build the network, go through the epochs, keep snapshots."""

import os
import platform
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from jobs.building import NetworkReport, build_and_check
from jobs.errors import BadNetwork, EnvironmentFault, StopRequested, UserError
from jobs.events import in_words
from jobs.folder import JobFolder
from jobs.models.generic_image import GenericImageModelSpec, LearningRateSchedule
from jobs.networks.contract import Network, is_memory_fault, network_fault
from jobs.storage.arrays import open_split, read_mean
from jobs.torch7.weights import load_into
from jobs.training.checkpoints import Position, WithinEpoch, random_state, save_snapshot, seed_random, set_random_state
from jobs.training.data import (
    ImageData,
    Preparation,
    mean_to_subtract,
    order_of_epoch,
    put_on_device,
    random_of_epoch,
    steps_in_epoch,
)
from jobs.training.frames import Frames
from jobs.training.reporting import TrainingReport
from jobs.training.resuming import Beginning, find_beginning, restore, tell
from jobs.training.snapshot_files import newest_step
from jobs.training.solvers import make_optimizer, set_learning_rate, solver_learning_rate
from jobs.training.step import CapturedStep, EagerStep, Precision, Step, may_be_recorded, precision_of
from jobs.training.threads import ThreadChoice, TimedStep, candidates, cores, quiet_threads
from jobs.worker import WorkerJob


@dataclass(frozen=True)
class Training:
    """Everything that stays the same from the first step to the last."""

    job: WorkerJob
    beginning: Beginning
    spec: GenericImageModelSpec
    seed: int
    device: torch.device
    network: Network
    optimizer: Optimizer
    step: Step
    precision: Precision
    prepare: Preparation
    train_data: ImageData
    val_data: ImageData | None
    batch_size: int
    val_batch_size: int


def train(job: WorkerJob) -> None:
    """Do a generic image model job."""
    spec = cast(GenericImageModelSpec, job.spec)
    device = choose_device(spec.select_gpu)
    use_processors(device, spec.allow_tf32)
    dataset_folder = job.sibling(spec.dataset)
    dataset = read_dataset(dataset_folder)
    with advice_on_memory():
        beginning = find_beginning(job, device)
        seed = choose_seed(job, spec.random_seed if beginning.seed is None else beginning.seed)
        seed_random(seed)
        # Of a network that goes on, weights come from its snapshot alone.
        pretrained = partial(take_pretrained_weights, job, spec) if beginning.snapshot is None else None
        network, report = build_and_check(
            spec.custom_network,
            dataset["image_shape"],
            dataset["splits"]["train"]["label_shape"],
            spec.crop_size,
            device=device,
            framework=spec.framework,
            load_weights=pretrained,
        )
        training = prepare_training(job, spec, beginning, seed, device, network, dataset_folder, dataset)
        announce(training, report)
        position = first_position(training)
        if job.is_taken_up:
            tell(job, beginning, position)
        data, precision = training.train_data, training.precision
        with Frames(job, spec, network, training.prepare, precision, data, dataset_folder, dataset, device) as frames:
            go_through_epochs(training, frames, position)


def choose_device(select_gpu: str) -> torch.device:
    """The GPU that the scheduler made visible, or the CPU."""
    if select_gpu == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda:0")


def use_processors(device: torch.device, allow_tf32: bool = False) -> None:
    """Set torch up for speed on this machine."""
    torch.set_num_threads(quiet_threads())
    # Numbers next to zero, which ReLUs and decaying weights make, are slow on CPUs.
    torch.set_flush_denormal(True)
    # Every batch but the last has the same shape: let cuDNN find its fastest way once.
    torch.backends.cudnn.benchmark = device.type == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = allow_tf32
    torch.backends.cudnn.allow_tf32 = allow_tf32


def read_dataset(folder: JobFolder) -> dict[str, Any]:
    try:
        dataset = folder.read_dataset()
    except FileNotFoundError:
        raise UserError(
            f"The dataset {folder.id} is not there: it was deleted or is not finished. Choose another dataset."
        ) from None
    if "images" not in dataset["splits"].get("train", {}):
        raise UserError(
            f"The dataset {folder.id} is no generic image dataset. Make one from it first: New dataset › Images › Other."
        )
    return dataset


def choose_seed(job: WorkerJob, wanted: int | None) -> int:
    """The seed of the form, or one by chance, which is said so that the training can be repeated."""
    seed = secrets.randbelow(2**32) if wanted is None else wanted
    say(job, f"Random seed: {seed}.")
    return seed


def say(job: WorkerJob, text: str) -> None:
    print(text)
    job.events.write("message", level="info", text=text)


def take_pretrained_weights(job: WorkerJob, spec: GenericImageModelSpec, model: nn.Module) -> None:
    """Begin with the weights of the file that the form names, if it names one."""
    if spec.pretrained_model:
        for sentence in load_into(model, Path(spec.pretrained_model), job.paths):
            say(job, sentence)


def prepare_training(
    job: WorkerJob,
    spec: GenericImageModelSpec,
    beginning: Beginning,
    seed: int,
    device: torch.device,
    network: Network,
    dataset_folder: JobFolder,
    dataset: dict[str, Any],
) -> Training:
    """Images on the device and a solver over the weights."""
    lr = solver_learning_rate(spec.solver_type, spec, 0, spec.framework)
    optimizer = make_optimizer(spec.solver_type, network.model.parameters(), lr, spec.framework)
    precision = precision_of(spec.precision, device)
    batch_size = spec.batch_size or network.train_batch_size
    return Training(
        job=job,
        beginning=beginning,
        spec=spec,
        seed=seed,
        device=device,
        network=network,
        optimizer=optimizer,
        step=choose_step(job, spec, device, EagerStep(network, optimizer, precision), batch_size),
        precision=precision,
        prepare=preparation(spec, network, dataset_folder, dataset, device),
        train_data=open_data(dataset_folder, "train", device),
        val_data=open_data(dataset_folder, "val", device) if dataset["splits"].get("val") else None,
        batch_size=batch_size,
        val_batch_size=spec.batch_size or network.validation_batch_size,
    )


def choose_step(
    job: WorkerJob, spec: GenericImageModelSpec, device: torch.device, step: EagerStep, batch_size: int
) -> Step:
    """The fastest way to run the step on this device."""
    if device.type == "cuda":
        captures = spec.cuda_graph and may_be_recorded(step.network)
        return CapturedStep(step, batch_size, device, partial(say, job)) if captures else step
    if spec.random_seed is not None or "OMP_NUM_THREADS" in os.environ:
        # Sums come out a little different with each number of threads: a training that is to repeat keeps to one.
        say(job, f"Threads: {torch.get_num_threads()} of {cores()} cores.")
        return step
    return TimedStep(step, ThreadChoice(candidates(cores())))


def preparation(
    spec: GenericImageModelSpec,
    network: Network,
    dataset_folder: JobFolder,
    dataset: dict[str, Any],
    device: torch.device,
) -> Preparation:
    """What is done to every image before this network sees it; UserError when the mean it asks for is not there."""
    mean = None
    if spec.use_mean != "none":
        array = read_mean(dataset_folder)
        if array is None:
            raise UserError(
                f"The model subtracts the mean ({spec.use_mean}), and the dataset has no mean file. "
                'Set "Subtract mean" to none, or make a dataset with a mean image.'
            )
        if list(array.shape) != list(dataset["image_shape"]):
            raise UserError(
                f"The mean image has shape {tuple(array.shape)} and the images {tuple(dataset['image_shape'])}. "
                "Make a dataset with the mean image of these images."
            )
        mean = mean_to_subtract(array, spec.use_mean, device)
    return Preparation(mean, spec.crop_size or network.crop_size)


def open_data(dataset_folder: JobFolder, split: Any, device: torch.device) -> ImageData:
    arrays = open_split(dataset_folder, split)
    return put_on_device(arrays.images, arrays.labels, device)


def announce(training: Training, report: NetworkReport) -> None:
    print(f"Network definition:\n{report.printed or training.network.model}\nNetwork definition ends")
    training.job.events.write(
        "network",
        layers=report.as_json()["layers"],
        printed=report.printed,
        parameters=report.parameters,
        code_layer=report.code_layer,
        device=str(training.device),
        device_name=device_name(training.device),
        steps_per_epoch=steps_in_epoch(len(training.train_data), training.batch_size),
        epochs=training.spec.train_epochs,
        batch_size=training.batch_size,
        validation_batch_size=training.val_batch_size,
        train_images=len(training.train_data),
        validation_images=len(training.val_data) if training.val_data else 0,
    )


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "CPU")


def first_position(training: Training) -> Position:
    """Where the training begins or goes on, with everything as it was there."""
    steps = steps_in_epoch(len(training.train_data), training.batch_size)
    position = Position(training.beginning.step, steps, steps * training.spec.train_epochs)
    restore(training.beginning, training.network.model, training.optimizer, position)
    return position


def go_through_epochs(training: Training, frames: Frames, position: Position) -> None:
    """The loop."""
    spec, data, optimizer = training.spec, training.train_data, training.optimizer
    report = new_report(training, position)
    last_lr: float | None = None
    for epoch in range(training.beginning.epoch(position), spec.train_epochs + 1):
        order = order_of_epoch(len(data), training.seed, epoch, spec.shuffle)
        seen = (position.step - (epoch - 1) * position.steps_per_epoch) * training.batch_size
        random = random_of_epoch(training.seed, epoch, training.device)
        training.beginning.set_random(random, epoch)
        training.network.model.train()
        for raw_images, labels in data.batches(order[seen:], training.batch_size):
            frames.between_steps(position)
            stop_if_asked(training, report, position, random)
            lr = solver_learning_rate(spec.solver_type, spec, position.percent, spec.framework)
            if lr != last_lr:
                set_learning_rate(optimizer, lr)
                last_lr = lr
            loss = do_step(training, training.prepare(raw_images, random), labels, position)
            report.step(loss, lr, len(labels))
            position = replace(position, step=position.step + 1)
        frames.end_of_epoch(position)
        validates, keeps = end_of_epoch(spec, epoch)
        before = random_state()
        if validates and not validate(training, position):
            # It will be done again, from its first batch.
            set_random_state(before)
            snapshot(training, position, WithinEpoch(untold=report.untold(), is_over=False))
            raise StopRequested
        if keeps:
            snapshot(training, position, WithinEpoch(untold=report.untold()))


def new_report(training: Training, position: Position) -> TrainingReport:
    """What says how the training goes, from `position` on."""
    images = len(training.train_data)
    epochs, steps = divmod(position.step, position.steps_per_epoch)
    return TrainingReport(
        training.job.events,
        position,
        images,
        training.device,
        partial(end_of_epoch, training.spec),
        images_done=epochs * images + steps * training.batch_size,
        untold=training.beginning.untold,
    )


def do_step(training: Training, images: Tensor, labels: Tensor, position: Position) -> Tensor:
    """Learn from one batch; the loss stays on the device."""
    try:
        return training.step(images, labels)
    except (Exception, SystemExit) as error:
        if is_memory_fault(error):
            raise
        raise step_fault(training, error, f"step {position.step + 1}, a batch of {len(labels)}") from error


def step_fault(training: Training, error: BaseException, where: str) -> BadNetwork:
    """The network passed its check and fails now: say at which batch."""
    fault = error if isinstance(error, BadNetwork) else network_fault(error, training.network.filename)
    return BadNetwork(f"{str(fault).rstrip('.')} (in {where}).", fault.line)


def stop_if_asked(training: Training, report: TrainingReport, position: Position, random: torch.Generator) -> None:
    """Between two steps: keep what was learnt, then stop."""
    if not training.job.stop.is_set():
        return
    report.finish()
    if position.step > newest_step(training.job.folder):
        is_between = position.step % position.steps_per_epoch == 0
        snapshot(training, position, WithinEpoch(random=None if is_between else random.get_state()))
    raise StopRequested


def end_of_epoch(spec: GenericImageModelSpec, epoch: int) -> tuple[bool, bool]:
    """Whether this epoch ends with a validation, and with a snapshot."""
    is_last = epoch == spec.train_epochs
    return is_due(epoch, spec.val_interval, is_last), is_due(epoch, spec.snapshot_interval, is_last) or is_last


def is_due(epoch: int, interval: int, is_last: bool) -> bool:
    """Whether this epoch ends with it. 0 is never."""
    return interval > 0 and (epoch % interval == 0 or is_last)


def validate(training: Training, position: Position) -> bool:
    """The mean loss over the validation images, batch by batch as DIGITS took it; False when a stop was asked before."""
    data, network = training.val_data, training.network
    if data is None:
        return True
    total = torch.zeros((), device=training.device)
    network.model.eval()
    with torch.no_grad():
        for raw_images, labels in data.batches(torch.arange(len(data)), training.val_batch_size):
            if training.job.stop.is_set():
                return False
            images = training.prepare(raw_images)
            try:
                with training.precision():
                    total += network.loss(network.model(images), network.label_hook(images, labels))
            except (Exception, SystemExit) as error:
                if is_memory_fault(error):
                    raise
                raise step_fault(training, error, f"validation, a batch of {len(labels)}") from error
    loss = total.item() / steps_in_epoch(len(data), training.val_batch_size)
    training.job.events.write("validation", step=position.step, epoch=position.epochs_done, loss=in_words(loss))
    return True


def snapshot(training: Training, position: Position, within_epoch: WithinEpoch) -> None:
    schedule = training.spec.model_dump(include=set(LearningRateSchedule.model_fields) - {"kind"})

    def save() -> str:
        # What was told up to here must not be lost where the snapshot is not.
        training.job.events.sync()
        return save_snapshot(
            training.job.folder,
            training.network.model,
            training.optimizer,
            position,
            schedule,
            training.seed,
            within_epoch,
        )

    file = training.job.when_there_is_room(save, f"the snapshot of epoch {position.epoch}")
    training.job.events.write("snapshot", epoch=position.epoch, step=position.step, file=file)


@contextmanager
def advice_on_memory() -> Iterator[None]:
    """Say what helps when the device or the machine has no memory left."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        where = "The GPU" if isinstance(error, torch.OutOfMemoryError) else "The machine"
        raise EnvironmentFault(
            f"{where} has no memory left for this training. "
            "Try a smaller batch size, smaller images or a smaller network."
        ) from error
