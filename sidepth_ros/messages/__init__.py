"""Messages as the node takes and sends them: arrays in and out, stamps, calibrations, pairing, quality of service."""

from sidepth_ros.messages.calibration import Calibration, CalibrationCache
from sidepth_ros.messages.conversions import (
    CloudBuffer,
    ImageBuffer,
    NumpyCodec,
    camera_info_message,
    camera_of,
    darkness,
    decode_message,
    image_size,
    make_codec,
    stamp_ns,
)
from sidepth_ros.messages.pairing import MISMATCH, Frame, Outcome, Pairing, mismatch
from sidepth_ros.messages.quality_of_service import (
    UnsupportedEventTypeError,
    input_qos,
    output_qos,
    overridable,
    policy_name,
    unwatched,
    watch,
)
from sidepth_ros.messages.serialized import restamped, serialized_stamp_ns

__all__ = [
    'MISMATCH',
    'Calibration',
    'CalibrationCache',
    'CloudBuffer',
    'Frame',
    'ImageBuffer',
    'NumpyCodec',
    'Outcome',
    'Pairing',
    'UnsupportedEventTypeError',
    'camera_info_message',
    'camera_of',
    'darkness',
    'decode_message',
    'image_size',
    'input_qos',
    'make_codec',
    'mismatch',
    'output_qos',
    'overridable',
    'policy_name',
    'restamped',
    'serialized_stamp_ns',
    'stamp_ns',
    'unwatched',
    'watch',
]
