# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a bare QEMU boots with: Silo's guest kernel, and an initramfs that has nothing of Silo in it."""


def kernel_modules(kernel, names):
    """Paths of the modules and of those that they need, in the order in which they are loaded."""
    base = kernel.parents[1] / "lib/modules" / kernel.name.removeprefix("vmlinuz-")
    needs = {}
    for line in (base / "modules.dep").read_text().splitlines():
        path, _, rest = line.partition(":")
        name = path.rsplit("/", 1)[-1].split(".")[0].replace("-", "_")
        needs[name] = [base / p for p in [*reversed(rest.split()), path]]
    found = []
    for name in names:
        found += [p for p in needs.get(name, []) if p not in found]
    return found


def archive(files, directories):
    """A cpio archive ("newc") of [(name, data)], all of them programs."""
    out = b""
    entries = [(d, 0o40755, b"") for d in directories] + [(n, 0o100755, d) for n, d in files] + [("TRAILER!!!", 0o100755, b"")]
    for number, (text, mode, data) in enumerate(entries, 1):
        name = text.encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name), 0)
        head = b"070701" + b"".join(b"%08x" % f for f in fields) + name
        out += head + b"\0" * (-len(head) % 4) + data + b"\0" * (-len(data) % 4)
    return out
