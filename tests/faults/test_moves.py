"""The listener dies in the middle of a C-MOVE."""

import signal
import threading
from functools import partial

from gantry_testing.dimse import store_all
from gantry_testing.recording import outgoing
from gantry_testing.synthetic import generate_study
from pydicom import Dataset
from pynetdicom import AE, evt

MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
CT = "1.2.840.10008.5.1.4.1.1.2"


def test_a_listener_killed_in_the_middle_of_a_move_leaves_nothing_and_moves_all_the_next_time(
    stack, destination_port, spool
):
    instances = generate_study(31_337, "CT", instances=6)
    assert store_all(stack.peer, [outgoing(each) for each in instances]) == [0] * 6
    stack.wait_found([each.sop_uid for each in instances])
    received, killed = [], threading.Event()

    def take(event):
        received.append(event.request.AffectedSOPInstanceUID)
        if len(received) == 3 and not killed.is_set():
            stack.kill("ingest", signal.SIGKILL)
            killed.set()
        return 0

    destination = AE("DEST")
    # Not what is stored: files for transcoding are on the disk when it dies.
    destination.add_supported_context(CT, "1.2.840.10008.1.2")
    server = destination.start_server(
        ("127.0.0.1", destination_port), block=False, evt_handlers=[(evt.EVT_C_STORE, take)]
    )
    try:
        move = partial(_move, stack.peer, instances[0].study_uid)
        assert "Status" not in move()
        # The connection ends before whoever kills has seen the process go.
        assert killed.wait(30)
        assert list(spool.iterdir()) == []
        stack.start_service("ingest")
        received.clear()
        final = move()
        assert (final.Status, final.NumberOfCompletedSuboperations) == (0, 6)
        assert set(received) == {each.sop_uid for each in instances}
    finally:
        server.shutdown()


def _move(peer, study_uid):
    key = Dataset()
    key.QueryRetrieveLevel, key.StudyInstanceUID = "STUDY", study_uid
    entity = AE("TESTER")
    entity.dimse_timeout = entity.network_timeout = 60
    entity.add_requested_context(MOVE)
    association = entity.associate(peer.host, peer.port, ae_title=peer.called_ae_title)
    assert association.is_established
    *_, (status, _) = association.send_c_move(key, "DEST", MOVE)
    association.release()
    return status
