"""Old backups, and the log that only they needed, are deleted; the bucket's copy is not."""

from __future__ import annotations

from gantry_cli.backup.repository import BACKUPS_PREFIX, Repository, list_backups
from gantry_cli.backup.wal import WAL_PREFIX, obsolete


async def forget(repository: Repository, keep: int) -> tuple[list[str], int]:
    """Keep the newest so many backups, and the newest with a base; returns what went: ids, files of the log.

    The log is kept from the oldest base backup that stays; of a cluster without one all of it stays. A
    manifest goes first: a run that is cut off leaves no backup that looks whole and is not.
    """
    found = await list_backups(repository)
    # Without a base backup its log is of no use: the newest of each cluster stays, however old it is.
    bases = {each.base.system: each.id for each in found if each.base}
    kept = [each for each in found if each in found[-keep:] or each.id in bases.values()]
    gone = [each for each in found if each not in kept]
    for manifest in gone:
        folder = f"{BACKUPS_PREFIX}{manifest.id}/"
        await repository.store.delete(f"{folder}manifest.json")
        for info in [info async for info in repository.store.list(folder)]:
            await repository.store.delete(info.key)
    files = 0
    for system in await repository.store.list_folders(WAL_PREFIX):
        needed = [each.base.first_segment for each in kept if each.base and each.base.system == system]
        if not needed:
            continue
        for key in await obsolete(repository, system, min(needed, key=lambda name: name[8:])):
            await repository.store.delete(key)
            files += 1
    return [manifest.id for manifest in gone], files
