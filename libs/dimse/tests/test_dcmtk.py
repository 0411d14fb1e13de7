"""DCMTK's programs as peers, both ways, and over TLS."""

import asyncio
import os
import socket
import ssl
from contextlib import asynccontextmanager

import pytest
from gantry_dicom.gate import admit
from gantry_dimse.connecting import open_association
from gantry_dimse.facts import EndKind
from gantry_dimse.negotiating import propose
from gantry_dimse.negotiation import VERIFICATION
from gantry_dimse.scu import c_echo, c_store
from gantry_testing.synthetic import generate_study
from gantry_testing.upper_layer import EXPLICIT, IMPLICIT, Recorder, listening

pytestmark = pytest.mark.dcmtk

# Without it DCMTK waits for delayed acknowledgements between PDUs.
ENVIRONMENT = os.environ | {"TCP_NODELAY": "1"}


async def run(program, *arguments):
    process = await asyncio.create_subprocess_exec(
        program, *map(str, arguments), env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode(errors="replace")[-2000:]
    return output.decode(errors="replace")


@pytest.fixture(scope="module")
def instances():
    return generate_study(11, "CT", instances=4)


@pytest.fixture
def files(instances, tmp_path):
    paths = []
    for n, instance in enumerate(instances):
        paths.append(tmp_path / f"{n}.dcm")
        paths[-1].write_bytes(instance.data)
    return paths


@pytest.mark.parametrize("longest", ["4096", "16384", "131072"])
async def test_storescu_and_echoscu(listener, entity, dcmtk_program, instances, files, longest):
    await run(dcmtk_program("echoscu"), "-aec", "GANTRY", "127.0.0.1", listener.port)
    await run(dcmtk_program("storescu"), "-xe", "-pdu", longest, "127.0.0.1", listener.port, *files)
    assert [uid for uid, _ in entity.stored] == [instance.sop_uid for instance in instances]
    for instance, (_, data) in zip(instances, entity.stored, strict=True):
        assert instance.data.endswith(data)
    assert [(await entity.next_end()).end.kind for _ in range(2)] == [EndKind.RELEASED] * 2


async def test_storescu_that_aborts_is_noted(listener, entity, dcmtk_program, files):
    await run(dcmtk_program("storescu"), "--abort", "127.0.0.1", listener.port, files[0])
    end = (await entity.next_end()).end
    assert (end.kind, end.by_peer) == (EndKind.ABORTED, True)


@asynccontextmanager
async def storescp(dcmtk_program, folder, *options):
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        dcmtk_program("storescp"), "-od", str(folder), "+B", *map(str, options), str(port), env=ENVIRONMENT
    )
    try:
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.terminate()
        await process.wait()


def offsets(instances):
    return [instance.data[admit(instance.data).data_set_offset :] for instance in instances]


async def send(port, instances, **options):
    contexts = propose([(VERIFICATION, [IMPLICIT]), (instances[0].sop_class_uid, [EXPLICIT])])
    association = await open_association(
        "127.0.0.1", port, calling_ae_title="US", called_ae_title="DCMTK", contexts=contexts, **options
    )
    async with association:
        assert (await c_echo(association)).status == 0
        for instance, data_set in zip(instances, offsets(instances), strict=True):
            reply = await c_store(
                association,
                sop_class_uid=instance.sop_class_uid,
                sop_instance_uid=instance.sop_uid,
                transfer_syntax_uid=EXPLICIT,
                data_set=data_set,
            )
            assert reply.status == 0
    return association.facts


@pytest.mark.parametrize("longest", ["4096", "131072"])
async def test_we_store_to_storescp(dcmtk_program, instances, tmp_path, longest):
    async with storescp(dcmtk_program, tmp_path, "-pdu", longest) as port:
        facts = await send(port, instances)
    assert facts.end.kind is EndKind.RELEASED
    assert facts.accept.user.maximum_length == int(longest)
    received = sorted(path.read_bytes() for path in tmp_path.iterdir())
    assert sorted(data[admit(data).data_set_offset :] for data in received) == sorted(offsets(instances))


async def test_dcmtk_over_tls_both_ways(dcmtk_program, certificates, instances, files, tmp_path):
    key, own, trusted = (certificates / name for name in ("client.key", "client.pem", "server.pem"))
    entity = Recorder()
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=own)
    server.verify_mode = ssl.CERT_REQUIRED
    server.load_cert_chain(trusted, certificates / "server.key")
    async with listening(entity, tls=server) as listener:
        await run(
            dcmtk_program("storescu"), "-xe", "+tls", key, own, "+cf", trusted,
            "127.0.0.1", listener.port, *files,
        )  # fmt: skip
        assert len(entity.stored) == len(files)
        facts = await entity.next_end()
        assert facts.tls.peer_certificate is not None
        assert facts.end.kind is EndKind.RELEASED
    client = ssl.create_default_context(cafile=trusted)
    client.load_cert_chain(own, key)
    folder = tmp_path / "received"
    folder.mkdir()
    options = ("+tls", certificates / "server.key", trusted, "+cf", own)
    async with storescp(dcmtk_program, folder, *options) as port:
        assert (await send(port, instances, tls=client)).tls.version.startswith("TLSv1")
    assert len(list(folder.iterdir())) == len(instances)
