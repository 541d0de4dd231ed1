"""TensorBoard reads the event file of a run, and finds what history.csv says: python read_tensorboard.py RUN

RUN is a run of one label per image that was trained with --tensorboard. Needs tensorboard from PyPI.
"""

import csv
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
events.Reload()
tags = events.Tags()
with open(run / "history.csv") as file:
    rows = list(csv.DictReader(file))
columns = {
    "loss/train": "train_loss",
    "loss/valid": "valid_loss",
    "metric/accuracy": "accuracy",
    "learning_rate/early": "learning_rate_early",
    "learning_rate/late": "learning_rate_late",
    "learning_rate/head": "learning_rate_head",
    "epoch/phase": "phase",
}
for tag, column in columns.items():
    found = [(event.step, event.value) for event in events.Scalars(tag)]
    # Scalars are 32 bits.
    expected = [(step, struct.unpack("f", struct.pack("f", float(row[column])))[0]) for step, row in enumerate(rows, 1)]
    assert found == expected, f"{tag}: {found} instead of {expected}"
times = [event.wall_time for event in events.Scalars("loss/train")]
assert times == sorted(times), times
[image] = events.Images("confusion matrix")
assert image.step == len(rows) and image.encoded_image_string.startswith(b"\x89PNG") and image.width > 100, image
assert (image.width, image.height) == struct.unpack(">II", image.encoded_image_string[16:24]), image
assert "config" in tags["tensors"] and events.SummaryMetadata("config").plugin_data.plugin_name == "text", tags
[text] = events.Tensors("config")
assert text.tensor_proto.string_val[0].startswith(b"    version"), text.tensor_proto.string_val[0][:50]
print(f"{len(rows)} epochs, {len(tags['scalars'])} scalars each: TensorBoard reads what history.csv says")
