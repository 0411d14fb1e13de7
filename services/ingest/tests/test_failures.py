"""Mis-set devices: each leaves one record that says what is wrong with it."""

import asyncio
import os
import socket
import ssl
import struct
import subprocess
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from gantry.access.v1.access_pb2 import ApplicationEntity
from gantry_dicom.gate import admit
from gantry_embedded.ports import free_port
from gantry_failures.diagnoses import DIAGNOSES
from gantry_failures.ledger import FailureLedger, Wanted
from gantry_failures.records import failure_document
from gantry_objectstore.sealing import Sealer
from gantry_objectstore.settings import StoreSettings
from gantry_objectstore.store import open_store
from gantry_testing.access import TestIssuer
from gantry_testing.certificates import Authority
from gantry_testing.dimse import VERIFICATION, Outgoing, Peer, store_all
from gantry_testing.synthetic import generate_study
from gantry_testing.waiting import wait_for
from pydicom import Dataset
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, build_context

SEALER = Sealer.from_text("test:000102030405060708090a0b0c0d0e0f")
CT_IMAGE_STORAGE = "1.2.840.10008.5.1.4.1.1.2"
MODALITY_WORKLIST = "1.2.840.10008.5.1.4.31"
ENTITIES = [
    ApplicationEntity(ae_title="CT1", partition="main", may_store=True),
    ApplicationEntity(ae_title="BOUND", partition="main", certificates=["sha256:" + "0" * 64]),
    ApplicationEntity(ae_title="FAR", partition="main", source_addresses=["10.1.0.0/16"]),
    ApplicationEntity(ae_title="OTHERS", partition="other", may_store=True),
    ApplicationEntity(ae_title="GREEDY", partition="main", maximum_associations=1),
    ApplicationEntity(ae_title="HASTY", partition="main", associations_per_minute=1),
    ApplicationEntity(ae_title="DCMTK", partition="main"),
]


def in_store(folder, work):
    async def run():
        store = open_store(folder.as_uri(), options=StoreSettings())
        try:
            return await work(store)
        finally:
            await store.close()

    return asyncio.run(run())


@dataclass
class Device:
    """What a device is set to, and the ports that it can reach."""

    host: str
    port: int
    tls_port: int
    authority: Authority

    def associate(self, calling="CT1", called="GANTRY", contexts=None, tls=None, **more):
        entity = AE(calling)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = 20
        entity.requested_contexts = contexts or [build_context(VERIFICATION)]
        port, tls_args = (self.tls_port, (tls, self.host)) if tls else (self.port, None)
        return entity.associate(self.host, port, ae_title=called, tls_args=tls_args, **more)

    def raw(self, sent, port=None, *, wait=True):
        with socket.create_connection((self.host, port or self.port), timeout=10) as connection:
            connection.sendall(sent)
            if wait:
                drain(connection)

    def client_context(self, certificate=None):
        context = ssl.create_default_context(cafile=self.authority.ca)
        if certificate is not None:
            context.load_cert_chain(certificate.certificate, certificate.key)
        return context


def drain(connection):
    try:
        while connection.recv(4096):
            pass
    except OSError:
        return


def request_pdu(maximum_length=16384):
    """Return an A-ASSOCIATE-RQ of CT1 for verification, by hand."""

    def item(kind, value):
        return struct.pack(">BxH", kind, len(value)) + value

    context = item(0x20, b"\x01\0\0\0" + item(0x30, VERIFICATION.encode()) + item(0x40, b"1.2.840.10008.1.2"))
    user = item(0x50, item(0x51, struct.pack(">I", maximum_length)) + item(0x52, b"1.2.3"))
    body = struct.pack(">HH16s16s32x", 1, 0, b"GANTRY".ljust(16), b"CT1".ljust(16))
    body += item(0x10, b"1.2.840.10008.3.1.1.1") + context + user
    return struct.pack(">BxI", 1, len(body)) + body


def wrong_called_title(device):
    assert not device.associate(called="GANTRY2").is_established


def unknown_calling_title(device):
    assert not device.associate(calling="NOBODY").is_established


def wrong_source_address(device):
    assert not device.associate(calling="FAR").is_established


def another_partitions_title(device):
    assert not device.associate(calling="OTHERS").is_established


def certificate_not_shown(device):
    assert not device.associate(calling="BOUND").is_established


def service_that_is_not_here(device):
    device.associate(contexts=[build_context(MODALITY_WORKLIST)])


def unknown_transfer_syntax(device):
    device.associate(contexts=[build_context(CT_IMAGE_STORAGE, "1.2.3.4.5")])


