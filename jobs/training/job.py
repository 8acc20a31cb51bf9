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
from jobs.containment.limits import GIB, memory_limit
from jobs.datasets.generic_image import label_range
from jobs.errors import BadNetwork, EnvironmentFault, StopRequested, UserError
from jobs.events import in_words
from jobs.folder import JobFolder
from jobs.models.generic_image import GenericImageModelSpec
from jobs.networks.contract import Network, is_memory_fault, network_fault
from jobs.storage.arrays import open_split, read_mean
from jobs.torch7.weights import load_into
from jobs.training.checkpoints import Position, WithinEpoch, random_state, seed_random, set_random_state
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
from jobs.training.keeping import SnapshotKeeper
from jobs.training.outside import NetworkState
from jobs.training.plan import Plan, read_extensions
from jobs.training.reporting import TrainingReport
from jobs.training.resuming import Beginning, find_beginning, restore, tell
from jobs.training.solvers import make_optimizer, set_learning_rate
from jobs.training.step import CapturedStep, EagerStep, Precision, Step, may_be_recorded, precision_of
from jobs.training.threads import ThreadChoice, TimedStep, candidates, cores, quiet_threads
from jobs.worker import WorkerJob


@dataclass(frozen=True)
class Training:
    """Everything that stays the same from the first step to the last."""

    job: WorkerJob
    beginning: Beginning
    spec: GenericImageModelSpec
    plan: Plan
    keeper: SnapshotKeeper
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
    use_processors(device, spec.allow_tf32, repeats=spec.random_seed is not None)
    dataset_folder = job.sibling(spec.dataset)
    dataset = read_dataset(dataset_folder)
    with advice_on_memory():
        beginning = find_beginning(job, device)
        seed = choose_seed(job, spec.random_seed) if beginning.seed is None else beginning.seed
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
            images_are_centred=spec.use_mean != "none",
            label_range=label_range(dataset),
        )
        training = prepare_training(job, spec, beginning, seed, device, network, dataset_folder, dataset)
        announce(training, report)
        if not job.is_taken_up:
            for sentence in report.advice:
                warn(job, sentence)
        position = first_position(training)
        if job.is_taken_up:
            tell(job, beginning, position)
            tell_of_extension(training, position)
        data, precision = training.train_data, training.precision
        with Frames(
            job, training.plan, network, training.prepare, precision, data, dataset_folder, dataset, device
        ) as frames:
            go_through_epochs(training, frames, position)


def choose_device(select_gpu: str) -> torch.device:
    """The GPU that the scheduler made visible, or the CPU."""
    if select_gpu == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda:0")


def use_processors(device: torch.device, allow_tf32: bool = False, repeats: bool = False) -> None:
    """Set torch up for speed on this machine; on a GPU for the same results each time where that is asked for.

    What has no way to give the same each time says so in the log, once.
    """
    torch.set_num_threads(quiet_threads())
    # Numbers next to zero, which ReLUs and decaying weights make, are slow on CPUs.
    torch.set_flush_denormal(True)
    is_gpu = device.type == "cuda"
    # Every batch but the last has the same shape: let cuDNN find its fastest way once, which may be another each time.
    torch.backends.cudnn.benchmark = is_gpu and not repeats
    if is_gpu and repeats:
        torch.backends.cudnn.deterministic = True
        # cuBLAS reads it when it is used first.
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
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
    if wanted is None or not job.is_taken_up:
        say(job, f"Random seed: {seed}.")
    return seed


def say(job: WorkerJob, text: str) -> None:
    print(text)
    job.events.write("message", level="info", text=text)


