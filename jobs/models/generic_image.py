"""Images › Other: a network of the user's own, trained on a generic image dataset."""

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AliasChoices, BeforeValidator, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jobs.folder import JOB_ID
from jobs.registry import JobKind
from jobs.specs import FormFields, GroupName, JobName, JobSpec, OptionalFloat, OptionalInt, existing_file, required_if

Framework = Literal["pytorch", "torch"]
Solver = Literal["SGD", "NESTEROV", "ADAM", "ADAGRAD", "RMSPROP", "ADADELTA"]
Policy = Literal["fixed", "step", "multistep", "exp", "inv", "poly", "sigmoid"]
KeepSnapshots = Literal["all", "last", "best"]
Epochs = Annotated[int, Field(ge=0, le=1_000_000)]
Factor = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Percentage = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]


def _percentages(value: Any) -> Any:
    """The text `50,85` of the form as a list of numbers; a list stays as it is."""
    if not isinstance(value, str):
        return value
    try:
        return [float(part) for part in value.split(",")]
    except ValueError:
        raise PydanticCustomError("multistep", "Give percentages with commas between them, such as 50,85.") from None


class LearningRateSchedule(FormFields):
    """The learning rate as a function of the share of training that is done; DIGITS's seven policies."""

    learning_rate: float = Field(0.01, gt=0, allow_inf_nan=False, title="Base learning rate")
    lr_policy: Policy = Field(
        "step",
        title="Policy",
        json_schema_extra={
            "choices": {
                "fixed": "Fixed",
                "step": "Step down",
                "multistep": "Step down (arbitrary steps)",
                "exp": "Exponential decay",
                "inv": "Inverse decay",
                "poly": "Polynomial decay",
                "sigmoid": "Sigmoid decay",
            }
        },
    )
    lr_step_size: float = Field(33, gt=0, le=100, title="Step size (%)", json_schema_extra={"policy": "step"})
    lr_step_gamma: Factor = Field(0.1, title="Gamma", json_schema_extra={"policy": "step"})
    lr_multistep_values: Annotated[list[Percentage], BeforeValidator(_percentages)] = Field(
        [50, 85], title="Steps (%)", json_schema_extra={"policy": "multistep"}
    )
    lr_multistep_gamma: Factor = Field(0.5, title="Gamma", json_schema_extra={"policy": "multistep"})
    lr_exp_gamma: Factor = Field(0.95, title="Gamma", json_schema_extra={"policy": "exp"})
    lr_inv_gamma: Factor = Field(0.1, title="Gamma", json_schema_extra={"policy": "inv"})
    lr_inv_power: Factor = Field(0.5, title="Power", json_schema_extra={"policy": "inv"})
    lr_poly_power: Factor = Field(3, title="Power", json_schema_extra={"policy": "poly"})
    lr_sigmoid_step: float = Field(50, ge=0, le=100, title="Step (%)", json_schema_extra={"policy": "sigmoid"})
    lr_sigmoid_gamma: Factor = Field(0.1, title="Gamma", json_schema_extra={"policy": "sigmoid"})


