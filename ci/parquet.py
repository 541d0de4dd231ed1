#!/usr/bin/env python3
"""Reads by pyarrow what `ocelli predict` and `ocelli embed` write as Parquet, and compares with JSON, value by value.

ci/parquet.py OCELLI MODEL PHOTO...

Needs pyarrow. Photos may be folders.
"""
import json, os, subprocess, sys, tempfile

import pyarrow
import pyarrow.parquet

ocelli, model, *photos = [os.path.realpath(argument) for argument in sys.argv[1:]]


def run(verb, out, *more):
    made = subprocess.run([ocelli, verb, model, *photos, "--out", out, *more], capture_output=True, text=True)
    if made.returncode not in (0, 1) or not os.path.exists(out):
        sys.exit(f"error: {made.stderr}")


def same(column, found, expected):
    if found != expected:
        sys.exit(f"error: {column}: {found} instead of {expected}")


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    with open("broken.jpg", "w") as file:
        file.write("no photo")
    photos.append("broken.jpg")
    run("predict", "all.parquet", "--unknown")
    run("predict", "all.json", "--unknown")
    table, rows = pyarrow.parquet.read_table("all.parquet"), json.load(open("all.json"))
    same("rows", table.num_rows, len(rows))
    classes = next(row["probabilities"] for row in rows if "probabilities" in row)
    same("columns", table.column_names, ["path", "class", "probability", "error", "unknown", "unknown_score"]
         + [f"probability_{name}" for name in classes])
    for name, column in zip(table.column_names, table.columns):
        expected = [row.get("probabilities", {}).get(name.removeprefix("probability_")) if name.startswith("probability_")
                    else row.get(name) for row in rows]
        same(name, column.to_pylist(), expected)
    same("types", [str(field.type) for field in table.schema][:6], ["string", "string", "double", "string", "bool", "double"])

    run("predict", "top.parquet", "--top-k", "2")
    run("predict", "top.json", "--top-k", "2")
    table, rows = pyarrow.parquet.read_table("top.parquet"), json.load(open("top.json"))
    for rank in (1, 2):
        top = [row["top"][rank - 1] if "top" in row else {} for row in rows]
        same(f"class_{rank}", table[f"class_{rank}"].to_pylist(), [one.get("class") for one in top])
        same(f"probability_{rank}", table[f"probability_{rank}"].to_pylist(), [one.get("probability") for one in top])

    run("embed", "features.parquet")
    run("embed", "features.jsonl")
    table, rows = pyarrow.parquet.read_table("features.parquet"), [json.loads(line) for line in open("features.jsonl")]
    same("path", table["path"].to_pylist(), [row["path"] for row in rows])
    expected = pyarrow.array([row["features"] for row in rows], pyarrow.list_(pyarrow.float32()))
    same("features", table["features"].to_pylist(), expected.to_pylist())
print(f"{len(rows)} photos: the same in Parquet, by pyarrow {pyarrow.__version__}, as in JSON")
