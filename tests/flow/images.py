# SPDX-License-Identifier: LGPL-2.1-or-later
"""Images made by hand, good and hostile: layers, docker-archives and OCI layouts as bytes."""
import gzip
import hashlib
import io
import json
import tarfile

BUSYBOX = "/bin/busybox"
APPLETS = ("sh", "cat", "echo", "true", "false", "ls", "sleep", "id", "touch", "env", "test", "stat", "readlink", "ping")


def entry(name, kind=tarfile.REGTYPE, data=b"", link="", mode=0o755, uid=0, gid=0, device=(0, 0)):
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.gid = kind, link, mode, uid, gid
    info.devmajor, info.devminor = device
    info.size = len(data)
    return info, data


def directory(name, **kwargs):
    return entry(name, tarfile.DIRTYPE, **kwargs)


def symlink(name, target):
    return entry(name, tarfile.SYMTYPE, link=target)


def hardlink(name, target):
    return entry(name, tarfile.LNKTYPE, link=target)


def layer(entries, fmt=tarfile.GNU_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for info, data in entries:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def busybox_entries(standard=True):
    with open(BUSYBOX, "rb") as f:
        binary = f.read()
    out = [directory("bin"), entry("bin/busybox", data=binary)]
    out += [symlink(f"bin/{name}", "busybox") for name in APPLETS]
    if standard:
        out += [directory(d) for d in ("etc", "proc", "sys", "dev", "tmp", "root")]
        out += [entry("etc/passwd", data=b"root:x:0:0:root:/root:/bin/sh\nbob:x:1000:1000::/tmp:/bin/sh\n", mode=0o644),
                entry("etc/group", data=b"root:x:0:\nbob:x:1000:\nstaff:x:50:bob\n", mode=0o644)]
    return out


def digest(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config(layers, settings=None):
    """Image configuration for uncompressed layers."""
    return json.dumps({
        "architecture": "amd64", "os": "linux", "created": "2024-01-02T03:04:05Z",
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin"], **(settings or {})},
        "rootfs": {"type": "layers", "diff_ids": [digest(data) for data in layers]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": f"layer {i}"} for i in range(len(layers))],
    }).encode()


def archive(files):
    return layer([entry(name, data=data, mode=0o644) for name, data in files])


def docker_archive(tags, layers, settings=None, config_data=None, pack=lambda blob: blob):
    data = config_data or config(layers, settings)
    name = digest(data)[7:] + ".json"
    files = [(name, data)]
    files += [(f"{i}/layer.tar", pack(blob)) for i, blob in enumerate(layers)]
    files += [("manifest.json", json.dumps([{
        "Config": name, "RepoTags": tags, "Layers": [f"{i}/layer.tar" for i in range(len(layers))]}]).encode())]
    return archive(files)


def oci_layout(tag, layers, settings=None, compress=True, spoil=None):
    """spoil(kind, blob) may change a blob after its digest was taken."""
    spoil = spoil or (lambda kind, blob: blob)
    files = [("oci-layout", b'{"imageLayoutVersion":"1.0.0"}')]
    descriptors = []
    for data in layers:
        blob = gzip.compress(data, mtime=0) if compress else data
        kind = "application/vnd.oci.image.layer.v1.tar" + ("+gzip" if compress else "")
        descriptors.append({"mediaType": kind, "digest": digest(blob), "size": len(blob)})
        files.append(("blobs/sha256/" + digest(blob)[7:], spoil("layer", blob)))
    settings_blob = config(layers, settings)
    files.append(("blobs/sha256/" + digest(settings_blob)[7:], spoil("config", settings_blob)))
    manifest = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest(settings_blob),
                   "size": len(settings_blob)},
        "layers": descriptors}).encode()
    files.append(("blobs/sha256/" + digest(manifest)[7:], spoil("manifest", manifest)))
    index = json.dumps({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest(manifest),
                       "size": len(manifest),
                       "annotations": {"io.containerd.image.name": tag,
                                       "org.opencontainers.image.ref.name": tag.rsplit(":", 1)[-1]}}]}).encode()
    files.append(("index.json", index))
    return archive(files)