def expired_client_certificate(device):
    certificate = device.authority.issue("expired", expired=True)
    context = device.client_context(certificate)
    with socket.create_connection((device.host, device.tls_port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain, server_hostname=device.host) as connection:
                drain(connection)
        except OSError:
            return


def certificate_of_a_stranger(device):
    stranger = Authority(device.authority.ca.parent / "stranger", "Stranger").issue("stranger")
    with socket.create_connection((device.host, device.tls_port), timeout=10) as plain:
        try:
            with device.client_context(stranger).wrap_socket(
                plain, server_hostname=device.host
            ) as connection:
                drain(connection)
        except OSError:
            return


def plain_text_to_the_tls_port(device):
    device.raw(request_pdu(), device.tls_port)


def http_to_the_tls_port(device):
    device.raw(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n", device.tls_port)


def our_certificate_is_not_trusted(device):
    with socket.create_connection((device.host, device.tls_port), timeout=10) as plain:
        try:
            ssl.create_default_context().wrap_socket(plain, server_hostname=device.host)
        except ssl.SSLError:
            return


def tls_to_the_plain_port(device):
    with socket.create_connection((device.host, device.port), timeout=10) as plain:
        try:
            device.client_context().wrap_socket(plain, server_hostname=device.host)
        except OSError:
            return


def port_probe(device):
    device.raw(b"", wait=False)


def http_on_the_dicom_port(device):
    device.raw(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")


def garbage(device):
    device.raw(b"\xff" * 64)


def silence(device):
    with socket.create_connection((device.host, device.port), timeout=10) as connection:
        drain(connection)


def half_a_request(device):
    with socket.create_connection((device.host, device.port), timeout=10) as connection:
        connection.sendall(request_pdu()[:10])
        drain(connection)


def maximum_length_that_is_none(device):
    device.raw(request_pdu(maximum_length=1))


def pdu_that_is_too_long(device):
    with socket.create_connection((device.host, device.port), timeout=10) as connection:
        connection.sendall(request_pdu())
        connection.recv(4096)
        connection.sendall(struct.pack(">BxI", 4, 0xFFFFFFFF))
        drain(connection)


def broken_off_in_the_middle(device):
    with socket.create_connection((device.host, device.port), timeout=10) as connection:
        connection.sendall(request_pdu())
        connection.recv(4096)
        # Half a P-DATA-TF.
        connection.sendall(struct.pack(">BxIIBB", 4, 1000, 996, 1, 3) + b"\0" * 100)


def aborted_by_the_device(device):
    device.associate().abort()


def too_many_associations(device):
    first = device.associate(calling="GREEDY")
    try:
        assert not device.associate(calling="GREEDY").is_established
    finally:
        first.release()


def too_often(device):
    # A minute may end between two: of three, two are in the same one.
    for _ in range(3):
        association = device.associate(calling="HASTY")
        if association.is_established:
            association.release()


def does_not_have_the_right(device):
    association = device.associate(calling="DCMTK", contexts=[build_context(CT_IMAGE_STORAGE)])
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = CT_IMAGE_STORAGE, "1.2.3"
    instance.file_meta = Dataset()
    instance.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    assert association.send_c_store(instance).Status == 0x0124
    association.release()


def mistaken_commitment(device):
    association = device.associate(contexts=[build_context("1.2.840.10008.1.20.1")])
    request = Dataset()
    request.TransactionUID = "1.2.3"
    status, _ = association.send_n_action(request, 1, "1.2.840.10008.1.20.1", "1.2.840.10008.1.20.1.1")
    assert status.Status == 0x0115
    association.release()


MISTAKES = {
    wrong_called_title: "wrong-called-title",
    unknown_calling_title: "unknown-calling-title",
    wrong_source_address: "wrong-source-address",
    another_partitions_title: "no-rights-in-partition",
    certificate_not_shown: "wrong-certificate",
    service_that_is_not_here: "no-common-abstract-syntax",
    unknown_transfer_syntax: "no-common-transfer-syntax",
    expired_client_certificate: "expired-certificate",
    certificate_of_a_stranger: "untrusted-certificate",
    plain_text_to_the_tls_port: "plaintext-on-tls-port",
    http_to_the_tls_port: "http-on-tls-port",
    our_certificate_is_not_trusted: "our-certificate-refused",
    tls_to_the_plain_port: "tls-on-plain-port",
    port_probe: "port-probe",
    http_on_the_dicom_port: "http-on-dicom-port",
    garbage: "not-dicom",
    silence: "silent-connection",
    half_a_request: "request-not-finished",
    maximum_length_that_is_none: "maximum-length-too-short",
    pdu_that_is_too_long: "pdu-too-long",
    broken_off_in_the_middle: "connection-lost",
    aborted_by_the_device: "aborted-by-device",
    too_many_associations: "too-many-of-title",
    too_often: "too-often",
    does_not_have_the_right: "not-authorised",
    mistaken_commitment: "commitment-refused",
}


@pytest.fixture
def device(start_listener, tmp_path):
    authority = Authority(tmp_path / "ca")
    server = authority.issue("server")
    (tmp_path / "store").mkdir(exist_ok=True)
    in_store(tmp_path / "store", lambda store: TestIssuer().publish(store, SEALER, entities=ENTITIES))
    tls_port = free_port()
    listener = start_listener(
        policy="rules",
        access_log_folder=tmp_path / "access",
        artim_seconds=1.0,
        dimse_workers=1,
        dimse_tls_port=tls_port,
        dimse_tls_certificate=server.certificate,
        dimse_tls_key=server.key,
        dimse_tls_ca=authority.ca,
        dimse_tls_clients="optional",
    )
    return Device(listener.peer.host, listener.peer.port, tls_port, authority)


def failures(tmp_path):
    wanted = Wanted(datetime.now(UTC) - timedelta(hours=1))
    return in_store(tmp_path / "store", lambda store: FailureLedger(store, SEALER).read(wanted, 1000))


def test_each_mis_set_device_leaves_the_right_diagnosis_with_its_advice(device, tmp_path):
    assert set(MISTAKES.values()) <= {diagnosis.name for diagnosis in DIAGNOSES}
    for make in MISTAKES:
        make(device)
    expected = sorted(MISTAKES.values())

    def seen():
        return sorted({failure.diagnosis for failure in failures(tmp_path)})

    try:
        wait_for(lambda: len(seen()) >= len(expected), "the records of all mistakes", 20)
    finally:
        assert seen() == expected
    for failure in failures(tmp_path):
        document = failure_document(failure)
        assert document["advice"].endswith(".")
        assert document["peer_address"] == "127.0.0.1"
    by_name = {failure.diagnosis: failure for failure in failures(tmp_path)}
    rejected = by_name["wrong-called-title"]
    assert (rejected.reject_result, rejected.reject_source, rejected.reject_reason) == (1, 1, 7)
    assert (rejected.calling_ae_title, rejected.called_ae_title) == ("CT1", "GANTRY2")
    syntaxes = by_name["no-common-transfer-syntax"].contexts[0]
    assert (list(syntaxes.transfer_syntaxes), syntaxes.result) == (["1.2.3.4.5"], 4)
    assert [(s.command_field, s.status) for s in by_name["not-authorised"].statuses] == [(1, 0x0124)]


def test_alike_failures_are_one_record_with_their_number(device, tmp_path):
    for _ in range(40):
        port_probe(device)
    wait_for(lambda: sum(f.count for f in failures(tmp_path)) == 40, "all probes to be counted", 20)
    assert len(failures(tmp_path)) < 10


def test_a_bound_title_is_let_in_with_its_certificate_only(device, tmp_path):
    own, other = device.authority.issue("ct1"), device.authority.issue("other")
    bound = ApplicationEntity(
        ae_title="BOUND", partition="main", certificates=[f"sha256:{own.sha256}", "subject:CN=by-name"]
    )
    named = device.authority.issue("by-name")
    in_store(tmp_path / "store", lambda store: TestIssuer().publish(store, SEALER, entities=[bound]))

    def is_let_in(tls=None):
        association = device.associate(calling="BOUND", tls=tls)
        is_in = association.is_established
        if is_in:
            assert association.send_c_echo().Status == 0
            association.release()
        return is_in

    wait_for(lambda: is_let_in(device.client_context(own)), "the registration to arrive", 20)
    assert is_let_in(device.client_context(named))
    assert not is_let_in(device.client_context(other))
    assert not is_let_in(device.client_context())
    assert not is_let_in()


def test_a_certificate_that_was_replaced_is_shown_without_a_restart(device):
    def shown():
        with (
            socket.create_connection((device.host, device.tls_port), timeout=10) as plain,
            device.client_context().wrap_socket(plain, server_hostname=device.host) as connection,
        ):
            return connection.getpeercert()["serialNumber"]

    before = shown()
    device.authority.issue("server")
    wait_for(lambda: shown() != before, "the new certificate", 10)


@pytest.mark.dcmtk
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_dcmtk_and_both_versions_of_tls_are_taken(device, dcmtk_program, version):
    context = device.client_context()
    context.minimum_version = context.maximum_version = version
    association = device.associate(tls=context)
    assert association.is_established
    assert association.send_c_echo().Status == 0
    association.release()
    own = device.authority.issue("dcmtk")
    program = [dcmtk_program("echoscu"), "-aet", "DCMTK", "-aec", "GANTRY"]
    program += ["+tls", str(own.key), str(own.certificate), "+cf", str(device.authority.ca)]
    subprocess.run([*program, device.host, str(device.tls_port)], check=True, timeout=30, env=os.environ)


def test_hundreds_of_bad_connections_do_not_keep_a_known_device_out(device):
    instance = generate_study(17)[0]
    admission = admit(instance.data)
    data = instance.data[admission.data_set_offset :]
    known = Peer(device.host, device.port, calling_ae_title="CT1")
    held = []
    try:
        for n in range(400):
            connection = socket.create_connection((device.host, device.port if n % 3 else device.tls_port))
            held.append(connection)
            if n % 2:
                connection.sendall(request_pdu()[:10])
            if n % 80 == 79:
                item = Outgoing(
                    admission.sop_class_uid, admission.sop_instance_uid, admission.transfer_syntax_uid, data
                )
                assert store_all(known, [item]) == [0]
    finally:
        for connection in held:
            connection.close()
