#!/usr/bin/env python3
"""Runs a notebook against a server and writes it with what its cells print and draw.

    DIPTYCH_SERVER=HOST:PORT run_notebook.py docs/notebook.ipynb [OUTPUT]

OUTPUT defaults to the notebook itself. Its folder is the cells' working directory. Wants nbclient, ipykernel, matplotlib,
Pillow and the client on PYTHONPATH. Exits with 1 and the cell's traceback where one fails.
"""
import pathlib
import sys

import nbclient
import nbformat


def run(notebook, folder):
    client = nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3", resources={"metadata": {"path": str(folder)}},
                                     record_timing=False, coalesce_streams=True)
    try:
        client.execute()
    except nbclient.exceptions.CellExecutionError as error:
        sys.exit(str(error))
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"], "language_info": {"name": "python"}}


def main():
    path = pathlib.Path(sys.argv[1])
    notebook = nbformat.read(path, as_version=4)
    run(notebook, path.resolve().parent)
    nbformat.write(notebook, sys.argv[2] if len(sys.argv) > 2 else path)


if __name__ == "__main__":
    main()
