"""What a bill of materials says of a Debian package and of a wheel, whose files are made up here.

Run by ctest as `bill_of_materials_test`.
"""
import pathlib
import sys
import tempfile
import unittest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "tools" / "package"))
import bill_of_materials as bill


class BillOfMaterialsTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def put(self, name, text):
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def wheel(self):
        info = self.put("torch-2.14.1.dist-info/METADATA", "Name: torch\nVersion: 2.14.1\nLicense: BSD\n").parent
        self.put("torch-2.14.1.dist-info/licenses/LICENSE", "its own")
        self.put("torch-2.14.1.dist-info/licenses/third_party/fmt/LICENSE", "another's")
        self.put("torch/include/oneapi/dnnl/dnnl_version.h",
                 "".join(f"#define DNNL_VERSION_{part} {number}\n" for part, number in (("MAJOR", 3), ("MINOR", 12), ("PATCH", 0))))
        self.put("torch/include/google/protobuf/stubs/common.h", "#define GOOGLE_PROTOBUF_VERSION 3021012\n")
        self.put("torch/include/fmt/base.h", "#define FMT_VERSION 120201\n")
        library = self.put("lib/libtorch_cpu.so", "code")
        return bill.wheel_component(info, [library], self.folder / "licenses")

    def test_a_scanner_finds_the_release_and_the_source_of_a_debian_package(self):
        self.addCleanup(setattr, bill, "OS_RELEASE", bill.OS_RELEASE)
        bill.OS_RELEASE = self.put("os-release", 'ID=debian\nVERSION_ID="12"\n')
        self.assertEqual(bill.debian_purl("libgrpc++1.51", "1:1.51.1-3+b1", "grpc@1.51.1-3"),
                         "pkg:deb/debian/libgrpc%2B%2B1.51@1%3A1.51.1-3%2Bb1?arch=amd64&distro=debian-12&upstream=grpc%401.51.1-3")

    def test_each_licence_in_a_wheel_is_kept(self):
        self.wheel()
        kept = sorted(path.read_text() for path in (self.folder / "licenses").rglob("LICENSE"))
        self.assertEqual(kept, ["another's", "its own"])

    def test_says_what_libtorch_is_linked_with(self):
        inside = {part["name"]: part["version"] for part in self.wheel()["components"] if part["type"] == "library"}
        self.assertEqual(inside, {"onednn": "3.12.0", "protobuf": "3.21.12", "fmt": "12.2.1"})

    def test_names_what_is_known_of_a_wheel_and_of_a_source_package(self):
        grpc = bill.component("libgrpc29", "1.51.1-3+b1", "grpc", [], [], {"source": "grpc 1.51.1-3"})
        known = bill.vulnerabilities_of([grpc, self.wheel()])
        self.assertEqual({one["affects"][0]["ref"] for one in known}, {"grpc", "pkg:pypi/torch@2.14.1"})
        self.assertEqual(bill.vulnerabilities_of([grpc | {"properties": [{"name": "diptych:source", "value": "grpc 1.80-1"}]}]), [])


if __name__ == "__main__":
    unittest.main()
