"""Images › Classification: a folder of class folders becomes LMDBs of Caffe Datum, as DIGITS made them."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jobs.registry import JobKind
from jobs.specs import GroupName, JobName, JobSpec, OptionalInt, digits_as_number, existing_folder, required_if

Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Side = Annotated[int, Field(ge=1, le=4096)]

MIN_PER_CLASS = "Classes with fewer images are left out."
MAX_PER_CLASS = "Images past this many are left out. Blank: no limit."


class ImageClassificationDatasetSpec(JobSpec):
    name_field: ClassVar[str] = "dataset_name"

    kind: Literal["image-classification-dataset"] = "image-classification-dataset"
    dataset_name: JobName = Field(title="Dataset name")
    group_name: GroupName = ""

    resize_channels: Annotated[Literal[1, 3], BeforeValidator(digits_as_number)] = Field(
        3, title="Image type", json_schema_extra={"choices": {"1": "Grayscale", "3": "Color"}}
    )
    resize_width: Side = Field(256, title="Width", description="Every image gets this size, in pixels.")
    resize_height: Side = Field(256, title="Height")
    resize_mode: Literal["squash", "crop", "fill", "half_crop"] = Field(
        "squash",
        title="Resize transformation",
        description="How an image of other proportions is brought to the size: squash changes its proportions, crop cuts "
        "its centre, fill adds bars of its mean colour, half crop does half of each.",
        json_schema_extra={
            "choices": {"squash": "Squash", "crop": "Crop", "fill": "Fill", "half_crop": "Half crop, half fill"}
        },
    )
    encoding: Literal["png", "jpg", "none"] = Field(
        "png",
        title="Image encoding",
        description="How images are kept in the database. JPEG is small and loses detail; None is large and quick.",
        json_schema_extra={"choices": {"png": "PNG (lossless)", "jpg": "JPEG (lossy, 90 % quality)", "none": "None"}},
    )

    method: Literal["folder"] = "folder"
    folder_train: str = Field(
        "",
        title="Training images",
        description="A folder on the server that holds one folder of pictures for each class.",
        json_schema_extra={"path": "folder"},
    )
    folder_pct_val: Percent = Field(25, title="% for validation")
    folder_pct_test: Percent = Field(0, title="% for testing")
    folder_train_min_per_class: OptionalInt = Field(2, ge=1, title="Minimum per class", description=MIN_PER_CLASS)
    folder_train_max_per_class: OptionalInt = Field(None, ge=1, title="Maximum per class", description=MAX_PER_CLASS)
    has_val_folder: bool = Field(False, title="Separate validation images folder")
    folder_val: str = Field("", title="Validation images", json_schema_extra={"path": "folder"})
    folder_val_min_per_class: OptionalInt = Field(2, ge=1, title="Minimum per class", description=MIN_PER_CLASS)
    folder_val_max_per_class: OptionalInt = Field(None, ge=1, title="Maximum per class", description=MAX_PER_CLASS)
    has_test_folder: bool = Field(False, title="Separate test images folder")
    folder_test: str = Field("", title="Test images", json_schema_extra={"path": "folder"})
    folder_test_min_per_class: OptionalInt = Field(2, ge=1, title="Minimum per class", description=MIN_PER_CLASS)
    folder_test_max_per_class: OptionalInt = Field(None, ge=1, title="Maximum per class", description=MAX_PER_CLASS)

    @field_validator("folder_train")
    @classmethod
    def _train_folder_exists(cls, value: str, info: ValidationInfo) -> str:
        return str(existing_folder(required_if(True, value), info))

    @field_validator("folder_pct_test")
    @classmethod
    def _something_is_left_to_train_on(cls, value: float, info: ValidationInfo) -> float:
        if value + info.data.get("folder_pct_val", 0) >= 100:
            raise PydanticCustomError(
                "percent", "Validation and test together take all images; none are left to train on."
            )
        return value

    @field_validator("folder_val", "folder_test")
    @classmethod
    def _separate_folder_exists(cls, value: str, info: ValidationInfo) -> str:
        if not info.data.get(f"has_{str(info.field_name).removeprefix('folder_')}_folder"):
            return ""
        return str(existing_folder(required_if(True, value), info))

    @field_validator("folder_train_max_per_class", "folder_val_max_per_class", "folder_test_max_per_class")
    @classmethod
    def _maximum_is_not_below_minimum(cls, value: int | None, info: ValidationInfo) -> Any:
        minimum = info.data.get(str(info.field_name).replace("_max_", "_min_"))
        if value is not None and minimum is not None and value < minimum:
            raise PydanticCustomError(
                "maximum", "The maximum must not be less than the minimum, {minimum}.", {"minimum": minimum}
            )
        return value


KIND = JobKind(
    id="image-classification-dataset",
    family="dataset",
    title="Image Classification Dataset",
    category="Images",
    label="Classification",
    url="images/classification",
    spec=ImageClassificationDatasetSpec,
    run="jobs.storage.classification:create",
    starts_processes=True,
)
