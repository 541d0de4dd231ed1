"""The lesson beside fastai's: the whole job of each, one after the other, from a folder of photos to an accuracy.

python benches/lesson.py DATA --fastai "PYTHON fastai_train.py" [--sizes 128,160] [--fastai-size 128] [--ocelli target/release/ocelli]

Ocelli runs `train DATA --recipe lesson` with an empty cache, so that nothing is taken from earlier. The other is a script
that prints one JSON object a line, with `what`, `accuracy` and `seconds` since its start; it is given DATA, --size,
--frozen 1, --epochs 2 and --tta. Times are those of the whole processes. Run it on a machine that does nothing else.
"""
import argparse, csv, json, pathlib, re, shlex, subprocess, sys, tempfile, time

parser = argparse.ArgumentParser()
parser.add_argument("data", type=pathlib.Path)
parser.add_argument("--fastai", help="the command of the other script; without it Ocelli runs alone")
parser.add_argument("--sizes", default="128,160", help="sides of the images in pixels, one after the other")
parser.add_argument("--fastai-size", type=int, default=128)
parser.add_argument("--ocelli", type=pathlib.Path, default=pathlib.Path("target/release/ocelli"))
parser.add_argument("--more", default="", help="more options for ocelli train")
options = parser.parse_args()


def run(command):
    began = time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    if done.returncode != 0:
        sys.exit(f"{shlex.join(map(str, command))} ended with {done.returncode}")
    return done.stdout, seconds


with tempfile.TemporaryDirectory() as folder:
    work = pathlib.Path(folder)
    command = [options.ocelli, "train", options.data, "--recipe", "lesson", "--size", options.sizes, "--cache", work / "cache",
               "--out", work / "run", *shlex.split(options.more)]
    output, ours = run(command)
    print(output)
    accuracies = [float(number) for number in re.findall(r"^accuracy +([0-9.]+)", output, re.MULTILINE)]
    rows = list(csv.DictReader(open(work / "run" / "history.csv")))
    reported = re.search(r"^time +(.*)$", output, re.MULTILINE).group(1)

print(f"ocelli   accuracy {accuracies[-1]:.4f} with test-time augmentation, {accuracies[0]:.4f} without, "
      f"frozen head {float(rows[0]['accuracy']):.4f} after its first epoch   {ours:.1f} s in all; it reports {reported}", flush=True)
if options.fastai:
    arguments = [options.data, "--size", options.fastai_size, "--frozen", 1, "--epochs", 2, "--tta"]
    output, theirs = run([*shlex.split(options.fastai), *map(str, arguments)])
    rows = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    for row in rows:
        print(f"fastai   {row['what']:8} accuracy {row['accuracy']:.4f}   {row['seconds']:.1f} s")
    print(f"fastai   {theirs:.1f} s in all")
    print(f"ratio    {theirs / ours:.2f} times as fast, {100 * (accuracies[-1] - rows[-1]['accuracy']):+.2f} points of accuracy")
