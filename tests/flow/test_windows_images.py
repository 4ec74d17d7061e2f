# SPDX-License-Identifier: LGPL-2.1-or-later
"""Windows application images in Microsoft's layer format: loaded and pulled, run, committed, saved, loaded again."""
import json
import re
import subprocess

import pytest
import windows_images as wi
from engine import program
from registries import OCI, FakeRegistry

BUILD_S = 900  # the base, once for each build directory
SLOW = 600  # a dozen programs of Wine in an emulated VM, on a busy host
APP = "flow/windowsapp"
BASE_LINE = "Windows base provided by Wine 10.0; no Microsoft layers (version 10.0.20348.1)"

# What a container prints of itself, and what it changes for the next one made from it.
LOOK = r"""@echo off
echo [%GREETING%] [%CD%]
type C:\App\linked.txt
type C:\Link\second.txt
for %%f in (old.txt Gone\x.txt %SystemRoot%\system32\xcopy.exe made.txt Data.txt hidden.txt) do if exist %%f echo there: %%f
if exist ?rger.txt echo there: rger.txt
if exist %SystemRoot%\System32\extra.txt echo merged
for %%f in (.) do if exist C:\Windows\system32\DRIVERS\extra.sys echo merged deeper
dir /b /arh
ver
reg query HKLM\Software\Silo /s
reg query HKLM\System\CurrentControlSet\Services\SiloApp /v Start
reg query HKU\.Default\Silo
reg query HKCU\Software\SiloUser
type C:\App\relative.txt
echo made > made.txt
del Data.txt
reg import C:\App\change.reg
exit /b 0
""".replace("\n", "\r\n").encode()

CHANGE = b"""Windows Registry Editor Version 5.00\r
\r
[HKEY_LOCAL_MACHINE\\Software\\Silo\\App]\r
"Made"="here"\r
"Number"=-\r
"""


def docker(engine, *args, **kwargs):
    return engine.docker(*args, timeout=SLOW, **kwargs)


@pytest.fixture(scope="module", autouse=True)
def base(session_engine):
    """Made before the first test, and in the store: no image has to unpack it."""
    subprocess.run([program("silo-tool"), "windows-base", "build", "--vm-dir", session_engine.vm_dir], check=True, timeout=BUILD_S)
    docker(session_engine, "pull", "mcr.microsoft.com/windows/servercore:ltsc2022")


