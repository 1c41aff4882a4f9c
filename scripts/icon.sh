#!/bin/sh
# Draws assets/icon.png and assets/icon.icns from assets/icon.svg.
set -eu
cd "$(dirname "$0")/.."

for tool in rsvg-convert python3; do
    command -v "$tool" >/dev/null || { echo "$tool is missing; on Debian: apt-get install librsvg2-bin python3" >&2; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for pixels in 16 32 64 128 256 512 1024; do
    rsvg-convert --width "$pixels" --height "$pixels" assets/icon.svg --output "$work/$pixels.png"
done
cp "$work/512.png" assets/icon.png

# An icns file is a header and one PNG for each type: four letters, the length with its own eight bytes, the picture.
# (iconutil does the same, but only on macOS; icnsutils knows no @2x types.)
python3 - "$work" assets/icon.icns <<'PYTHON'
import pathlib, struct, sys

work, output = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
types = [("icp4", 16), ("ic11", 32), ("icp5", 32), ("ic12", 64), ("ic07", 128), ("ic13", 256), ("ic08", 256),
         ("ic14", 512), ("ic09", 512), ("ic10", 1024)]
body = b""
for kind, pixels in types:
    picture = (work / f"{pixels}.png").read_bytes()
    body += kind.encode() + struct.pack(">I", len(picture) + 8) + picture
output.write_bytes(b"icns" + struct.pack(">I", len(body) + 8) + body)
PYTHON
echo "assets/icon.png and assets/icon.icns are drawn"
