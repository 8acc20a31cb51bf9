"""Images › Other: LMDBs that exist already, referenced in place."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from jobs.folder import job_holding
from jobs.registry import JobKind
from jobs.specs import GroupName, JobName, JobSpec, existing_file, existing_folder, is_there, required_if


class GenericImageDatasetSpec(JobSpec):
    name_field: ClassVar[str] = "dataset_name"

    kind: Literal["generic-image-dataset"] = "generic-image-dataset"
    dataset_name: JobName = Field(title="Dataset name")
    group_name: GroupName = ""

    method: Literal["prebuilt"] = "prebuilt"
    prebuilt_train_images: str = Field(
        "",
        title="Training images",
        description="The folder of an LMDB of Caffe Datum, such as the train_db of a classification dataset.",
        json_schema_extra={"path": "folder"},
    )
    prebuilt_train_labels: str = Field(
        "",
        title="Training labels",
        description="A second LMDB with the same keys. Blank: the label stored beside each image, if there is one.",
        json_schema_extra={"path": "folder"},
    )
    prebuilt_val_images: str = Field("", title="Validation images", json_schema_extra={"path": "folder"})
    prebuilt_val_labels: str = Field("", title="Validation labels", json_schema_extra={"path": "folder"})
    force_same_shape: bool = Field(
        True,
        title="Enforce same shape",
        description="Refuse a database whose records differ in shape. Off: records are resized to the shape of the first.",
    )
    prebuilt_mean_file: str = Field(
        "",
        title="Mean image",
        description="A .binaryproto file of Caffe or DIGITS.",
        json_schema_extra={"path": "binaryproto"},
    )

    def parent_id(self, jobs_dir: Path) -> str | None:
        """The dataset job in whose folder the training images lie, if they lie in one."""
        return job_holding(Path(self.prebuilt_train_images), jobs_dir)

    @field_validator("prebuilt_train_images")
    @classmethod
    def _train_images_exist(cls, value: str, info: ValidationInfo) -> str:
        return _database_folder(required_if(True, value), info)

    @field_validator("prebuilt_train_labels", "prebuilt_val_images")
    @classmethod
    def _database_exists_if_given(cls, value: str, info: ValidationInfo) -> str:
        return _database_folder(value, info) if value else ""

    @field_validator("prebuilt_val_labels")
    @classmethod
    def _val_labels_need_val_images(cls, value: str, info: ValidationInfo) -> str:
        # Without validation images, labels for them mean nothing and are dropped, as in DIGITS.
        return _database_folder(value, info) if value and info.data.get("prebuilt_val_images") else ""

    @field_validator("prebuilt_mean_file")
    @classmethod
    def _mean_file_exists_if_given(cls, value: str, info: ValidationInfo) -> str:
        if not value:
            return ""
        path = existing_file(value, info)
        if path.suffix != ".binaryproto":
            raise PydanticCustomError("path", "A mean image is a .binaryproto file; this one is none.")
        return str(path)


def _database_folder(value: str, info: ValidationInfo) -> str:
    path: Path = existing_folder(value, info)
    context: Any = info.context
    if context is not None and not is_there((path / "data.mdb").is_file):
        raise PydanticCustomError("path", "This folder is no LMDB: it has no file data.mdb.")
    return str(path)


def label_range(made: dict[str, Any]) -> tuple[int, int] | None:
    """The lowest and the highest label of a dataset, of which dataset.json says `made`; None where labels are no classes."""
    counts = [split["distribution"] for split in made["splits"].values()]
    if any(count is None for count in counts):
        return None
    labels = [int(label) for count in counts for label in count]
    return (min(labels), max(labels)) if labels else None


KIND = JobKind(
    id="generic-image-dataset",
    family="dataset",
    title="Generic Image Dataset",
    category="Images",
    label="Other",
    url="images/generic",
    spec=GenericImageDatasetSpec,
    run="jobs.storage.prebuilt:analyse",
    starts_processes=True,
    feeds="generic-image-model",
)