def warn(job: WorkerJob, text: str) -> None:
    print(text)
    job.events.write("message", level="warning", text=text)


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
    plan = Plan(spec, read_extensions(job.folder))
    train_data = open_data(dataset_folder, "train", device)
    batch_size = spec.batch_size or network.train_batch_size
    lr = plan.learning_rate(0, steps_in_epoch(len(train_data), batch_size))
    optimizer = make_optimizer(spec.solver_type, network.model.parameters(), lr, spec.framework)
    precision = precision_of(spec.precision, device)
    return Training(
        job=job,
        beginning=beginning,
        spec=spec,
        plan=plan,
        keeper=SnapshotKeeper(job, spec, network, optimizer, seed),
        seed=seed,
        device=device,
        network=network,
        optimizer=optimizer,
        step=choose_step(job, spec, device, EagerStep(network, optimizer, precision), batch_size),
        precision=precision,
        prepare=preparation(spec, network, dataset_folder, dataset, device),
        train_data=train_data,
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
        if not job.is_taken_up:
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
        epochs=training.plan.epochs,
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
    position = Position(training.beginning.step, steps, steps * training.plan.epochs)
    restore(training.beginning, training.network, training.optimizer, position)
    return position


def tell_of_extension(training: Training, position: Position) -> None:
    """Say it where a training that had ended goes on to epochs that were added."""
    steps = position.steps_per_epoch
    for extension, begin in zip(training.plan.extensions, training.plan.ends, strict=False):
        # A snapshot that is older than its end may be all that is good.
        if position.step <= begin * steps:
            rate = training.plan.learning_rate(begin * steps, steps)
            more = "1 epoch more" if extension.epochs == 1 else f"{extension.epochs:,} epochs more"
            say(training.job, f"It trains {more}, at the learning rate {rate:g}.")


def go_through_epochs(training: Training, frames: Frames, position: Position) -> None:
    report = new_report(training, position)
    try:
        learn(training, frames, report, position)
    # What a network raises, and a device or a machine without memory.
    except (BadNetwork, MemoryError, RuntimeError):
        report.give_up()
        raise


def learn(training: Training, frames: Frames, report: TrainingReport, position: Position) -> None:
    """The loop."""
    plan, keeper, data, optimizer = training.plan, training.keeper, training.train_data, training.optimizer
    last_lr: float | None = None
    for epoch in range(training.beginning.epoch(position), plan.epochs + 1):
        order = order_of_epoch(len(data), training.seed, epoch, plan.spec.shuffle)
        seen = (position.step - (epoch - 1) * position.steps_per_epoch) * training.batch_size
        random = random_of_epoch(training.seed, epoch, training.device)
        training.beginning.set_random(random, epoch)
        if seen == 0:
            report.begin_epoch()
        training.network.model.train()
        for raw_images, labels in data.batches(order[seen:], training.batch_size):
            frames.between_steps(position)
            stop_if_asked(training, report, position, random)
            if keeper.is_due:
                report.flush()
                keeper.keep_passing(position, within_epoch(report, position, random))
            lr = plan.learning_rate(position.step, position.steps_per_epoch)
            if lr != last_lr:
                set_learning_rate(optimizer, lr)
                last_lr = lr
            loss = do_step(training, training.prepare(raw_images, random), labels, position)
            report.step(loss, lr, len(labels))
            position = replace(position, step=position.step + 1)
        frames.end_of_epoch(position)
        validates, keeps = plan.at_end(epoch)
        validation_loss = validate_or_put_back(training, report, position) if validates else None
        if keeps:
            keeper.keep_epoch(position, within_epoch(report, position), validation_loss)


def within_epoch(
    report: TrainingReport, position: Position, random: torch.Generator | None = None, is_over: bool = True
) -> WithinEpoch:
    """What of this moment its step does not say. All steps must have been flushed."""
    state = None if random is None or position.is_between_epochs else random.get_state()
    return WithinEpoch(state, report.untold(), is_over, report.losses)


def new_report(training: Training, position: Position) -> TrainingReport:
    """What says how the training goes, from `position` on."""
    images = len(training.train_data)
    epochs, steps = divmod(position.step, position.steps_per_epoch)
    return TrainingReport(
        training.job.events,
        position,
        images,
        training.device,
        training.plan.at_end,
        images_done=epochs * images + steps * training.batch_size,
        untold=training.beginning.untold,
        losses=training.beginning.losses,
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
    try:
        training.job.check_stop()
    except StopRequested:
        report.finish()
        training.keeper.keep_stopped(position, within_epoch(report, position, random))
        raise


def validate_or_put_back(training: Training, report: TrainingReport, position: Position) -> float | None:
    """The mean loss; what was learnt before is kept where a stop is asked for."""
    # Gone when this is done: they may hold what the last step computed.
    random_before, before = random_state(), NetworkState(training.network)
    try:
        loss = validate(training, position)
    except StopRequested:
        # It will be done again, from its first batch.
        set_random_state(random_before)
        before.put_back()
        training.keeper.keep_epoch(position, within_epoch(report, position, is_over=False))
        raise
    before.put_back_computed()
    return loss


def validate(training: Training, position: Position) -> float | None:
    """The mean loss over the validation images, batch by batch as DIGITS took it; None where there are none."""
    data, network = training.val_data, training.network
    if data is None:
        return None
    total = torch.zeros((), device=training.device)
    network.model.eval()
    with torch.no_grad():
        for raw_images, labels in data.batches(torch.arange(len(data)), training.val_batch_size):
            training.job.check_stop()
            images = training.prepare(raw_images)
            try:
                with training.precision():
                    # Some losses give one number as a vector of one.
                    total += network.loss(network.model(images), network.label_hook(images, labels)).reshape(())
            except (Exception, SystemExit) as error:
                if is_memory_fault(error):
                    raise
                raise step_fault(training, error, f"validation, a batch of {len(labels)}") from error
    loss: float = total.item() / steps_in_epoch(len(data), training.val_batch_size)
    training.job.events.write("validation", step=position.step, epoch=position.epochs_done, loss=in_words(loss))
    return loss


@contextmanager
def advice_on_memory() -> Iterator[None]:
    """Say what helps when the device or the machine has no memory left."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory_fault(error):
            raise
        advice = "Try a smaller batch size, smaller images or a smaller network."
        limit = memory_limit()
        if isinstance(error, torch.OutOfMemoryError):
            found = "The GPU has no memory left for this training."
        elif limit is None:
            found = "The machine has no memory left for this training."
        else:
            found = (
                f"This training wants more memory than the {limit / GIB:.3g} GiB that it may have, or that are left."
            )
            advice += " Or start the server with a larger --memory-limit."
        raise EnvironmentFault(f"{found} {advice}") from error
