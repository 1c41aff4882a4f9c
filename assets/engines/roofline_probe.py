"""Says in one line of JSON what a Python is and what it holds, without importing any of it.

The argument is a JSON list of two: names of packages, and names of modules. Runs on any Python 3.
"""

import importlib.util
import json
import os
import platform
import sys


def version(name):
    """The version of a package by its metadata."""
    try:
        # Not at the top: a Python that is too old for it shall say its version all the same.
        import importlib.metadata

        return importlib.metadata.version(name)
    except Exception:
        return None


def is_there(name):
    """Whether a module's file is there. A folder that a removal left behind is a namespace without an origin."""
    try:
        spec = importlib.util.find_spec(name)
    except Exception:
        return False
    return spec is not None and spec.origin is not None


def main():
    kernel = os.uname().version if hasattr(os, "uname") else ""
    packages, modules = json.loads(sys.argv[1])
    answer = {
        "version": list(sys.version_info[:3]),
        "implementation": platform.python_implementation(),
        "machine": platform.machine(),
        "translated": sys.platform == "darwin" and platform.machine() == "x86_64" and "ARM64" in kernel,
        "executable": sys.executable,
        "libc": platform.libc_ver()[1],
        "packages": {name: version(name) for name in packages},
        "modules": {name: is_there(name) for name in modules},
    }
    print(json.dumps(answer))


main()
