#!/usr/bin/env python3
"""Says what an installed tree bundles: licences and a bill of materials (CycloneDX 1.5).

    bill_of_materials.py TREE BUILD_FOLDER TORCH_FOLDER VERSION TIME

Reads TREE/lib/diptych. Writes TREE/share/doc/diptych/sbom.cdx.json and TREE/share/doc/diptych/licenses/PACKAGE/, from Debian's
records of the files that the programs in BUILD_FOLDER/bin load and from the metadata of the wheels in TORCH_FOLDER, with what
known_vulnerabilities.json says of them. TIME is what the bill says of its making: seconds since 1970.
"""
import datetime
import email
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse
import uuid

PROGRAMS = ("gateway", "vision_service", "language_service", "diptych")
OS_RELEASE = pathlib.Path("/etc/os-release")
KNOWN = pathlib.Path(__file__).resolve().parent / "known_vulnerabilities.json"
# What libtorch is linked with and says the version of: name, header, and the numbers in it.
INSIDE_TORCH = (
    ("onednn", "oneapi/dnnl/dnnl_version.h", r"#define DNNL_VERSION_(?:MAJOR|MINOR|PATCH) (\d+)"),
    ("protobuf", "google/protobuf/stubs/common.h", r"#define GOOGLE_PROTOBUF_VERSION (\d+)(\d{3})(\d{3})\n"),
    ("fmt", "fmt/base.h", r"#define FMT_VERSION (\d+)(\d{2})(\d{2})\n"))
# Compiled in from their headers; one of the names of each.
HEADERS = (("nlohmann-json3-dev",), ("libcli11-dev",), ("libboost1.81-dev", "libboost-dev"))


