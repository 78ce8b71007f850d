"""`Client.put`, `Client.get` and `Client.sync`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack

from farhand_client.arguments import as_callback

if TYPE_CHECKING:
    from collections.abc import Iterable

    from farhand_client.connection.reconnecting import ReconnectingConnection
    from farhand_client.options import Argument

    from .options import FileKeywords, SyncKeywords
    from .places import FileDestination, FileSource, Remote
    from .transfer import OnEvent, Transfer


class TransferMethods:
    """The part of `Client` that moves files."""

    _connection: ReconnectingConnection

    def put(
        self,
        sources: FileSource | Iterable[FileSource],
        destination: Argument,
        *,
        progress: OnEvent | None = None,
        check: bool = True,
        **options: Unpack[FileKeywords],
    ) -> Transfer:
        """Copy files and directories to the service's machine: `transferred = await client.put("report.txt", "in/")`.

        `sources` is a path, a list of paths, or a file that is open for reading (or its descriptor). `destination` is a
        path on the service's machine; a relative one begins at the user's home. A directory is copied as a whole, to
        below the destination under its own name; `"site/"`, with a slash, stands for what is in it. A single file gets
        the destination's name, unless that is a directory or ends with a slash. With `into`, the default for several
        sources, the destination is a directory, and is made if it is missing; with `parents` those above it, too.

        At every instant each destination file is wholly the old one or wholly the new one. Content is compared by its
        BLAKE3 digest before it replaces anything. A file whose size and modification time are equal is up to date, and
        is skipped; with `checksum` digests are compared instead. After a cut, and after the same call again, only what
        has not arrived is sent.

        `excludes` are patterns as in .gitignore. `max_size` (bytes) and `newer_than` (a datetime, or seconds since the
        epoch) select regular files. `delta` sends only those parts of a changed file that the other side lacks.
        `times=False` does not keep modification times; `mode` is given to all regular files instead of their own;
        `owner` is the name or number of the user, and after a colon of the group (only root may); `xattrs` keeps
        extended attributes and ACLs. `in_place` writes into an existing file or device, which is neither whole nor safe
        meanwhile. `sync=False` does not wait until files are on disk. `sha256` makes that digest too. `rate` is the
        most bytes per second. `dry_run` changes nothing.

        `progress` is called with each event. Raises `TransferIncomplete` if anything has failed, unless `check` is
        False: then `failed` and `errors` of the result say so. Raises otherwise as `Transfer` says, and TypeError and
        ValueError at once for arguments that no service would accept.
        """
        from .requests import put_plan
        from .transfer import Transfer

        as_callback(progress, "progress")
        return Transfer(self._connection, put_plan(sources, destination, options), progress, check=check)

    def get(
        self,
        sources: Argument | Iterable[Argument],
        destination: FileDestination,
        *,
        progress: OnEvent | None = None,
        check: bool = True,
        **options: Unpack[FileKeywords],
    ) -> Transfer:
        """Copy files and directories from the service's machine: `await client.get("/var/log/*.gz", "logs")`.

        `sources` is a path on the service's machine or a list of them; each may be a pattern (glob(7)), which the
        service expands; `glob.escape` protects a path from that. `destination` is a path here, or a file that is open
        for writing (or its descriptor), which gets the content of a single file. With a pattern, too, the destination
        is a directory by default. All else is as in `put`.
        """
        from .requests import get_plan
        from .transfer import Transfer

        as_callback(progress, "progress")
        return Transfer(self._connection, get_plan(sources, destination, options), progress, check=check)

    def sync(
        self,
        source: Argument | Remote,
        destination: Argument | Remote,
        *,
        progress: OnEvent | None = None,
        check: bool = True,
        **options: Unpack[SyncKeywords],
    ) -> Transfer:
        """Make a destination like its source: `await client.sync("site/", Remote("/srv/www"), delete=True)`.

        One of both is a `Remote`. This is `put` or `get` with `delta`. With `delete`, what the source does not have is
        deleted below the directories that are transferred: only after all else has worked, and never if anything of the
        source could not be read. All else is as in `put`.
        """
        from .requests import sync_plan
        from .transfer import Transfer

        as_callback(progress, "progress")
        return Transfer(self._connection, sync_plan(source, destination, options), progress, check=check)
