"""The time stamp of a serialized message, read and replaced without decoding the rest.

A message that starts with std_msgs/Header starts, in CDR, with four bytes that name the byte order, then the stamp:
sec int32, nanosec uint32 (OMG DDS-XTypes 1.3, 7.6.3.1.2).
"""

from __future__ import annotations

import struct

from sidepth_core.errors import BagError

STAMP_END = 12


def serialized_stamp_ns(message: bytes | memoryview) -> int:
    """Return the header stamp of a serialized message, nanoseconds.

    Raises:
        BagError: If the message is too short to have one.
    """
    seconds, nanoseconds = struct.unpack_from(_layout(message), message, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def restamped(message: bytes | memoryview, stamp: int) -> bytes:
    """Return a serialized message with another header stamp, nanoseconds; every other byte is kept.

    Raises:
        BagError: If the message is too short to have one.
    """
    return b''.join(
        (message[:4], struct.pack(_layout(message), *divmod(stamp, 1_000_000_000)), message[STAMP_END:])
    )


def _layout(message: bytes | memoryview) -> str:
    if len(message) < STAMP_END:
        raise BagError(f'message of {len(message)} bytes has no header: expected at least {STAMP_END}')
    return '<iI' if message[1] & 1 else '>iI'
