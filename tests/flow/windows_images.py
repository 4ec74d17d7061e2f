# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows images in Microsoft's layer format, made by hand: layers with Files/ and Hives/, registry hives as bytes."""
import gzip
import io
import json
import struct
import tarfile

from images import archive, digest

SYMLINK = tarfile.SYMTYPE
MERGE, TOMBSTONE, SUPERSEDE_LOCAL, SUPERSEDE_TREE = range(4)
SZ, BINARY, DWORD, MULTI_SZ, QWORD = 1, 3, 4, 7, 11
NONE = 0xFFFFFFFF


# --- hives: github.com/msuhanov/regf
def key(values=None, keys=None, layering=MERGE):
    """values: {name: (type, bytes) or None, a tombstone}; keys: {name: key}."""
    return {"values": values or {}, "keys": keys or {}, "layering": layering}


def text(value):
    return (SZ, (value + "\0").encode("utf-16-le"))


def dword(value):
    return (DWORD, struct.pack("<I", value))


class Hive:
    def __init__(self):
        self.cells = bytearray()

    def cell(self, content):
        """Append a cell; returns its offset from the first bin."""
        size = (len(content) + 4 + 7) & ~7
        at = 32 + len(self.cells)
        self.cells += struct.pack("<i", -size) + content.ljust(size - 4, b"\0")
        return at

    def data(self, value):
        if len(value) <= 16344:
            return self.cell(value)
        pieces = [self.cell(value[i:i + 16344]) for i in range(0, len(value), 16344)]
        return self.cell(struct.pack("<2sHI", b"db", len(pieces), self.cell(struct.pack(f"<{len(pieces)}I", *pieces))))

    def name(self, name):
        return (name.encode("latin-1"), True) if name.isascii() else (name.encode("utf-16-le"), False)

    def value(self, name, value):
        raw, latin = self.name(name)
        kind, data = value or (0, b"")
        if len(data) <= 4:
            place, size = struct.unpack("<I", data.ljust(4, b"\0"))[0], len(data) | 0x80000000
        else:
            place, size = self.data(data), len(data)
        return self.cell(struct.pack("<2sHIIIHH", b"vk", len(raw), size, place, kind, latin | (0 if value else 2), 0) + raw)

    def key(self, name, content):
        raw, latin = self.name(name)
        values = [self.value(n, v) for n, v in content["values"].items()]
        keys = [self.key(n, k) for n, k in content["keys"].items()]
        value_list = self.cell(struct.pack(f"<{len(values)}I", *values)) if values else NONE
        hints = b"".join(struct.pack("<II", at, 0) for at in keys)
        key_list = self.cell(struct.pack("<2sH", b"lh", len(keys)) + hints) if keys else NONE
        return self.cell(struct.pack("<2sHQ4B9I5IHH", b"nk", latin << 5, 0, 0, content["layering"], 0, 0,
                                     0, len(keys), 0, key_list, NONE, len(values), value_list, NONE, NONE,
                                     0, 0, 0, 0, 0, len(raw), 0) + raw)

    def file(self, root):
        size = (32 + len(self.cells) + 4095) & ~4095
        rest = size - 32 - len(self.cells)
        if rest:
            self.cells += struct.pack("<i", rest).ljust(rest, b"\0")
        head = bytearray(4096)
        struct.pack_into("<4sIIQIIIIIII", head, 0, b"regf", 1, 1, 0, 1, 5, 0, 1, root, size, 1)
        total = 0
        for word in struct.unpack_from("<127I", head):
            total ^= word
        struct.pack_into("<I", head, 508, total)
        return bytes(head) + struct.pack("<4sIIIIQI", b"hbin", 0, size, 0, 0, 0, 0) + bytes(self.cells)


def hive(root):
    h = Hive()
    return h.file(h.key("ROOT", root))


def path(*parts, end):
    """A chain of keys with the last one given."""
    for part in reversed(parts):
        end = key(keys={part: end})
    return end


