"""A Kubernetes of one machine for tests: the real control plane, and nodes that run pods as local processes."""
from . import paths as _paths  # noqa: F401  puts the packages of build_tools.sh on the path