class GenericImageModelSpec(LearningRateSchedule, JobSpec):
    name_field: ClassVar[str] = "model_name"

    kind: Literal["generic-image-model"] = "generic-image-model"
    model_name: JobName = Field(title="Model name")
    group_name: GroupName = ""
    dataset: str = Field("", title="Dataset", description="What the network learns from.")

    train_epochs: int = Field(
        30, ge=1, le=1_000_000, title="Training epochs", description="How often every image is seen."
    )
    snapshot_interval: Epochs = Field(
        1, title="Snapshot interval (epochs)", description="How often the weights are kept. 0: at the end only."
    )
    keep_snapshots: KeepSnapshots = Field(
        "all",
        title="Keep snapshots",
        description="Best: of the lowest validation loss or, where there is none, training loss.",
        json_schema_extra={"choices": {"all": "All", "last": "The last ones", "best": "The best and the last ones"}},
    )
    keep_last: int = Field(
        2, ge=2, le=1_000_000, title="How many last ones", description="Two at least, in case the newest gets damaged."
    )
    snapshot_minutes: OptionalFloat = Field(
        10,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        title="Snapshot interval (minutes)",
        description="Between those of epochs, to go on from after a crash. Blank: never.",
    )
    time_limit: OptionalFloat = Field(
        None,
        gt=0,
        le=1_000_000,
        allow_inf_nan=False,
        title="Time limit (hours)",
        description="Its running time, over crashes and pauses. Then it stops with a snapshot; resumed, or trained "
        "longer when done, it has as long again. Blank: none.",
    )
    val_interval: Epochs = Field(
        1, title="Validation interval (epochs)", description="How often the validation images are tried. 0: never."
    )
    random_seed: OptionalInt = Field(
        None,
        ge=0,
        lt=2**63,
        title="Random seed",
        description="The same seed gives the same training, on CPUs a little slower. Blank: by chance.",
    )
    batch_size: OptionalInt = Field(
        None, ge=1, le=1_000_000, title="Batch size", description="Blank: what the network asks for, else 16."
    )
    shuffle: bool = Field(True, title="Shuffle training data")
    solver_type: Solver = Field(
        "SGD",
        title="Solver type",
        description="SGD is Torch7's: momentum 0.9, dampening 0.9. ADADELTA finds its own step sizes: only the shape of "
        "the learning rate's curve counts.",
        json_schema_extra={
            "choices": {
                "SGD": "Stochastic gradient descent (SGD)",
                "NESTEROV": "Nesterov's accelerated gradient (NAG)",
                "ADAM": "Adaptive moment estimation (Adam)",
                "ADAGRAD": "Adaptive gradient (AdaGrad)",
                "RMSPROP": "RMSprop",
                "ADADELTA": "AdaDelta",
            }
        },
    )

    precision: Literal["float32", "bfloat16"] = Field(
        "float32",
        title="Precision",
        description="bfloat16: layers that allow it compute with half the digits, much faster on newer GPUs. "
        "Weights and losses stay float32.",
        json_schema_extra={"choices": {"float32": "float32", "bfloat16": "bfloat16 (mixed)"}},
    )
    allow_tf32: bool = Field(
        False,
        title="Allow TF32",
        description="On NVIDIA GPUs since 2020: matrix products with ten binary digits instead of 23, several times faster.",
    )
    cuda_graph: bool = Field(
        True,
        title="Capture the step",
        description="On NVIDIA GPUs: the step is recorded once as a CUDA graph and then runs without Python, for small "
        "networks many times faster. Not for networks whose own code does something else from step to step.",
    )
    live_layers: bool = Field(
        True,
        title="Show the layers while training",
        description="A pinned image goes through the network every epoch and every 10 seconds.",
    )

    use_mean: Literal["none", "image", "pixel"] = Field(
        "image",
        title="Subtract mean",
        description="Image: the dataset's mean image. Pixel: its mean colour.",
        json_schema_extra={"choices": {"none": "None", "image": "Image", "pixel": "Pixel"}},
    )
    crop_size: OptionalInt = Field(
        None,
        ge=1,
        le=4096,
        title="Crop size",
        description="A square of this side: anywhere in training, the centre otherwise. Blank: the whole image.",
    )

    method: Literal["custom"] = "custom"
    framework: Framework = Field(
        "pytorch", title="Framework", json_schema_extra={"choices": {"pytorch": "PyTorch", "torch": "Torch"}}
    )
    # Not stripped: its line numbers are what errors speak of.
    custom_network: Annotated[str, StringConstraints(strip_whitespace=False)] = Field(
        "", max_length=1_000_000, title="Custom network", json_schema_extra={"editor": True}
    )
    pretrained_model: str = Field(
        "",
        title="Pretrained weights (.t7)",
        description="A snapshot that Torch7 or DIGITS wrote. Blank: the weights begin as the layers draw them.",
        # DIGITS's name for it.
        validation_alias=AliasChoices("pretrained_model", "custom_network_snapshot"),
        json_schema_extra={"path": "t7"},
    )
    select_gpu: str = Field("next", pattern=r"^(next|cpu|\d+)$", title="Device")

    def parent_id(self, jobs_dir: Path) -> str | None:
        return self.dataset

    @field_validator("dataset")
    @classmethod
    def _dataset_is_a_job(cls, value: str) -> str:
        required_if(True, value, "Choose a dataset.")
        if not JOB_ID.fullmatch(value):
            raise PydanticCustomError("dataset", "This is not the id of a dataset.")
        return value

    @field_validator("custom_network")
    @classmethod
    def _network_is_given(cls, value: str, info: ValidationInfo) -> str:
        required_if(True, value.strip(), "Paste a network, or take the starter network.")
        # Lua is first read where it runs.
        if info.context is not None and info.data.get("framework") == "pytorch":
            _parses(value)
        return value

    @field_validator("pretrained_model")
    @classmethod
    def _weights_exist_if_given(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return ""
        if info.data.get("framework") == "pytorch":
            raise PydanticCustomError(
                "framework", "Weights of a .t7 file are for a network in Lua: choose Torch, or leave this blank."
            )
        path = existing_file(value, info)
        if path.suffix != ".t7":
            raise PydanticCustomError("path", "Torch keeps weights in .t7 files; this one is none.")
        return str(path)


def _parses(text: str) -> None:
    """Refuse text that is no Python. Only parsed here, never run: the server runs nobody's code."""
    try:
        compile(text, "the network", "exec", dont_inherit=True)
    except (RecursionError, MemoryError):
        raise PydanticCustomError("network", "Python cannot read this text: its brackets or terms are nested too deep."
                                  ) from None  # fmt: skip
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        raise PydanticCustomError(
            "network", "Line {line}: {fault}.", {"line": line, "fault": getattr(error, "msg", str(error))}
        ) from None


KIND = JobKind(
    id="generic-image-model",
    family="model",
    title="Generic Image Model",
    category="Images",
    label="Other",
    url="images/generic",
    spec=GenericImageModelSpec,
    run="jobs.training.job:train",
    resumes=True,
)
