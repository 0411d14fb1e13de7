"""Ask for an association (PS3.8 9.3.2) and see that it is accepted or rejected.

Arguments are host, port and AE title. A title that is not registered is rejected,
which is an answer of the listener like any other.
"""

import socket
import struct
import sys

ASSOCIATE_AC, ASSOCIATE_RJ = 2, 3
# As in gantry_dicom.uids, which need not be imported for this.
IMPLEMENTATION_CLASS_UID = b"2.25.185330347124777000009299210944607696619"
RELEASE_RQ = struct.pack(">BxI4x", 5, 4)


def item(kind: int, value: bytes) -> bytes:
    """Return an item or sub-item of an A-ASSOCIATE-RQ."""
    return struct.pack(">BxH", kind, len(value)) + value


def associate_rq(title: str) -> bytes:
    """Return the request for the Verification SOP Class in Implicit VR Little Endian."""
    context = struct.pack(">B3x", 1) + item(0x30, b"1.2.840.10008.1.1") + item(0x40, b"1.2.840.10008.1.2")
    user = item(0x51, struct.pack(">I", 16384)) + item(0x52, IMPLEMENTATION_CLASS_UID)
    body = (
        struct.pack(">H2x16s16s32x", 1, title.encode().ljust(16), b"HELM-TEST".ljust(16))
        + item(0x10, b"1.2.840.10008.3.1.1.1")
        + item(0x20, context)
        + item(0x50, user)
    )
    return struct.pack(">BxI", 1, len(body)) + body


def first_byte(host: str, port: int, title: str) -> int:
    """Return the type of the PDU that answers, 0 when none does."""
    try:
        with socket.create_connection((host, port), timeout=10) as connection:
            connection.sendall(associate_rq(title))
            answer = connection.recv(1)
            if answer == bytes([ASSOCIATE_AC]):
                connection.sendall(RELEASE_RQ)
    except OSError as error:
        print(error)
        return 0
    return answer[0] if answer else 0


host, port, title = sys.argv[1:]
names = {ASSOCIATE_AC: "accepted", ASSOCIATE_RJ: "rejected (is the title HELM-TEST registered?)"}
said = names.get(first_byte(host, int(port), title))
print(f"{host}:{port}: {said or 'no answer of a DIMSE listener'}")
sys.exit(0 if said else 1)