# --- layers
def entry(name, data=b"", kind=tarfile.REGTYPE, link="", attributes=None, records=None):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.size = kind, link, len(data)
    info.pax_headers = {"MSWINDOWS.fileattr": str(attributes or (16 if kind == tarfile.DIRTYPE else 32)),
                        "MSWINDOWS.rawsd": "AQAUgA==", "LIBARCHIVE.creationtime": "1700000000", **(records or {})}
    return info, data


def directory(name):
    return entry(name, kind=tarfile.DIRTYPE)


def hardlink(name, target):
    return entry(name, kind=tarfile.LNKTYPE, link=target)


def junction(name, target):
    return entry(name, kind=tarfile.SYMTYPE, link=target, records={"MSWINDOWS.mountpoint": "1"})


def whiteout(name):
    parent, _, last = name.rpartition("/")
    return entry(f"{parent}/.wh.{last}")


def hives(**deltas):
    """System=key(...), Software=..., as a layer has them."""
    return [directory("Hives")] + [entry(f"Hives/{name}_Delta", hive(root)) for name, root in deltas.items()]


def layer(*entries):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in [directory("Files"), *entries]:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


BASE = layer(entry("Files/Windows/System32/ntdll.dll", b"Microsoft's own"), entry("Files/Windows/System32/config/SYSTEM", b"x"))


# --- images
def config(layers, version="10.0.20348.2227", architecture="amd64", settings=None, steps=("Apply image 10.0.20348.2227",)):
    created = "2024-01-02T03:04:05Z"
    history = [{"created": created, "created_by": steps[i] if i < len(steps) else f"RUN step {i}"} for i in range(len(layers))]
    return json.dumps({
        "architecture": architecture, "os": "windows", "os.version": version, "created": created,
        "config": {"User": "ContainerAdministrator", "Cmd": ["c:\\windows\\system32\\cmd.exe"], **(settings or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]}, "history": history}).encode()


def docker_archive(tag, layers, with_base=True, **kwargs):
    """As docker save on Windows writes it: backslashes in the paths of manifest.json. The first layer is Microsoft's."""
    document = config(layers, **kwargs)
    name = digest(document)[7:] + ".json"
    files = [(name, document)]
    files += [(f"{i}/layer.tar", data) for i, data in enumerate(layers) if i or with_base]
    files += [("manifest.json", json.dumps([{"Config": name, "RepoTags": [tag],
                                             "Layers": [f"{i}\\layer.tar" for i in range(len(layers))]}]).encode())]
    return archive(files)


def descriptors(layers, foreign=True, urls="https://mcr.microsoft.com/v2/windows/servercore/blobs/x"):
    """Layers of a manifest, and their blobs: the base's is none of them."""
    out, blobs = [], {}
    for i, data in enumerate(layers):
        blob = gzip.compress(data, mtime=0)
        base = foreign and not i
        kind = "nondistributable.v1.tar+gzip" if base else "v1.tar+gzip"
        out.append({"mediaType": f"application/vnd.oci.image.layer.{kind}", "digest": digest(blob), "size": len(blob),
                    **({"urls": [urls]} if base else {})})
        if not base:
            blobs[digest(blob)] = blob
    return out, blobs


def oci_layout(tag, layers, **kwargs):
    """Without the base's blob."""
    document = config(layers, **kwargs)
    described, blobs = descriptors(layers)
    manifest = json.dumps({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                           "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(document),
                                      "size": len(document)}, "layers": described}).encode()
    blobs[digest(document)], blobs[digest(manifest)] = document, manifest
    index = json.dumps({"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest), "size": len(manifest),
        "platform": {"os": "windows", "architecture": "amd64", "os.version": json.loads(document)["os.version"]},
        "annotations": {"io.containerd.image.name": tag}}]}).encode()
    return archive([("oci-layout", b'{"imageLayoutVersion":"1.0.0"}'), ("index.json", index),
                    *((f"blobs/sha256/{name[7:]}", data) for name, data in blobs.items())])