def app_layers():
    first = wi.layer(
        wi.directory("Files/App"), wi.entry("Files/App/look.cmd", LOOK), wi.entry("Files/App/change.reg", CHANGE),
        wi.entry("Files/App/Data.txt", b"data of the first layer\r\n"),
        wi.entry("Files/App/Data.txt:Zone.Identifier:$DATA", b"[ZoneTransfer]"), wi.entry("Files/App/old.txt", b"old"),
        wi.entry("Files/App/Gone/x.txt", b"x"), wi.entry("Files/App/\u00c4RGER.txt", b"x"),
        wi.entry("Files/App/hidden.txt", b"h", attributes=2 | 1), wi.entry("Files/Windows/System32/extra.txt", b"extra"),
        wi.entry("Files/WINDOWS/SYSTEM32/Drivers/extra.sys", b"extra"), wi.entry("UtilityVM/Files/Windows/x", b"not for us"),
        wi.entry("Files/Users/ContainerAdministrator/NTUSER.DAT", wi.hive(wi.key(keys={
            "Software": wi.key(keys={"SiloUser": wi.key({"Of": wi.text("the user")})})}))),
        *wi.hives(
            Software=wi.path("Silo", end=wi.key(keys={
                "App": wi.key({"": wi.text("default"), "Version": wi.text("1.0"), "Old": wi.text("x"), "Number": wi.dword(42),
                               "Wide \u20ac": wi.text("\u20ac \U0001f600")}),
                "Large": wi.key({"Large": (wi.BINARY, bytes(range(256)) * 100)}),
                "Deleted": wi.path("Below", end=wi.key({"x": wi.text("y")})),
                "Local": wi.key({"first": wi.text("1")}, {"Below": wi.key({"stays": wi.text("1")})}),
                "Tree": wi.path("Below", end=wi.key({"goes": wi.text("1")}))})),
            System=wi.path("ControlSet001", "Services", "SiloApp", end=wi.key({"Start": wi.dword(4)})),
            Sam=wi.path("Domains", end=wi.key()), Security=wi.path("Policy", end=wi.key()),
            DefaultUser=wi.path("Silo", end=wi.key({"Of": wi.text("the default user")}))))
    second = wi.layer(
        wi.hardlink("Files/App/linked.txt", "Files/APP/data.TXT"), wi.entry("Files/App/second.txt", b"the second layer\r\n"),
        wi.hardlink("Files/App/second-link.txt", "Files/App/second.txt"), wi.junction("Files/Link", r"\??\C:\app"),
        wi.entry("Files/App/relative.txt", kind=wi.SYMLINK, link=r"..\APP\Second.txt"), wi.junction("Files/Out", r"D:\elsewhere"),
        wi.hardlink("Files/App/nowhere.txt", "Files/Windows/WinSxS/of-microsoft.dll"), wi.whiteout("Files/App/OLD.txt"),
        wi.whiteout("Files/app/gone"), wi.whiteout("Files/app/\u00e4rger.txt"), wi.whiteout("Files/Windows/System32/xcopy.exe"), wi.whiteout("Files/Windows/no-such-file"),
        *wi.hives(Software=wi.key(keys={
            "Silo": wi.key(keys={
                "app": wi.key({"version": wi.text("2.0"), "Old": None}), "Deleted": wi.key(layering=wi.TOMBSTONE),
                "Local": wi.key({"second": wi.text("2")}, layering=wi.SUPERSEDE_LOCAL),
                "Tree": wi.key({"only": wi.text("this")}, layering=wi.SUPERSEDE_TREE)}),
            "Microsoft": wi.path("Windows NT", "CurrentVersion", end=wi.key({"CurrentBuild": wi.text("1")}))})))
    return [wi.BASE, first, second]


SETTINGS = {"Env": ["GREETING=good day"], "Entrypoint": ["cmd", "/S", "/C"], "Cmd": ["look.cmd"], "WorkingDir": "C:\\App"}
LAYERS = app_layers()


def check_first_look(out):
    assert "[good day] [C:\\App]" in out and "data of the first layer" in out and out.count("the second layer") == 2
    assert re.findall(r"there: (\S+)", out) == ["Data.txt", "hidden.txt"]
    assert "merged\r\n" in out and "merged deeper" in out and "\r\nhidden.txt\r\n" in out
    for line in (r"\(Default\)\s+REG_SZ\s+default", r"version\s+REG_SZ\s+2\.0", r"Number\s+REG_DWORD\s+0x2a", r"second\s+REG_SZ\s+2",
                 r"stays\s+REG_SZ\s+1", r"only\s+REG_SZ\s+this", r"Start\s+REG_DWORD\s+0x4", r"Of\s+REG_SZ\s+the default user", r"Of\s+REG_SZ\s+the user",
                 r"Windows .*10\.0\.20348", r"Large\s+REG_BINARY\s+(000102.{506}){100}\s", "Wide"):
        assert re.search(line, out, re.IGNORECASE), line
    for word in ("Old", "Deleted", "first  ", "goes", "Made"):
        assert word not in out, word


