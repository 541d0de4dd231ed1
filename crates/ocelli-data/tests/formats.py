"""Writes the files of tests/images that tests/formats.rs reads: the picture of tests/decode.rs in many formats.

    pip install numpy pillow tifffile imagecodecs pillow-heif
    python formats.py images
"""
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import tifffile
from PIL import Image, ImageCms

W, H = 37, 29
to = Path(sys.argv[1])

x, y = np.meshgrid(np.arange(W), np.arange(H))
ramps = np.stack([x * 255 // (W - 1), y * 255 // (H - 1), (x + y) * 255 // (W + H - 2)], -1)
marked = ((y >= 2) & (y < 8) & (x >= 3) & (x < 13))[..., None]
rgb = np.where(marked, [250, 20, 30], ramps).astype(np.uint8)
grey = ((rgb.astype(int) @ [299, 587, 114] + 500) // 1000).astype(np.uint8)
wide = rgb.astype(np.uint16) * 257


def tif(name, data, **options):
    options.setdefault("metadata", None)
    options.setdefault("software", False)
    tifffile.imwrite(to / f"{name}.tif", data, **options)


# TIFF: depths.
tif("rgb16", wide, photometric="rgb")
tif("rgb16_big_endian", wide, photometric="rgb", byteorder=">", compression="deflate", predictor=True)
tif("grey32", grey.astype(np.uint32) * 16843009, photometric="minisblack", compression="zlib")
tif("grey_signed16", (grey.astype(np.int32) * 257 - 32768).astype(np.int16), photometric="minisblack", compression="lzw", predictor=True)
tif("grey_signed8", (grey.astype(np.int16) - 128).astype(np.int8), photometric="minisblack")
tif("float32", (rgb / 255).astype(np.float32), photometric="rgb", compression="zlib", predictor=True)
tif("float16", (rgb / 255).astype(np.float16), photometric="rgb", compression="zlib")
tif("float64", grey / 255, photometric="minisblack", compression="zlib", byteorder=">", predictor=True)
tif("float_beyond", grey.astype(np.float32), photometric="minisblack", compression="zlib")
tif("white_is_zero", 255 - grey, photometric="miniswhite", compression="packbits")

# TIFF: layouts.
tif("zstd", rgb, photometric="rgb", compression="zstd", predictor=True)
tif("tiled", rgb, photometric="rgb", tile=(16, 16), compression="lzw")
tif("planar", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib", rowsperstrip=7)
tif("tiled_planar", np.moveaxis(rgb, -1, 0), photometric="rgb", planarconfig="separate", tile=(16, 16), compression="zlib")
tif("tiled_planar16", np.moveaxis(wide, -1, 0), photometric="rgb", planarconfig="separate", tile=(32, 16), compression="zlib", predictor=True)
tif("big_tiff", rgb, photometric="rgb", bigtiff=True, compression="zlib")
bands = np.stack([wide[..., 2], wide[..., 1], wide[..., 0], 65535 - wide[..., 0], wide[..., 1] // 2], -1)
tif("five_bands", bands, photometric="minisblack", planarconfig="contig", compression="zlib", extrasamples=["unspecified"] * 4)
tif("five_bands_planar", np.moveaxis(bands, -1, 0), photometric="minisblack", planarconfig="separate", compression="zlib", extrasamples=["unspecified"] * 4)
alpha = np.broadcast_to(np.arange(W) * 255 // (W - 1), (H, W)).astype(np.uint8)
multiplied = ((rgb.astype(int) * alpha[..., None] + 127) // 255).astype(np.uint8)
tif("alpha_multiplied", np.dstack([multiplied, alpha]), photometric="rgb", extrasamples=["assocalpha"], compression="zlib")
tif("near_infrared", np.dstack([rgb, alpha]), photometric="rgb", extrasamples=["unspecified"], compression="zlib")
tif("jpeg_rgb", rgb, photometric="rgb", compression="jpeg", compressionargs={"level": 98})


def jpeg(tile):
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "jpeg", quality=95, subsampling="4:2:0")
    return stream.getvalue()


padded = np.pad(rgb, ((0, 3), (0, 11), (0, 0)), mode="edge")
tiles = [jpeg(padded[top : top + 16, left : left + 16]) for top in range(0, H, 16) for left in range(0, W, 16)]
tif("jpeg_tiled", iter(tiles), shape=rgb.shape, dtype=np.uint8, photometric="ycbcr", compression="jpeg", tile=(16, 16), subsampling=(2, 2))
with tifffile.TiffWriter(to / "pages.tif") as pages:
    for page in [rgb, 255 - rgb, rgb[::2]]:
        pages.write(page, photometric="rgb", compression="zlib", metadata=None, software=False)


def raw_tif(name, tags, data):
    """A TIFF file of one strip, written tag by tag."""
    entries, extra = [], b""
    start = 8 + 2 + 12 * (len(tags) + 2) + 4
    tags = sorted([*tags, (273, 4, [0]), (279, 4, [len(data)])])
    for number, kind, values in tags:
        size = {3: "H", 4: "I"}[kind]
        packed = struct.pack(f"<{len(values)}{size}", *values)
        if number == 273:
            entries.append((number, kind, 1, None))
        elif len(packed) <= 4:
            entries.append((number, kind, len(values), packed.ljust(4, b"\0")))
        else:
            entries.append((number, kind, len(values), struct.pack("<I", start + len(extra))))
            extra += packed
    at = struct.pack("<I", start + len(extra))
    body = b"".join(struct.pack("<HHI", n, k, c) + (field or at) for n, k, c, field in entries)
    head = struct.pack("<2sHIH", b"II", 42, 8, len(entries))
    (to / f"{name}.tif").write_bytes(head + body + b"\0" * 4 + extra + data)


# 12 bits in rows of whole bytes, from the highest bit.
twelve = (grey.astype(np.uint32) * 4095 + 127) // 255
rows = b"".join(
    int("".join(f"{value:012b}" for value in row).ljust((W * 12 + 7) // 8 * 8, "0"), 2).to_bytes((W * 12 + 7) // 8, "big")
    for row in twelve
)
sides = [(256, 4, [W]), (257, 4, [H]), (259, 3, [1])]
raw_tif("grey12", [*sides, (258, 3, [12]), (262, 3, [1]), (277, 3, [1])], rows)

# Sixteen greys by way of a palette of four bits, which is not in order.
order = [(7 * at + 3) % 16 for at in range(16)]
place = {colour: at for at, colour in enumerate(order)}
sixteen = grey // 16
rows = b""
for row in sixteen:
    nibbles = [place[value] for value in row] + [0]
    rows += bytes(high << 4 | low for high, low in zip(nibbles[0::2], nibbles[1::2]))
colours = [value * 17 * 257 for value in order]
raw_tif("palette4", [*sides, (258, 3, [4]), (262, 3, [3]), (277, 3, [1]), (320, 3, colours * 3)], rows)

# YCbCr with a pair of chroma for 2 × 2 pixels.
ycbcr = np.asarray(Image.fromarray(rgb).convert("YCbCr")).astype(int)
padded = np.pad(ycbcr, ((0, 1), (0, 1), (0, 0)), mode="edge")
rows = b""
for top in range(0, H, 2):
    for left in range(0, W, 2):
        unit = padded[top : top + 2, left : left + 2]
        rows += bytes([*unit[..., 0].flatten().tolist(), *((unit[..., 1:].sum((0, 1)) + 2) // 4).tolist()])
raw_tif("ycbcr", [*sides, (258, 3, [8, 8, 8]), (262, 3, [6]), (277, 3, [3]), (530, 3, [2, 2])], rows)

# Netpbm.
image, image_grey = Image.fromarray(rgb), Image.fromarray(grey)
image.save(to / "rgb.ppm")
image_grey.save(to / "grey.pgm")
bits = grey >= 128
Image.fromarray(bits).save(to / "one_bit.pbm")
(to / "grey16.pgm").write_bytes(f"P5\n# 16 bits\n{W} {H}\n65535\n".encode() + (grey.astype(">u2") * 257).astype(">u2").tobytes())
(to / "grey12.pgm").write_bytes(f"P5 {W} {H} 4095\n".encode() + twelve.astype(">u2").tobytes())
text = "\n".join(" ".join(map(str, row)) for row in rgb.reshape(H, -1).tolist())
(to / "text.ppm").write_text(f"P3\n{W} {H} # width and height\n255\n{text}\n")
(to / "text.pbm").write_text(f"P1\n{W} {H}\n" + "\n".join("".join("01"[not value] for value in row) for row in bits) + "\n")
header = f"P7\nWIDTH {W}\nHEIGHT {H}\nDEPTH 4\nMAXVAL 255\nTUPLTYPE RGB_ALPHA\nENDHDR\n"
(to / "alpha.pam").write_bytes(header.encode() + np.dstack([rgb, alpha]).tobytes())
(to / "rgb.pfm").write_bytes(f"PF\n{W} {H}\n-1.0\n".encode() + (rgb[::-1] / 255).astype("<f4").tobytes())
(to / "grey_big_endian.pfm").write_bytes(f"Pf\n{W} {H}\n1.0\n".encode() + (grey[::-1] / 255).astype(">f4").tobytes())

# HEIC by libheif and x265.
pillow_heif.register_heif_opener()
image.save(to / "photo.heic", quality=95, chroma=444)
Image.fromarray(np.dstack([rgb, alpha])).save(to / "alpha.heic", quality=95, chroma=444)

# Colour profiles, and what LittleCMS makes of them.
BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
D50, D65 = np.array([0.9642, 1.0, 0.8249]), np.array([0.95047, 1.0, 1.08883])


def profile(primaries, curve):
    """A profile of three primaries under D65 and one curve."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    columns = columns * np.linalg.solve(columns, D65)
    adapt = np.linalg.inv(BRADFORD) @ np.diag((BRADFORD @ D50) / (BRADFORD @ D65)) @ BRADFORD
    columns = adapt @ columns
    fixed = lambda values: b"".join(struct.pack(">i", round(float(value) * 65536)) for value in values)
    xyz = lambda values: b"XYZ \0\0\0\0" + fixed(values)
    text = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"test\0" + b"\0" * 78
    tags = {b"desc": text, b"cprt": b"text\0\0\0\0none\0", b"wtpt": xyz(D50)}
    tags |= {name: xyz(columns[:, at]) for at, name in enumerate([b"rXYZ", b"gXYZ", b"bXYZ"])}
    tags |= {name: curve for name in [b"rTRC", b"gTRC", b"bTRC"]}
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">II", start + len(data), len(body))
        data += body.ljust((len(body) + 3) // 4 * 4, b"\0")
    size = start + len(data)
    head = struct.pack(">I4sI4s4s4s12s4s", size, b"lcms", 0x02400000, b"mntr", b"RGB ", b"XYZ ", b"\0" * 12, b"acsp")
    head = head.ljust(68, b"\0") + fixed(D50)
    return head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data


srgb_curve = lambda value: value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
table = b"curv\0\0\0\0" + struct.pack(">I1024H", 1024, *(round(65535 * srgb_curve(at / 1023)) for at in range(1024)))
gamma = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(2.19921875 * 256))
profiles = {
    "display_p3": profile([(0.68, 0.32), (0.265, 0.69), (0.15, 0.06)], table),
    "adobe_rgb": profile([(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)], gamma),
    "srgb_profile": profile([(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)], table),
}
for name, icc in profiles.items():
    source = ImageCms.ImageCmsProfile(io.BytesIO(icc))
    converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC)
    image.save(to / f"{name}.png", icc_profile=icc)
    if name != "srgb_profile":
        converted.save(to / f"{name}_in_srgb.png")
image.save(to / "adobe_rgb.jpg", quality=95, subsampling=0, icc_profile=profiles["adobe_rgb"])
image.save(to / "adobe_rgb.webp", lossless=True, icc_profile=profiles["adobe_rgb"])
tif("adobe_rgb", rgb, photometric="rgb", compression="zlib", iccprofile=profiles["adobe_rgb"])
image.save(to / "adobe_rgb.heic", quality=95, chroma=444, icc_profile=profiles["adobe_rgb"])
