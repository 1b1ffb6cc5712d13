"""The catalogue: which skills there are, what their versions say, and which version a call gets."""

from skills.catalog.checks import check
from skills.catalog.files import Folder, read_files, read_folder
from skills.catalog.labels import point, rollback
from skills.catalog.listing import describe, describe_one
from skills.catalog.loading import BUILTIN, Loaded, load
from skills.catalog.lookup import forget, resolve, stored
from skills.catalog.pins import pin, unpin
from skills.catalog.publishing import create, publish
from skills.versions import Content, Version

__all__ = [
    "BUILTIN",
    "Content",
    "Folder",
    "Loaded",
    "Version",
    "check",
    "create",
    "describe",
    "describe_one",
    "forget",
    "load",
    "pin",
    "point",
    "publish",
    "read_files",
    "read_folder",
    "resolve",
    "rollback",
    "stored",
    "unpin",
]
