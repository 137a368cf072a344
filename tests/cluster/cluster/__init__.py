"""Nodes that run pods as processes of this machine, for tests of manifests."""
from . import paths as _paths  # noqa: F401  puts the packages of setup.sh on the path