def test_application(engine, mode, name, tmp_path):
    """Files, registry and whiteouts of two layers; then the same after commit, save and load."""
    loaded = docker(engine, "load", stdin=wi.docker_archive(f"{APP}:1", LAYERS, with_base=False, settings=SETTINGS)).out
    assert BASE_LINE in loaded and f"Loaded image: {APP}:1" in loaded
    docker(engine, "run", "--name", name, f"--isolation={mode}", f"{APP}:1")
    check_first_look(docker(engine, "logs", name).out)
    docker(engine, "commit", name, f"{APP}:{name}")
    docker(engine, "rm", name)
    docker(engine, "save", "-o", tmp_path / "app.tar", f"{APP}:{name}")
    docker(engine, "rmi", f"{APP}:{name}")
    assert f"Loaded image: {APP}:{name}" in docker(engine, "load", "-i", tmp_path / "app.tar").out
    out = docker(engine, "run", "--rm", f"--isolation={mode}", f"{APP}:{name}").out
    assert re.findall(r"there: (\S+)", out) == ["made.txt", "hidden.txt"]
    assert re.search(r"Made\s+REG_SZ\s+here", out) and "Number" not in out and "data of the first layer" in out
    docker(engine, "rmi", f"{APP}:{name}")


def test_forms(engine):
    """An OCI layout is the same image as the docker-archive; what can't be kept is said; inspect shows what it is."""
    archive = wi.docker_archive(f"{APP}:forms", LAYERS, settings=SETTINGS)
    docker(engine, "rmi", "-f", f"{APP}:1", code=None)  # what is known isn't converted again: nothing would be said
    loaded = docker(engine, "load", stdin=archive).out
    for line in ("mount points that lead out of drive C: were left out (Files/Out)", "alternate data streams were left out", "security descriptors were left out", "hard links to files of Microsoft's base"):
        assert line in loaded, line
    again = docker(engine, "load", stdin=wi.oci_layout(f"docker.io/{APP}:oci", LAYERS, settings=SETTINGS)).out
    assert f"Loaded image: {APP}:oci" in again
    image = engine.inspect(f"{APP}:forms")
    assert image["Id"] == engine.inspect(f"{APP}:oci")["Id"]
    assert (image["Os"], image["OsVersion"], image["Config"]["WorkingDir"]) == ("windows", "10.0.20348.2227", "C:\\App")
    history = docker(engine, "history", "--no-trunc", f"{APP}:forms").out
    assert "RUN step 1" in history and "Apply image" not in history and "no Microsoft layers" in history
    docker(engine, "rmi", f"{APP}:forms", f"{APP}:oci")


def test_pull(engine):
    """The base's layer is never asked for; of an index the build that fits; the second pull brings nothing."""
    registry = FakeRegistry(engine)
    try:
        described = []
        for version in ("10.0.99999.1", "10.0.20348.2227"):
            document = wi.config(LAYERS, version=version, settings={
                "User": "ContainerUser", "ArgsEscaped": True, "Cmd": [r'cmd /S /C "reg query HKLM\Software\Silo\App & ver & echo "%USERNAME%""']})
            layers, blobs = wi.descriptors(LAYERS, urls=f"http://{registry.host}/v2/windows/nanoserver/blobs/base")
            for blob in blobs.values():
                registry.add_blob(blob)
            manifest = {"schemaVersion": 2, "mediaType": OCI + "manifest.v1+json", "layers": layers,
                        "config": {"mediaType": OCI + "config.v1+json", **registry.add_blob(document)}}
            described.append({**registry.add_manifest("app", None, manifest, OCI + "manifest.v1+json"),
                              "platform": {"os": "windows", "architecture": "amd64", "os.version": version}})
        registry.add_manifest("app", "latest", {"schemaVersion": 2, "manifests": described}, OCI + "image.index.v1+json".removeprefix("image."))
        registry.add_manifest("app", "short", {**manifest, "layers": layers[:1]}, OCI + "manifest.v1+json")
        assert "layers length mismatch" in docker(engine, "pull", f"{registry.host}/app:short", code=1).err
        ref = f"{registry.host}/app:latest"
        assert BASE_LINE in docker(engine, "pull", ref).out
        assert registry.count("GET", layers[0]["digest"]) == registry.count("GET", "nanoserver") == 0
        fetched = registry.count("GET", "/blobs/" + layers[1]["digest"])
        assert fetched == 1
        assert f"Image is up to date for {ref}" in docker(engine, "pull", ref).out
        assert registry.count("GET", "/blobs/" + layers[1]["digest"]) == fetched
        out = docker(engine, "run", "--rm", ref).out
        assert re.search(r"version\s+REG_SZ\s+2\.0", out) and "10.0.20348" in out and '"ContainerUser"' in out
        docker(engine, "rmi", ref)
    finally:
        registry.close()


