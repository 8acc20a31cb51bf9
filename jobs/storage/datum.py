"""Caffe's messages Datum and BlobProto, made at run time, and the arrays that a Datum holds."""

import math
from typing import Any, Literal, Protocol, cast

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from jobs.errors import BadDatabase, BadImage
from jobs.storage.images import as_array, as_image, decode, encode, load_image

Pixels = NDArray[np.uint8] | NDArray[np.float32]
Shape = tuple[int, int, int]
Stored = Literal["encoded", "raw", "float"]
Encoding = Literal["png", "jpg", "none"]

_F = descriptor_pb2.FieldDescriptorProto
# Caffe's caffe.proto: name of a field, its number, its type, whether it repeats. "packed" is for writing: both forms
# of a repeated field are read.
_MESSAGES: dict[str, list[tuple[str, int, Any, Literal["one", "many", "packed"]]]] = {
    "Datum": [
        ("channels", 1, _F.TYPE_INT32, "one"),
        ("height", 2, _F.TYPE_INT32, "one"),
        ("width", 3, _F.TYPE_INT32, "one"),
        ("data", 4, _F.TYPE_BYTES, "one"),
        ("label", 5, _F.TYPE_INT32, "one"),
        ("float_data", 6, _F.TYPE_FLOAT, "many"),
        ("encoded", 7, _F.TYPE_BOOL, "one"),
    ],
    "BlobShape": [("dim", 1, _F.TYPE_INT64, "packed")],
    "BlobProto": [
        ("num", 1, _F.TYPE_INT32, "one"),
        ("channels", 2, _F.TYPE_INT32, "one"),
        ("height", 3, _F.TYPE_INT32, "one"),
        ("width", 4, _F.TYPE_INT32, "one"),
        ("data", 5, _F.TYPE_FLOAT, "packed"),
        ("diff", 6, _F.TYPE_FLOAT, "packed"),
        ("shape", 7, _F.TYPE_MESSAGE, "one"),
        ("double_data", 8, _F.TYPE_DOUBLE, "packed"),
        ("double_diff", 9, _F.TYPE_DOUBLE, "packed"),
    ],
}


def _message_classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for message_name, fields in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, number, kind, count in fields:
            label = _F.LABEL_OPTIONAL if count == "one" else _F.LABEL_REPEATED
            field = message.field.add(name=name, number=number, type=kind, label=label)
            field.options.packed = count == "packed"
            if kind == _F.TYPE_MESSAGE:
                field.type_name = ".caffe.BlobShape"
            elif count != "packed":
                field.ClearField("options")
    # A pool of our own: another library in this process may have registered Caffe's messages too.
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"caffe.{name}")) for name in _MESSAGES}


class BadDatum(BadDatabase):
    """A record holds no Datum, or one that contradicts itself. Who knows the record's name adds it."""


class Datum(Protocol):
    """One record of a database: a picture or a vector, and a label."""

    channels: int
    height: int
    width: int
    data: bytes
    label: int
    float_data: Any
    encoded: bool

    def SerializeToString(self) -> bytes: ...
    def HasField(self, name: str) -> bool: ...


_CLASSES = _message_classes()
_Datum = _CLASSES["Datum"]
BlobProto = _CLASSES["BlobProto"]


def parse_datum(value: bytes) -> Datum:
    """The Datum that a record's bytes are; BadDatum when they are none."""
    try:
        return cast(Datum, _Datum.FromString(value))
    except DecodeError as error:
        raise BadDatum("It is no Caffe Datum: the bytes cannot be parsed.") from error


def encoded_datum(content: bytes, shape: Shape, label: int) -> bytes:
    """A record that holds the content of a picture file."""
    channels, height, width = shape
    datum = _Datum(channels=channels, height=height, width=width, data=content, label=label, encoded=True)
    return cast(bytes, datum.SerializeToString())


def array_datum(pixels: Pixels, label: int = 0, encoding: Encoding = "none") -> bytes:
    """A record that holds an array (C, H, W); RGB when C is 3. Only bytes can be encoded as a picture."""
    if encoding != "none":
        shape = cast(Shape, pixels.shape)
        return encoded_datum(encode(as_image(pixels.astype(np.uint8)), encoding), shape, label)
    channels, height, width = pixels.shape
    stored = _swap_red_and_blue(pixels)
    datum = _Datum(channels=channels, height=height, width=width, label=label, encoded=False)
    if pixels.dtype == np.uint8:
        datum.data = stored.tobytes()
    else:
        datum.float_data.extend(stored.ravel().tolist())
    return cast(bytes, datum.SerializeToString())


def stored_as(datum: Datum) -> Stored:
    """How the record keeps its values."""
    if datum.encoded:
        return "encoded"
    return "float" if not datum.data and len(datum.float_data) else "raw"


def image_of(datum: Datum) -> Pixels:
    """The picture of a record as (C, H, W), RGB when C is 3: bytes, or floats for float_data."""
    if datum.encoded:
        return _decoded(datum)
    values = _floats(datum) if stored_as(datum) == "float" else np.frombuffer(datum.data, np.uint8)
    return cast(Pixels, _swap_red_and_blue(values.reshape(_declared_shape(datum, len(values)))))


def label_of(datum: Datum) -> NDArray[Any]:
    """What a record of a label database says: a picture (C, H, W), a vector (K), or, without data, its label."""
    if datum.encoded or datum.data:
        return image_of(datum)
    return _floats(datum) if len(datum.float_data) else np.array(datum.label, np.int64)


def _decoded(datum: Datum) -> NDArray[np.uint8]:
    try:
        # A picture may be kept in another kind than the record declares: RGB that is meant as grey.
        declared = datum.channels in (1, 3)
        return as_array(load_image(datum.data, datum.channels) if declared else decode(datum.data))
    except BadImage as error:
        raise BadDatum(f"Its picture cannot be decoded. {error}") from error


def _floats(datum: Datum) -> NDArray[np.float32]:
    return np.array(datum.float_data, np.float32)


def _declared_shape(datum: Datum, count: int) -> Shape:
    shape = (datum.channels, datum.height, datum.width)
    if min(shape) < 1:
        raise BadDatum("Its shape is not set, and it holds no encoded picture that would tell it.")
    if math.prod(shape) != count:
        raise BadDatum(
            f"It says that it is {in_words(shape)}, which makes {math.prod(shape):,} values, and it holds {count:,}."
        )
    return shape


def _swap_red_and_blue(pixels: Any) -> Any:
    """Arrays that are no picture files are stored as BGR, the order of Caffe."""
    return pixels[::-1] if len(pixels) == 3 else pixels


def in_words(shape: tuple[int, ...]) -> str:
    """A shape (C, H, W) as DIGITS wrote it: width × height × channels."""
    return "x".join(str(side) for side in reversed(shape))
