"""Writes assets/engines/requirements/*.txt: every package of the external engines, pinned and hashed.

    python3 scripts/engine-requirements.py UV [NAME…]

UV is the path of uv 0.13 or newer, which resolves for systems other than this one. Hashes are those of all wheels that
fit the system, for every CPython that the frameworks support; download sizes are of the wheels that one installation
takes, the largest where it depends on the system's version. Installed sizes are measured by hand and kept in INSTALLED.
"""

import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

OUTPUT = Path(__file__).resolve().parents[1] / "assets" / "engines" / "requirements"
LINUX = "sys_platform == 'linux' and platform_machine == 'x86_64' and platform_python_implementation == 'CPython'"
MACOS = "sys_platform == 'darwin' and platform_machine == 'arm64' and platform_python_implementation == 'CPython'"
PYTORCH = ["torch==2.15.0", "transformers==5.23.0", "peft==0.21.2", "numpy", "safetensors"]
MLX = ["mlx-lm==0.32.2", "numpy"]
# What `import torch` and everything that the engine does on a processor go without: found by leaving out one at a time.
NOT_FOR_CPU = {
    "cuda-bindings",
    "cuda-pathfinder",
    "cuda-toolkit",
    "nvidia-cuda-cccl",
    "nvidia-cusolver",
    "nvidia-nvjitlink",
    "nvidia-nvtx",
    "triton",
}
# Name: system, what is asked for, what is left out.
LISTS = {
    "pytorch-cuda-linux-x86_64": (LINUX, PYTORCH, set()),
    "pytorch-cpu-linux-x86_64": (LINUX, PYTORCH, NOT_FOR_CPU),
    "pytorch-macos-arm64": (MACOS, PYTORCH, set()),
    "mlx-linux-x86_64": (LINUX, ["mlx[cpu]==0.32.4", *MLX], set()),
    "mlx-linux-x86_64-cuda": (LINUX, ["mlx[cuda13]==0.32.4", *MLX], set()),
    "mlx-macos-arm64": (MACOS, ["mlx==0.32.4", *MLX], set()),
}
# Bytes of all files in the wheels for CPython 3.12 (of macOS 14 where there are several), without compiled bytecode.
INSTALLED = {
    "pytorch-cuda-linux-x86_64": 5_621_247_997,
    "pytorch-cpu-linux-x86_64": 4_130_632_790,
    "pytorch-macos-arm64": 726_118_232,
    "mlx-linux-x86_64": 206_789_207,
    "mlx-linux-x86_64-cuda": 3_331_009_072,
    "mlx-macos-arm64": 301_830_846,
}


def run(*command, folder):
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


def resolve(uv, system, wanted):
    """(the requirements with hashes, the lock file) as uv finds them."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        lines = ",\n".join(f'    "{name}"' for name in wanted)
        (folder / "pyproject.toml").write_text(
            f'[project]\nname = "engine"\nversion = "0"\nrequires-python = ">=3.11"\ndependencies = [\n{lines}\n]\n'
            f'[tool.uv]\nenvironments = ["{system}"]\n'
        )
        run(uv, "lock", "--quiet", folder=folder)
        export = ("export", "--quiet", "--frozen", "--no-emit-project", "--no-header", "--no-annotate")
        return run(uv, *export, folder=folder), tomllib.loads((folder / "uv.lock").read_text())


def fits(filename, macos):
    """Whether a wheel is for the system, and for CPython as it is usually built."""
    tags = filename.removesuffix(".whl").split("-")[-2:]
    abi, platforms = tags
    if abi.endswith("t") and abi.startswith("cp"):
        return False
    if platforms == "any":
        return True
    ours = re.compile(r"macosx_\d+_\d+_(arm64|universal2)" if macos else r"(manylinux\w*|linux)_x86_64")
    return any(ours.fullmatch(name) for name in platforms.split("."))


def wheels_of(lock, macos):
    """The wheels of each package by name and version: (file name, hash, size)."""
    found = {}
    for package in lock["package"]:
        rows = [(wheel["url"].rsplit("/", 1)[1], wheel["hash"], wheel["size"]) for wheel in package.get("wheels", [])]
        found[package["name"], package["version"]] = [row for row in rows if fits(row[0], macos)]
    return found


def serves(filename, minor):
    """Whether a wheel can be installed into CPython 3.`minor`."""
    python, abi, _ = filename.removesuffix(".whl").split("-")[-3:]
    names = python.split(".")
    if abi == "abi3":
        return any(name.startswith("cp3") and int(name[3:] or 0) <= minor for name in names)
    return f"cp3{minor}" in names or any(name in ("py3", "py2") or name == f"py3{minor}" for name in names)


def parse(text):
    """(name, version, marker on the version of Python) of every requirement."""
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9_.-]+)==(\S+)(?: ; (.*?))?(?: \\)?$", line)
        if match:
            parts = re.split(r" and ", match[3] or "")
            marker = " and ".join(part for part in parts if part.startswith("python_full_version"))
            yield match[1], match[2], marker


def holds(marker, minor):
    """Whether a marker on Python's version holds for CPython 3.`minor`."""
    for part in filter(None, marker.split(" and ")):
        _, sign, version = part.split(" ")
        other = int(version.strip("'").split(".")[1])
        if not {"<": minor < other, ">=": minor >= other, "<=": minor <= other, ">": minor > other}[sign]:
            return False
    return True


def write(uv, name):
    system, wanted, left_out = LISTS[name]
    text, lock = resolve(uv, system, wanted)
    wheels = wheels_of(lock, system == MACOS)
    lines, download, minors = [], 0, set(range(11, 15))
    for package, version, marker in parse(text):
        if package in left_out:
            continue
        rows = wheels[package, version]
        if not rows:
            raise SystemExit(f"{name}: {package} {version} has no wheel")
        minors -= {minor for minor in minors if holds(marker, minor) and not any(serves(row[0], minor) for row in rows)}
        if holds(marker, 12):
            download += max((row[2] for row in rows if serves(row[0], 12)), default=0)
        condition = f" ; {marker}" if marker else ""
        hashes = " \\\n".join(f"    --hash={row[1]}" for row in sorted(rows, key=lambda row: row[1]))
        lines.append(f"{package}=={version}{condition} \\\n{hashes}\n")
    pythons = ", ".join(f"3.{minor}" for minor in sorted(minors))
    head = [
        f"# {name}: {' '.join(wanted)}",
        "# Made by scripts/engine-requirements.py. Install with pip install --require-hashes --no-deps -r.",
        f"# python: {pythons}",
        f"# download-bytes: {download}",
    ]
    if name in INSTALLED:
        head.append(f"# installed-bytes: {INSTALLED[name]}")
    if left_out:
        head.append(f"# left-out: {' '.join(sorted(left_out))}")
    OUTPUT.mkdir(parents=True, exist_ok=True)
    (OUTPUT / f"{name}.txt").write_text("\n".join(head) + "\n" + "".join(lines))
    print(f"{name}: {len(lines)} packages, {download / 1e6:.1f} MB, CPython {pythons}")


def main():
    uv, *names = sys.argv[1:]
    for name in names or LISTS:
        write(uv, name)


if __name__ == "__main__":
    main()
