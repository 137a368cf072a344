"""Message classes for Python, made of the very .proto files that the processes are built with."""
import pathlib
import subprocess
import tempfile

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PROTO = pathlib.Path(__file__).resolve().parents[2] / "proto"


def message_classes(file, *names):
    """Those of `file` with these full names."""
    with tempfile.NamedTemporaryFile() as described:
        subprocess.run(["protoc", f"-I{PROTO}", "--include_imports", f"--descriptor_set_out={described.name}", file], check=True)
        files = descriptor_pb2.FileDescriptorSet.FromString(pathlib.Path(described.name).read_bytes())
    pool = descriptor_pool.DescriptorPool()
    for each in files.file:
        pool.Add(each)
    return [message_factory.GetMessageClass(pool.FindMessageTypeByName(name)) for name in names]
