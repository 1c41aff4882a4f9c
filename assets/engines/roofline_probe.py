import importlib.metadata as metadata, importlib.util as util, json, os, platform, sys

def version(name):
    try:
        return metadata.version(name)
    except Exception:
        return None

def there(name):
    try:
        spec = util.find_spec(name)
    except Exception:
        return False
    # A folder that a removal left behind is a namespace without a loader of its own.
    return spec is not None and spec.origin is not None

kernel = os.uname().version if hasattr(os, "uname") else ""
packages, modules = json.loads(sys.argv[1])
print(json.dumps({
    "roofline": 1,
    "version": list(sys.version_info[:3]),
    "implementation": platform.python_implementation(),
    "machine": platform.machine(),
    "translated": sys.platform == "darwin" and platform.machine() == "x86_64" and "ARM64" in kernel,
    "executable": sys.executable,
    "libc": platform.libc_ver()[1],
    "packages": {name: version(name) for name in packages},
    "modules": {name: there(name) for name in modules},
}))
