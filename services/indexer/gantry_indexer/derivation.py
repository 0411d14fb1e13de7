"""From a request and its header to the record that the index writes; pure work for the CPU."""

from __future__ import annotations

from collections.abc import Sequence

from gantry_dicom.derive import derive
from gantry_dicom.encoder_memo import EncoderMemo
from gantry_dicom.frames import FrameTable
from gantry_index.records import InstanceRecord

from gantry_indexer.faults import FaultHook
from gantry_indexer.headers import Material, header_in_message


def derive_all(materials: Sequence[Material], hook: FaultHook) -> list[InstanceRecord | Exception]:
    """Return a record for each of a chunk's materials, or what its derivation raised."""
    memo = EncoderMemo()
    return [_derive_caught(material, memo, hook) for material in materials]


def _derive_caught(material: Material, memo: EncoderMemo, hook: FaultHook) -> InstanceRecord | Exception:
    try:
        return derive_one(material, memo, hook)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is this instance's alone
        return error


def derive_one(material: Material, memo: EncoderMemo, hook: FaultHook) -> InstanceRecord:
    """Return the record of one instance; raises whatever its bytes provoke."""
    request = material.request
    reception = request.reception
    hook(reception.sop_instance_uid)
    header, frame_table = material.reread or header_in_message(request)
    facts = derive(
        header,
        sop_class_uid=reception.sop_class_uid,
        study_instance_uid=reception.study_instance_uid,
        series_instance_uid=reception.series_instance_uid,
        sop_instance_uid=reception.sop_instance_uid,
        transfer_syntax_uid=reception.transfer_syntax_uid,
        number_of_frames=FrameTable.unpack(frame_table).count or None,
        memo=memo,
    )
    return InstanceRecord(
        partition=request.partition,
        reception=reception,
        facts=facts,
        frame_table=frame_table,
        traceparent=request.traceparent,
    )