def store(engine):
    return (docker(engine, "images", "-a", "-q", "--no-trunc").out, sorted((engine.root / "layers").iterdir()),
            sorted((engine.root / "blobs/sha256").iterdir()), list((engine.root / "tmp/images").iterdir()))


def with_layer(*entries):
    return [wi.BASE, wi.layer(*entries)]


BROKEN = wi.hive(wi.path("Silo", end=wi.key({"x": wi.text("y")})))
BAD = {
    "arm64": (wi.docker_archive(APP, LAYERS, architecture="arm64"), "windows/arm64) is not supported"),
    "version": (wi.docker_archive(APP, LAYERS, version="10.0.18362.1"), "based on Windows 10.0.18362"),
    "no version": (wi.docker_archive(APP, LAYERS, version="11"), 'invalid os.version "11"'),
    "outside": (wi.docker_archive(APP, with_layer(wi.entry("etc/passwd", b"x"))), "etc/passwd: outside of Files/"),
    "climbing": (wi.docker_archive(APP, with_layer(wi.entry("Files/../x", b"x"))), "outside of the archive"),
    "stream in the middle": (wi.docker_archive(APP, with_layer(wi.entry("Files/a:b/c", b"x"))), "no path of Windows"),
    "link outside": (wi.docker_archive(APP, with_layer(wi.hardlink("Files/x", "etc/passwd"))), "which is outside of Files/"),
    "unmarked base": (wi.docker_archive(APP, [wi.BASE, wi.BASE]), "isn't marked as one"),
    "no hive": (wi.docker_archive(APP, with_layer(wi.entry("Hives/Software_Delta", b"regf"))), "broken registry hive: no hive"),
    "cut hive": (wi.docker_archive(APP, with_layer(wi.entry("Hives/System_Delta", BROKEN[:5000]))), "broken registry hive: it is cut off"),
    "bad hive": (wi.docker_archive(APP, with_layer(wi.entry("Hives/Sam_Delta", BROKEN.replace(b"nk", b"nx")))), "broken registry hive: a key"),
    "other layer": (wi.docker_archive(APP, LAYERS).replace(b"good day", b"bad  day").replace(b"the second layer", b"the other  layer"),
                    "expected sha256:"),
}


def test_bad_images(engine):
    before = store(engine)
    for what, (archive, error) in BAD.items():
        assert error in docker(engine, "load", stdin=archive, code=1).err, what
        assert store(engine) == before, what


def test_bases_that_are_not_there(own_engine, tmp_path):
    """No base made; its names switched off; an image that a Windows host of that version wouldn't run."""
    archive = wi.docker_archive(APP, LAYERS, version="10.0.26100.1")
    cases = [({}, tmp_path, "silo windows-base build"), ({"windows-base-names": False}, None, '"windows-base-names": false'),
             ({"windows-host-version": "10.0.20348"}, None,
              "a Windows version 10.0.26100-based image is incompatible with a 10.0.20348 host")]
    for i, (settings, vm_dir, error) in enumerate(cases):
        config = tmp_path / f"daemon{i}.json"
        config.write_text(json.dumps(settings))
        engine = own_engine("--config-file", str(config), **({"vm_dir": vm_dir} if vm_dir else {}))
        before = store(engine)
        assert error in docker(engine, "load", stdin=archive, code=1).err
        assert store(engine) == before