def output(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def fail(message):
    sys.exit(f"bill_of_materials: {message}")


def loaded_from(build):
    """{name: path} of every library that a program loads."""
    found = {}
    for program in PROGRAMS:
        for name, path in re.findall(r"(\S+) => (/\S+)", output("ldd", str(build / "bin" / program))):
            found[name] = pathlib.Path(path)
    return found


def owner(path):
    """Name of the Debian package that a file belongs to."""
    real = path.resolve()
    for candidate in {real, pathlib.Path(str(real).removeprefix("/usr")), path}:
        found = subprocess.run(["dpkg-query", "-S", str(candidate)], capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.split(": ")[0].split(",")[0].strip()
    return None


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def debian_component(package, files, licenses):
    name, version, source, distribution = output(
        "dpkg-query", "-W", "-f=${Package}\t${Version}\t${source:Package}\t${source:Version}", package).split("\t")
    copyright_file = pathlib.Path("/usr/share/doc") / name / "copyright"
    if not copyright_file.exists():
        fail(f"{copyright_file} is missing: what {name} may be passed on under is not known")
    target = licenses / name
    target.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(copyright_file, target / "copyright")
    return component(name, version, debian_purl(name, version, f"{source}@{distribution}"),
                     license_names(copyright_file), files, {"source": f"{source} {distribution}"})


def debian_purl(name, version, source):
    """With the release and the source package, without which a scanner doesn't find what is known of it."""
    release = dict(re.findall(r'^(\w+)="?([^"\n]*)', OS_RELEASE.read_text(), re.M))
    name, version, source = (urllib.parse.quote(text, safe="") for text in (name, version, source))
    return f"pkg:deb/{release['ID']}/{name}@{version}?arch=amd64&distro={release['ID']}-{release['VERSION_ID']}&upstream={source}"


def license_names(copyright_file):
    """Short names in a machine-readable copyright file, in its order."""
    names = re.findall(r"^License: *(\S.*?) *$", copyright_file.read_text(errors="replace"), re.M)
    return list(dict.fromkeys(names)) or ["see licenses/"]


def wheel_component(info, files, licenses):
    metadata = email.message_from_string((info / "METADATA").read_text())
    name, version = metadata["Name"], metadata["Version"]
    texts = [path for path in info.rglob("*") if path.is_file() and re.match(r"(licen[cs]e|notice|copying)", path.name, re.I)]
    if not texts:
        fail(f"{info.name} holds no licence")
    for path in texts:  # in their folders: each of those that it was made from has one of the same name
        target = licenses / name / path.relative_to(info)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
    license_name = metadata["License-Expression"] or metadata["License"] or "see licenses/"
    made = component(name, version, f"pkg:pypi/{name}@{version}", [license_name.splitlines()[0]], files, {})
    if name == "torch":
        made["components"] += inside_torch(info.parent / "torch" / "include")
    return made


def inside_torch(include):
    for name, header, pattern in INSIDE_TORCH:
        found = re.findall(pattern, (include / header).read_text())
        version = ".".join(str(int(number)) for number in (found if isinstance(found[0], str) else found[0]))
        yield {"type": "library", "bom-ref": f"torch:{name}", "name": name, "version": version, "purl": f"pkg:generic/{name}@{version}"}


def component(name, version, purl, license_list, files, properties):
    made = {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl,
            "licenses": [{"license": {"name": text}} for text in license_list]}
    if properties:
        made["properties"] = [{"name": f"diptych:{key}", "value": value} for key, value in properties.items()]
    if files:
        made["components"] = [{"type": "file", "name": f"lib/diptych/{path.name}", "bom-ref": f"file:{path.name}",
                               "hashes": [{"alg": "SHA-256", "content": sha256(path)}]} for path in files]
    return made


def wheel_of(library, torch):
    """The folder of metadata of the wheel that a library came with."""
    for record in sorted(torch.glob("*.dist-info/RECORD")):
        if f"/{library.name}," in record.read_text():
            return record.parent
    fail(f"no wheel in {torch} brings {library.name}")


def headers():
    for names in HEADERS:
        installed = [name for name in names if subprocess.run(["dpkg-query", "-s", name], capture_output=True).returncode == 0]
        if not installed:
            fail(f"none of {', '.join(names)} is installed")
        yield installed[0]


def components_of(tree, build, torch, licenses):
    loaded = loaded_from(build)
    packages, wheels = {}, {}
    for library in sorted((tree / "lib" / "diptych").iterdir()):
        path = loaded.get(library.name)
        package = owner(path) if path else None
        if path and not package and torch in path.resolve().parents:
            wheels.setdefault(wheel_of(library, torch), []).append(library)
        elif package:
            packages.setdefault(package, []).append(library)
        else:
            fail(f"where {library.name} comes from is not known")
    for package in headers():
        packages.setdefault(package, [])
    return ([debian_component(package, files, licenses) for package, files in sorted(packages.items())]
            + [wheel_component(info, files, licenses) for info, files in sorted(wheels.items())])


def vulnerabilities_of(components):
    """What is known of the versions that are bundled (known_vulnerabilities.json)."""
    known = json.loads(KNOWN.read_text())
    bundled = {}  # references by package and version, Debian's by the source package and its upstream version
    for part in components:
        source = next((each["value"].split("-")[0] for each in part.get("properties", ()) if each["name"] == "diptych:source"), None)
        bundled.setdefault(source or f"{part['name']} {part['version']}", []).append({"ref": part["bom-ref"]})
    return [{"bom-ref": f"{package}:{one['id']}", "id": one["id"], "source": {"name": "NVD", "url": f"https://nvd.nist.gov/vuln/detail/{one['id']}"},
             "updated": f"{known['reviewed']}T00:00:00Z", "affects": bundled[package],
             "analysis": {key: value for key, value in one.items() if key != "id"}}
            for package, some in known["packages"].items() if package in bundled for one in some]


def main():
    tree, build, torch = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
    version, time = sys.argv[4], int(sys.argv[5])
    documents = tree / "share" / "doc" / "diptych"
    licenses = documents / "licenses"
    shutil.rmtree(licenses, ignore_errors=True)
    licenses.mkdir(parents=True)
    components = components_of(tree, build, torch.parent, licenses)
    content = json.dumps(components)
    bill = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1,
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, content)}",
        "metadata": {
            "timestamp": datetime.datetime.fromtimestamp(time, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {"type": "application", "bom-ref": f"pkg:generic/diptych@{version}", "name": "diptych",
                          "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}]}},
        "components": components,
        "vulnerabilities": vulnerabilities_of(components),
        "dependencies": [{"ref": f"pkg:generic/diptych@{version}", "dependsOn": [one["bom-ref"] for one in components]}],
    }
    (documents / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n")
    (licenses / "README").write_text(
        "What lib/diptych/ holds comes unchanged from the packages named here; sbom.cdx.json lists them with their versions.\n"
        "The sources of each are those of the distribution's package of that version.\n")
    print(f"{len(components)} packages are bundled with {version}")


if __name__ == "__main__":
    main()
