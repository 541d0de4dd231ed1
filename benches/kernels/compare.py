"""Ocelli beside PyTorch, ONNX Runtime and OpenVINO on this machine, in turn and several times, then ratios.

    cargo build --release -p ocelli-nn --example steps
    PYTHON-OF-THE-PEERS benches/kernels/compare.py --peers ../shared/bench resnet34 efficientnet_lite0

--peers names the folder with torch_steps.py and engines_forward.py; this script runs in the Python that has their
packages. Every measurement is one JSON object a line; the last lines compare the best round of each.
"""
import argparse, json, subprocess, sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OURS = [  # what is measured of Ocelli: name, arguments
    ("bf16", ["--precision", "bf16"]),
    ("f32 AVX-512", ["--precision", "f32", "--isa", "avx512"]),
    ("f32 AVX2", ["--precision", "f32", "--isa", "avx2"]),
]
TORCH_MEMORY = """
import resource, sys, torch
sys.path.insert(0, sys.argv[1])
from torch_steps import build
arch, size, batch, bf16 = sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "bf16"
layout = torch.channels_last
net = build(arch).to(memory_format=layout).train()
images = torch.randn(batch, 3, size, size).contiguous(memory_format=layout)
optimizer = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for _ in range(3):
    optimizer.zero_grad()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        loss = torch.nn.functional.cross_entropy(net(images), torch.zeros(batch, dtype=torch.long))
    loss.backward()
    optimizer.step()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(f'{{"peak_mib": {peak // 1024}, "before_the_first_step_mib": {start // 1024}}}')
"""


def run(command, folder=None):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{done.stderr}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("arch", nargs="+")
    args.add_argument("--peers", type=Path, required=True)
    args.add_argument("--size", type=int, default=224)
    args.add_argument("--batch", type=int, default=16)
    args.add_argument("--rounds", type=int, default=2)
    args.add_argument("--runs", type=int, default=5)
    args.add_argument("--ours", nargs="*", default=[name for name, _ in OURS], help="some of: " + ", ".join(name for name, _ in OURS))
    args.add_argument("--memory", action="store_true", help="also the peak memory of a training step")
    args = args.parse_args()
    peers = args.peers.resolve()
    steps = ROOT / "target/release/examples/steps"
    for arch in args.arch:
        common = [arch, "--size", str(args.size), "--batch", str(args.batch), "--runs", str(args.runs)]
        forward, train = {}, {}

        def see(name, line):
            print(json.dumps(dict(line, what=name)), flush=True)
            for best, key in ((forward, "forward_images_per_s"), (train, "train_images_per_s")):
                if key in line:
                    best[name] = max(best.get(name, 0), line[key])

        for _ in range(args.rounds):
            for name, arguments in OURS:
                if name in args.ours:
                    for line in run([steps, *common, *arguments]):
                        see("ocelli " + name, line)
            for line in run([sys.executable, peers / "torch_steps.py", *common], peers):
                layout = "channels-last" if line["channels_last"] else "channels-first"
                see(f"torch {'bf16' if line['bf16'] else 'f32'} {layout}", line)
            for line in run([sys.executable, peers / "engines_forward.py", *common], peers):
                see(f"{line['engine']} {line['precision']}", line)
        for what, best in (("forward", forward), ("train", train)):
            theirs = {name: value for name, value in best.items() if not name.startswith("ocelli")}
            for kind in ("bf16", "f32"):
                # A bf16 network competes with every peer, an f32 one with those in f32.
                rivals = theirs if kind == "bf16" else {n: v for n, v in theirs.items() if "f32" in n}
                rival = max(rivals, key=rivals.get)
                for name in (name for name in best if name.startswith("ocelli " + kind)):
                    print(json.dumps(dict(arch=arch, size=args.size, batch=args.batch, what=what, ours=name, images_per_s=best[name], best_peer=rival,
                                          its_images_per_s=rivals[rival], ratio=round(best[name] / rivals[rival], 2))), flush=True)
        if args.memory:
            for precision in ("bf16", "f32"):
                line = run([steps, *common, "--precision", precision, "--only", "train"])[0]
                print(json.dumps(dict(arch=arch, size=args.size, batch=args.batch, what="memory", ours=precision, peak_mib=line["peak_mib"])), flush=True)
                line = run([sys.executable, "-c", TORCH_MEMORY, str(peers), arch, str(args.size), str(args.batch), precision])[0]
                print(json.dumps(dict(arch=arch, size=args.size, batch=args.batch, what="memory", torch=f"{precision} channels-last", **line)), flush=True)


if __name__ == "__main__":
    main()
