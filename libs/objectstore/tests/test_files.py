"""What only the file store promises: durability in the right order, and nothing outside its folder."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from gantry_dicom.errors import Conflict, NotFound, Unavailable
from gantry_objectstore.directory_syncs import DirectorySyncs
from gantry_objectstore.files import TEMPORARY, FileStore
from gantry_objectstore.settings import StoreSettings

KEY = "o/main/00/batch/0001"


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[FileStore]:
    opened = FileStore(tmp_path / "store", StoreSettings())
    yield opened
    await opened.close()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Every sync and every name given, in the order in which they ended."""
    seen: list[tuple[str, str]] = []

    def path_of(descriptor: int) -> str:
        return str(Path(f"/proc/self/fd/{descriptor}").readlink())

    for name in ("fsync", "fdatasync"):
        real = getattr(os, name)

        def watched(descriptor: int, name: str = name, real=real) -> None:
            real(descriptor)
            seen.append((name, path_of(descriptor)))

        monkeypatch.setattr(os, name, watched)
    real_rename, real_link, real_mkdir = os.rename, os.link, os.mkdir
    monkeypatch.setattr(
        os, "rename", lambda *a, **k: (real_rename(*a, **k), seen.append(("name", str(a[1]))))[0]
    )
    monkeypatch.setattr(os, "link", lambda *a, **k: (real_link(*a, **k), seen.append(("name", str(a[1]))))[0])
    monkeypatch.setattr(
        os, "mkdir", lambda *a, **k: (real_mkdir(*a, **k), seen.append(("mkdir", str(a[0]))))[0]
    )
    return seen


@pytest.mark.parametrize("create", [False, True])
async def test_a_put_syncs_contents_before_the_name_and_the_directory_after_it(
    store: FileStore, calls: list[tuple[str, str]], create: bool
) -> None:
    await store.put(KEY, b"x" * 100, create=create)
    path = store.root / KEY
    content, name, directory = (
        next(
            index for index, (what, where) in enumerate(calls) if what == "fdatasync" and TEMPORARY in where
        ),
        calls.index(("name", str(path))),
        len(calls) - 1,
    )
    assert content < name < directory
    assert calls[directory] == ("fsync", str(path.parent))


async def test_new_directories_are_durable_in_their_parents_before_the_name_is_given(
    store: FileStore, calls: list[tuple[str, str]]
) -> None:
    await store.put(KEY, b"x")
    name = calls.index(("name", str(store.root / KEY)))
    folder = (store.root / KEY).parent
    while folder != store.root:
        made = calls.index(("mkdir", str(folder)))
        assert ("fsync", str(folder.parent)) in calls[made:name]
        folder = folder.parent
    calls.clear()
    await store.put("o/main/00/batch/0002", b"x")
    assert len([what for what, _ in calls if what == "fsync"]) == 1


async def test_a_directory_that_was_there_is_not_taken_for_durable(
    store: FileStore, calls: list[tuple[str, str]]
) -> None:
    (store.root / "o/main/00/batch").mkdir(parents=True)
    calls.clear()
    await store.put(KEY, b"x")
    assert ("fsync", str(store.root / "o/main/00")) in calls
    assert ("fsync", str(store.root)) in calls


async def test_a_disk_that_fails_to_sync_fails_the_put_and_leaves_nothing(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "made to fail")

    monkeypatch.setattr(os, "fdatasync", fail)
    with pytest.raises(Unavailable):
        await store.put(KEY, b"x")
    monkeypatch.undo()
    with pytest.raises(NotFound):
        await store.get(KEY)
    assert list((store.root / TEMPORARY).iterdir()) == []


