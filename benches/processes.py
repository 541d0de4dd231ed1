#!/usr/bin/env python3
"""Training by several processes of this machine: beside one process, beside PyTorch, and beside what `ocelli plan` says.

benches/processes.py scale OCELLI PHOTOS            one process of two threads and two of one thread, in turn
benches/processes.py torch OCELLI PHOTOS PYTHON     two processes of one thread, and PyTorch's DistributedDataParallel (gloo)
                                                    with as many, on the same network, image size and batch; PYTHON has
                                                    torch, torchvision and timm
benches/processes.py plan OCELLI PHOTOS             one, two and four processes on the loopback interface, beside the plan
benches/processes.py network OCELLI PHOTOS          two processes in network namespaces, whose rates are set by tc, beside
                                                    the plan; as root. Where the kernel has no netem, the latency is that
                                                    of a relay between them

--arch, --size, --batch, --micro-batch, --exchange-precision, --rounds, --epochs and --weights ARCH=FILE, where weights cannot be downloaded, come last. Each prints a line per round, then medians. Processes exchange over TCP.
"""
import argparse, json, os, pathlib, queue, shutil, socket, statistics, subprocess, sys, tempfile, threading, time

TOKEN = {"OCELLI_TOKEN": "benchmark"}


def settings(options, arch):
    # No LR finder, whose length depends on what it finds.
    weights = [part for given in options.weights if given.startswith(f"{arch}=") for part in ("--weights", given.split("=", 1)[1])]
    return [options.photos, *weights, "--recipe", f"fine-tune-{options.epochs}", "--arch", arch, "--size", str(options.size),
            "--batch-size", str(options.batch), "--micro-batch", str(options.micro_batch), "--augment", "none",
            "--exchange-precision", options.exchange_precision]


