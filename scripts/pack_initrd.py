#!/usr/bin/env python3
"""Packs files into an initramfs (cpio, "newc"): pack_initrd.py OUT FILE=PLACE...

The archive depends on the files' contents and places alone: sorted, owner root, time 0, inodes counted from 1. It is not
compressed: the guest would spend more time on unpacking than the host saves. A later FILE=PLACE replaces an earlier one.
"""
import os
import pathlib
import stat
import sys

# Places and modes that every guest needs. The kernel opens /dev/console before /init can mount anything.
FOLDERS = ["bin", "dev", "proc", "root", "sys", "tmp"]
NODES = {"dev/console": (5, 1), "dev/null": (1, 3)}


def header(inode, mode, size, name, device=(0, 0)):
    """The 110 bytes before an entry, its name, and the padding to 4 bytes. Ref: cpio(5), New ASCII Format."""
    links = 2 if stat.S_ISDIR(mode) else 1
    fields = [inode, mode, 0, 0, links, 0, size, 0, 0, device[0], device[1], len(name) + 1, 0]
    head = b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
    return head + b"\0" * (-len(head) % 4)


def read_files(arguments):
    """{place without the leading slash: (mode, contents)} of the FILE=PLACE arguments."""
    files = {}
    for argument in arguments:
        source, separator, place = argument.rpartition("=")
        if not separator or not source or not place.strip("/"):
            sys.exit(f"pack_initrd.py: {argument}: give FILE=PLACE")
        path = os.path.normpath(place.strip("/"))
        if path.startswith(".."):
            sys.exit(f"pack_initrd.py: {argument}: the place is outside of the archive")
        try:
            data = pathlib.Path(source).read_bytes()
            # Only whether it can be run counts: the rest of the mode depends on who checked it out.
            runs = os.stat(source).st_mode & 0o100
        except OSError as error:
            sys.exit(f"pack_initrd.py: {source}: {error.strerror}")
        files[path] = (stat.S_IFREG | (0o755 if runs else 0o644), data)
    return files


def pack(files):
    entries = dict(files)
    for folder in FOLDERS + [os.path.dirname(p) for p in files]:
        while folder and folder not in entries:
            entries[folder] = (stat.S_IFDIR | 0o755, b"")
            folder = os.path.dirname(folder)
    for node in NODES:
        entries[node] = (stat.S_IFCHR | 0o600, b"")
    out = bytearray()
    for inode, (path, (mode, data)) in enumerate(sorted(entries.items()), 1):
        out += header(inode, mode, len(data), path, NODES.get(path, (0, 0)))
        out += data + b"\0" * (-len(data) % 4)
    out += header(0, 0, 0, "TRAILER!!!")
    return bytes(out + b"\0" * (-len(out) % 512))


def main():
    if len(sys.argv) < 2:
        sys.exit("usage: pack_initrd.py OUT FILE=PLACE...")
    out = pathlib.Path(sys.argv[1])
    data = pack(read_files(sys.argv[2:]))
    temporary = out.with_name(out.name + ".new")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(data)
        temporary.replace(out)
    except OSError as error:
        sys.exit(f"pack_initrd.py: {out}: {error.strerror}")


if __name__ == "__main__":
    main()