async def test_a_directory_that_fails_to_sync_fails_every_put_that_waits_for_it(
    store: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    await store.put(KEY, b"x")

    def fail(_descriptor: int) -> None:
        raise OSError(errno.EIO, "made to fail")

    monkeypatch.setattr(os, "fsync", fail)
    results = await asyncio.gather(
        *(store.put(f"o/main/00/batch/{n:04d}", b"x") for n in range(2, 20)), return_exceptions=True
    )
    assert [type(result) for result in results] == [Unavailable] * 18


async def test_who_loses_a_race_to_create_sees_a_durable_winner(
    store: FileStore, calls: list[tuple[str, str]]
) -> None:
    await store.put(KEY, b"first", create=True)
    calls.clear()
    with pytest.raises(Conflict):
        await store.put(KEY, b"second", create=True)
    assert calls[-1] == ("fsync", str((store.root / KEY).parent))
    assert list((store.root / TEMPORARY).iterdir()) == []


async def test_puts_that_wait_together_share_a_directory_sync_and_fail_each_for_itself(
    tmp_path: Path, calls: list[tuple[str, str]]
) -> None:
    store = FileStore(tmp_path / "store", StoreSettings(file_lanes=1))
    await store.put(KEY, b"first", create=True)
    calls.clear()
    keys = [f"o/main/00/batch/{n:04d}" for n in range(1, 40)]
    results = await asyncio.gather(
        *(store.put(key, key.encode(), create=True) for key in keys), return_exceptions=True
    )
    assert [type(result) for result in results] == [Conflict] + [type(None)] * 38
    assert [await store.get(key) for key in keys[1:]] == [key.encode() for key in keys[1:]]
    synced = [path for name, path in calls if name == "fsync"]
    # Whoever came first went alone, the others together.
    assert synced == [str((store.root / KEY).parent)] * len(synced)
    assert len(synced) <= 2
    names = [at for at, (name, _) in enumerate(calls) if name == "name"]
    contents = [at for at, (name, _) in enumerate(calls) if name == "fdatasync"]
    assert contents[-1] < names[-1] < len(calls) - 1
    assert list((store.root / TEMPORARY).iterdir()) == []
    await store.close()


async def test_a_put_whose_caller_has_gone_is_done_and_lets_its_buffer_go(store: FileStore) -> None:
    data = bytearray(b"x" * 100_000)
    put = asyncio.create_task(store.put(KEY, data))
    await asyncio.sleep(0)
    put.cancel()
    with pytest.raises(asyncio.CancelledError):
        await put
    await store.close()
    data.clear()  # raises while somebody holds it
    assert (store.root / KEY).stat().st_size == 100_000


async def test_stale_temporaries_are_swept_and_fresh_ones_stay(store: FileStore) -> None:
    fresh, stale = store.root / TEMPORARY / "fresh", store.root / TEMPORARY / "stale"
    for path in (fresh, stale):
        path.write_bytes(b"x")
    hours_ago = (await store.now() - timedelta(hours=3)).timestamp()
    os.utime(stale, (hours_ago, hours_ago))
    assert await store.sweep_temporaries(timedelta(hours=1)) == 1
    assert fresh.exists()
    assert not stale.exists()


async def test_temporaries_are_no_objects(store: FileStore) -> None:
    (store.root / TEMPORARY / "left").write_bytes(b"x")
    await store.put(KEY, b"x")
    assert [info.key async for info in store.list("")] == [KEY]
    assert await store.list_folders("") == ["o"]


async def test_a_link_that_leads_out_of_the_store_is_not_followed(store: FileStore, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"not an object")
    (store.root / "o").mkdir()
    (store.root / "o/link").symlink_to(secret)
    with pytest.raises(Unavailable):
        await store.get("o/link")
    with pytest.raises(Unavailable):
        await store.get_range("o/link", 0, 3)


async def test_a_directory_taken_away_fails_the_put_and_is_made_again_by_the_next(store: FileStore) -> None:
    await store.put(KEY, b"x")
    await store.delete(KEY)
    (store.root / KEY).parent.rmdir()
    with pytest.raises(Unavailable):
        await store.put(KEY, b"x")
    await store.put(KEY, b"again")
    assert await store.get(KEY) == b"again"


async def test_a_key_and_a_folder_of_the_same_name_cannot_both_be(store: FileStore) -> None:
    await store.put("a/b", b"x")
    with pytest.raises(NotFound):
        await store.get("a/b/c")
    with pytest.raises(Conflict):
        await store.put("a/b/c", b"x")
    assert await store.get("a/b") == b"x"


async def test_a_stream_goes_on_when_its_object_is_deleted(store: FileStore) -> None:
    data = os.urandom(3 << 20)
    await store.put(KEY, data)
    pieces = store.stream(KEY, chunk=1 << 20)
    first = await anext(pieces)
    await store.delete(KEY)
    assert first + b"".join([piece async for piece in pieces]) == data


def test_those_who_wait_for_a_directory_share_the_next_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs = DirectorySyncs()
    running, go_on = threading.Event(), threading.Event()
    count = []
    real = os.fsync

    def slow(descriptor: int) -> None:
        count.append(descriptor)
        running.set()
        assert go_on.wait(10)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    first = threading.Thread(target=syncs.sync, args=(tmp_path,))
    first.start()
    assert running.wait(10)
    others = [threading.Thread(target=syncs.sync, args=(tmp_path,)) for _ in range(10)]
    for thread in others:
        thread.start()
    # They all arrived while the first sync ran, which may not cover them.
    while len([1 for thread in others if thread.is_alive()]) < 10:
        pass
    state = syncs._directories[tmp_path]
    while state.users < 11:
        pass
    go_on.set()
    for thread in [first, *others]:
        thread.join(10)
    assert len(count) == 2
    assert not syncs._directories