def free_port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def train(options, arch, processes, threads, prefixes=None, listen=None, connect=None):
    """Trains once, with an empty cache; the seconds of its parts."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="processes-"))
    listen = listen or f"127.0.0.1:{free_port()}"
    started = []
    for rank in range(processes):
        command = [options.ocelli, "train", *settings(options, arch), "--threads", str(threads), "--cache", str(place / "cache"), "--quiet"]
        if rank == 0:
            command += ["--out", str(place / "run")]
        if processes > 1:
            address = listen if rank == 0 else connect or listen
            command += ["--join", address, "--rank", str(rank), "--ranks", str(processes)]
        prefix = prefixes[rank] if prefixes else []
        with open(place / f"log-{rank}", "w") as log:
            started.append(subprocess.Popen(prefix + command, stdout=log, stderr=log, env=os.environ | TOKEN))
    for rank, process in enumerate(started):
        if process.wait():
            sys.exit((place / f"log-{rank}").read_text())
    events = [json.loads(line) for line in open(place / "run/events.jsonl")]
    features = sum(event["seconds"] for event in events if event["event"] == "features")
    last = [event for event in events if event["event"] == "epoch-times"][-1]
    step = last["wait"] + last["forward"] + last["backward"] + last["optimizer"]
    photos = sum(event["computed"] for event in events if event["event"] == "features")
    shutil.rmtree(place)
    return {"features": features, "photos": photos, "epoch": step, "images": last["images"]}


def plan(options, arch, processes, threads, network, latency):
    """What the plan says of the same, measured while as many processes as share the machine measure."""
    place = pathlib.Path(tempfile.mkdtemp(prefix="processes-"))
    command = [options.ocelli, "plan", *settings(options, arch), "--threads", str(threads), "--ranks", str(processes), "--tcp",
               "--network", network, "--latency", latency, "--json", "--cache"]
    started = [subprocess.Popen(command + [str(place / str(number))], stdout=subprocess.PIPE, text=True) for number in range(processes)]
    said = [json.loads(process.communicate()[0]) for process in started]
    shutil.rmtree(place)
    rows = [next(row for row in one["processes"] if row["processes"] == processes) for one in said]

    def seconds(name):
        return statistics.median(sum(sum(part["seconds"].values()) for part in row["parts"] if part["name"] == name) for row in rows)

    return {"features": seconds("features"), "epoch": seconds("all layers") / options.epochs}


def scale(options):
    for arch in options.arch:
        ratios = []
        for _ in range(options.rounds):
            one, two = train(options, arch, 1, 2), train(options, arch, 2, 1)
            ratios.append((one["features"] / two["features"], one["epoch"] / two["epoch"]))
            print(json.dumps({"arch": arch, "one": one, "two": two, "ratios": ratios[-1]}), flush=True)
        features, epochs = zip(*ratios)
        print(f"{arch}: two processes are {statistics.median(features):.2f} ({min(features):.2f}–{max(features):.2f}) times as fast as one "
              f"in features, {statistics.median(epochs):.2f} ({min(epochs):.2f}–{max(epochs):.2f}) in training all layers", flush=True)


def torch(options):
    for arch in options.arch:
        ratios = []
        for _ in range(options.rounds):
            own = train(options, arch, 2, 1)
            rates = {"ocelli": own["images"] / own["epoch"]}
            for bf16 in (0, 1):
                port = str(free_port())
                command = [options.python, __file__, "peer", arch, str(options.size), str(options.batch), str(bf16), port]
                started = [subprocess.Popen(command + [str(rank)], stdout=subprocess.PIPE, text=True) for rank in (0, 1)]
                rates["bf16" if bf16 else "f32"] = json.loads([process.communicate()[0] for process in started][0])
            ratios.append(rates["ocelli"] / max(rates["f32"], rates["bf16"]))
            print(json.dumps({"arch": arch, "images per second": rates, "ratio": ratios[-1]}), flush=True)
        print(f"{arch}: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) times the images a second of PyTorch's faster precision", flush=True)


def peer(arch, size, batch, bf16, port, rank):
    """One of two processes of PyTorch: images a second of both, on random images, whose loading takes no time."""
    import torch, torchvision, timm
    import torch.distributed as distributed

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=int(rank), world_size=2)
    if arch == "efficientnet_lite0":
        network = timm.create_model("tf_efficientnet_lite0", num_classes=2)
    else:
        network = getattr(torchvision.models, arch)(num_classes=2)
    # As Ocelli's: norms keep their running statistics, and channels are last.
    network = network.to(memory_format=torch.channels_last).train()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    network = torch.nn.parallel.DistributedDataParallel(network)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    own = int(batch) // 2
    images = torch.randn(own, 3, int(size), int(size)).contiguous(memory_format=torch.channels_last)
    targets = torch.randint(0, 2, (own,))

    def step():
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16 == "1"):
            loss = torch.nn.functional.cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()

    step()
    times = []
    for _ in range(4):
        began = time.perf_counter()
        step()
        times.append(time.perf_counter() - began)
    print(json.dumps(int(batch) / statistics.median(times)))
    distributed.destroy_process_group()


def compared(options, arch, processes, label, measure, network, latency):
    rounds = []
    for _ in range(options.rounds):
        said = plan(options, arch, processes, 1, network, latency)
        found = measure()
        rounds.append({part: (said[part], found[part], said[part] / found[part]) for part in ("features", "epoch")})
        print(json.dumps({"arch": arch, "processes": processes, "network": label, "planned, measured, ratio": rounds[-1]}), flush=True)
    cells = []
    for part in ("features", "epoch"):
        said, found, ratio = (statistics.median(one[part][place] for one in rounds) for place in range(3))
        ratios = [one[part][2] for one in rounds]
        cells.append(f"{said:.1f} s | {found:.1f} s | {ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})")
    print(f"| {arch} | {processes} | {label} | {' | '.join(cells)} |", flush=True)


def loopback(options):
    for arch in options.arch:
        for processes in (1, 2, 4):
            compared(options, arch, processes, "loopback", lambda: train(options, arch, processes, 1), "1000T", "0.02ms")


def relay(port, host, to, delay):
    """Passes on what comes, that much later, in each direction."""

    def pump(source, target):
        waiting = queue.Queue(maxsize=256)

        def send():
            while True:
                due, data = waiting.get()
                if due > (now := time.perf_counter()):
                    time.sleep(due - now)
                if not data:
                    target.shutdown(socket.SHUT_WR)
                    return
                target.sendall(data)

        threading.Thread(target=send, daemon=True).start()
        while data := source.recv(1 << 18):
            waiting.put((time.perf_counter() + delay, data))
        waiting.put((time.perf_counter() + delay, b""))

    server = socket.create_server(("0.0.0.0", port))
    while True:
        client, _ = server.accept()
        for _ in range(600):
            try:
                other = socket.create_connection((host, to))
                break
            except OSError:
                time.sleep(0.1)
        for one in (client, other):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threading.Thread(target=pump, args=(client, other), daemon=True).start()
        threading.Thread(target=pump, args=(other, client), daemon=True).start()


def run(*command):
    subprocess.run(command, check=True)


def network(options):
    spaces = [f"ocelli{rank}" for rank in (0, 1)]
    kinds = [(rate, *time) for rate in ("1G", "10G") for time in ((0.0001, "0.1ms"), (0.001, "1ms"))]
    for number, (rate, delay, latency) in enumerate(kinds):
        for space in spaces:
            subprocess.run(["ip", "netns", "del", space], stderr=subprocess.DEVNULL)
        for rank, space in enumerate(spaces):
            run("ip", "netns", "add", space)
            # A name of its own: the last one is gone only some time after its namespace.
            outside = f"ocelli{number}-{rank}"
            run("ip", "link", "add", outside, "type", "veth", "peer", "name", "net0", "netns", space)
            run("ip", "address", "add", f"10.77.{2 * number + rank}.1/24", "dev", outside)
            run("ip", "link", "set", outside, "up")
            inside = ["ip", "netns", "exec", space]
            run(*inside, "ip", "address", "add", f"10.77.{2 * number + rank}.2/24", "dev", "net0")
            run(*inside, "ip", "link", "set", "net0", "up")
            run(*inside, "ip", "link", "set", "lo", "up")
            run(*inside, "ip", "route", "add", "default", "via", f"10.77.{2 * number + rank}.1")
            limit = ["root", "tbf", "rate", f"{rate}bit", "burst", "1m" if rate == "1G" else "8m", "latency", "20ms"]
            run("tc", "qdisc", "add", "dev", outside, *limit)
            run(*inside, "tc", "qdisc", "add", "dev", "net0", *limit)
        port = free_port()
        relaying = subprocess.Popen([sys.executable, __file__, "relay", str(port), f"10.77.{2 * number}.2", "4000", str(delay)])
        prefixes = [["ip", "netns", "exec", space] for space in spaces]
        label = f"{rate}bit/s, {2000 * delay:g} ms there and back"

        def measure():
            return train(options, arch, 2, 1, prefixes, f"10.77.{2 * number}.2:4000", f"10.77.{2 * number + 1}.1:{port}")

        try:
            for arch in options.arch:
                compared(options, arch, 2, label, measure, rate, latency)
        finally:
            relaying.kill()
            for space in spaces:
                run("ip", "netns", "del", space)


def main():
    if sys.argv[1:2] == ["peer"]:
        return peer(*sys.argv[2:])
    if sys.argv[1:2] == ["relay"]:
        port, host, to, delay = sys.argv[2:]
        return relay(int(port), host, int(to), float(delay))
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("part", choices=["scale", "torch", "plan", "network"])
    parser.add_argument("ocelli")
    parser.add_argument("photos")
    parser.add_argument("python", nargs="?")
    parser.add_argument("--arch", nargs="*", default=["efficientnet_lite0", "resnet34"])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--micro-batch", type=int, default=8)
    parser.add_argument("--exchange-precision", default="f32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--weights", nargs="*", default=[])
    options = parser.parse_args()
    {"scale": scale, "torch": torch, "plan": loopback, "network": network}[options.part](options)


if __name__ == "__main__":
    main()
