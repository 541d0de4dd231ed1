"""`ocelli serve` under load: beside `ocelli predict`, beside LitServe with the same network in onnxruntime, beyond what it
can do, and with clients that misbehave. Everything is on 127.0.0.1, and bounded in time. See serve.md.

    python benches/serve.py rate     OCELLI MODEL PHOTOS
    python benches/serve.py overload OCELLI MODEL PHOTOS
    python benches/serve.py abuse    OCELLI MODEL PHOTOS
    python benches/serve.py watch    OCELLI PHOTOS TRAIN-FLAGS…

PHOTOS is a folder with photos; copies of 224 × 224 pixels are used, except by `watch`, which trains on them as they are.
Needs Pillow; `rate` needs litserve, numpy and onnxruntime too.
"""

import asyncio
import base64
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib

from PIL import Image

ROUNDS = 5


def photos_of(folder, count=256):
    """Paths of photos of 224 × 224 pixels."""
    into = pathlib.Path(tempfile.mkdtemp(prefix="serve-"))
    found = sorted(p for p in pathlib.Path(folder).rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    for number, path in enumerate(found[:: max(1, len(found) // count)][:count]):
        Image.open(path).convert("RGB").resize((224, 224), Image.BICUBIC).save(into / f"{number:03}.jpg", quality=90)
    return sorted(into.iterdir())


class Server:
    def __init__(self, command, ready=None):
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        if ready is None:
            self.host, port = self.process.stdout.readline().split()[0].removeprefix("http://").split(":")
            self.port = int(port)
        else:
            self.host, self.port = "127.0.0.1", ready

    def pids(self):
        """The process and its children."""
        found, new = [], [self.process.pid]
        while new:
            pid = new.pop()
            found.append(pid)
            for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                try:
                    new += map(int, task.read_text().split())
                except OSError:
                    pass
        return found

    def memory(self, field="VmRSS"):
        """In MB, of all processes."""
        total = 0
        for pid in self.pids():
            try:
                lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith(field + ":"))
        return total / 1024

    def cpu(self):
        """Seconds of processor time."""
        ticks = 0
        for pid in self.pids():
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def stop(self):
        others = self.pids()[1:]
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
        for pid in others:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return self.process.returncode


async def answer(reader):
    """The status and the body of an answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    return int(head.split(b" ", 2)[1]), await reader.readexactly(length)


def request(server, body, path="/predict", kind="image/jpeg", more=""):
    head = f"POST {path} HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Type: {kind}\r\n{more}"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def clients(server, bodies, count, requests, kind="image/jpeg"):
    """So many clients, each with its connection, send `requests` requests together; seconds of each, and of all."""
    numbers, times, wrong = iter(range(requests)), [], []

    async def one():
        reader, writer = await asyncio.open_connection(server.host, server.port)
        for number in numbers:
            start = time.perf_counter()
            writer.write(request(server, bodies[number % len(bodies)], kind=kind))
            status, body = await answer(reader)
            times.append(time.perf_counter() - start)
            if status != 200:
                wrong.append((status, body[:100]))
        writer.close()

    start = time.perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    assert not wrong, wrong[:3]
    return times, time.perf_counter() - start


def quantile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def predict(ocelli, model, photos):
    """Images per second of `ocelli predict` and its processor time for each, without its start: of all photos four times,
    less once."""
    seconds, cpu = [], []
    with tempfile.TemporaryDirectory() as folder:
        names = [str(photo) for photo in photos]
        for copy in range(3):
            for photo in photos:
                path = pathlib.Path(folder) / f"{copy}-{photo.name}"
                path.write_bytes(photo.read_bytes())
                names.append(str(path))
        for count in (len(photos), len(names)):
            start, before = time.perf_counter(), os.times()
            subprocess.run([ocelli, "predict", model, "--jsonl", *names[:count]], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            after = os.times()
            seconds.append(time.perf_counter() - start)
            cpu.append(after.children_user + after.children_system - before.children_user - before.children_system)
    images = 3 * len(photos)
    return images / (seconds[1] - seconds[0]), (cpu[1] - cpu[0]) / images


LITSERVE = '''
import base64, io, sys
import litserve, numpy as np, onnxruntime
from PIL import Image

SIZE, BATCH, WORKERS = int(sys.argv[2]), int(sys.argv[4]), int(sys.argv[5])

class Api(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        if WORKERS > 1:
            options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    def decode_request(self, request):
        return base64.b64decode(request["image"])
    def batch(self, inputs):
        return inputs
    def unbatch(self, output):
        return list(output)
    def predict(self, inputs):
        files = inputs if isinstance(inputs, list) else [inputs]
        pixels = [np.asarray(Image.open(io.BytesIO(file)).convert("RGB").resize((SIZE, SIZE), Image.BICUBIC)) for file in files]
        rows = self.session.run(["probabilities"], {"images": np.stack(pixels).transpose(0, 3, 1, 2)})[0]
        return rows if isinstance(inputs, list) else rows[0]
    def encode_response(self, output):
        return {"probabilities": output.tolist()}

if __name__ == "__main__":
    api = Api(max_batch_size=BATCH, batch_timeout=0.005)
    litserve.LitServer(api, accelerator="cpu", workers_per_device=WORKERS).run(
        host="127.0.0.1", port=int(sys.argv[3]), log_level="error", generate_client_file=False)
'''


def free_port():
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def rate(ocelli, model, photos):
    """All servers are up, and asked in turn; those that are not asked wait."""
    files = [photo.read_bytes() for photo in photos]
    # LitServe reads JSON, and images in it as base64.
    texts = [json.dumps({"image": base64.b64encode(file).decode()}).encode() for file in files]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="serve-"))
    subprocess.run([ocelli, "export", model, "--out", folder / "model.onnx"], check=True, stdout=subprocess.DEVNULL)
    size = json.loads(subprocess.run([ocelli, "show", model, "--json"], check=True, capture_output=True).stdout)["preprocessing"]["size"]
    script = folder / "lit.py"
    script.write_text(LITSERVE)
    servers = {"ocelli serve": (Server([ocelli, "serve", model, "--port", "0", "--log", "none"]), files, "image/jpeg")}
    for batch, workers in ((1, 1), (32, 1), (1, os.cpu_count())):
        port = free_port()
        name = f"LitServe, {workers} worker{'s'[: workers > 1]}, batches to {batch}"
        server = Server([sys.executable, script, folder / "model.onnx", str(size), str(port), str(batch), str(workers)], port)
        servers[name] = server, texts, "application/json"
    for server, bodies, kind in servers.values():
        for _ in range(120):
            try:
                asyncio.run(clients(server, bodies, 4, 32, kind))
                break
            except (OSError, asyncio.IncompleteReadError):
                time.sleep(0.5)
    found = {}
    for _ in range(ROUNDS):
        found.setdefault(("ocelli predict", 0), []).append(predict(ocelli, model, photos))
        for count, requests in ((1, 64), (4, 128), (16, 192), (64, 256)):
            for name, (server, bodies, kind) in servers.items():
                before = server.cpu()
                times, seconds = asyncio.run(clients(server, bodies, count, requests, kind))
                cpu = (server.cpu() - before) / requests
                found.setdefault((name, count), []).append((requests / seconds, cpu, quantile(times, 0.5), quantile(times, 0.99), server.memory()))
    print("| | clients | a second | processor time each | p50 | p99 | memory |\n|---|---|---|---|---|---|---|")
    for (name, count), rows in found.items():
        per_second, cpu, *more = (statistics.median(values) for values in zip(*rows))
        spread = f"{min(row[0] for row in rows):.0f}–{max(row[0] for row in rows):.0f}"
        more = f"{1000 * more[0]:.0f} ms | {1000 * more[1]:.0f} ms | {more[2]:.0f} MB" if more else "| |"
        print(f"| {name} | {count or ''} | {per_second:.0f} ({spread}) | {1000 * cpu:.1f} ms | {more} |")
    for server, _, _ in servers.values():
        server.stop()


def overload(ocelli, model, photos, requests=10_000):
    bodies = [photo.read_bytes() for photo in photos]
    lines = subprocess.run([ocelli, "predict", model, "--jsonl", *photos], check=True, capture_output=True, text=True).stdout.splitlines()
    expected = [json.loads(line)["probabilities"] for line in lines]
    server = Server([ocelli, "serve", model, "--port", "0", "--log", "none"])
    times, seconds = asyncio.run(clients(server, bodies, 16, 256))
    able = len(times) / seconds
    time.sleep(2)
    idle, statuses, wrong, lost, peak, waits = server.memory(), {}, 0, 0, 0.0, []

    async def one(number):
        nonlocal wrong, lost
        start = time.perf_counter()
        try:
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(request(server, bodies[number % len(bodies)], more="Connection: close\r\n"))
            status, body = await asyncio.wait_for(answer(reader), 120)
            writer.close()
        except (OSError, asyncio.IncompleteReadError, asyncio.TimeoutError):
            lost += 1
            return
        statuses[status] = statuses.get(status, 0) + 1
        if status == 200:
            waits.append(time.perf_counter() - start)
            wrong += json.loads(body)[0]["probabilities"] != expected[number % len(bodies)]

    async def all_of_them():
        nonlocal peak
        start, running = time.perf_counter(), set()
        for number in range(requests):
            await asyncio.sleep(max(0.0, start + number / (4 * able) - time.perf_counter()))
            task = asyncio.create_task(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
            if number % 50 == 0:
                peak = max(peak, server.memory())
        await asyncio.gather(*running)
        return time.perf_counter() - start

    seconds = asyncio.run(all_of_them())
    print(f"able to do {able:.0f}/s; {requests} requests at {4 * able:.0f}/s wanted, {requests / seconds:.0f}/s sent in {seconds:.0f} s: "
          f"{dict(sorted(statuses.items()))}, lost {lost}, wrong {wrong}; answered {statuses.get(200, 0) / seconds:.0f}/s, "
          f"p99 {1000 * quantile(waits, 0.99):.0f} ms; memory {idle:.0f} MB idle, {peak:.0f} MB at most, +{peak - idle:.0f}")
    server.stop()


def bomb(pixels_wide):
    """A small PNG that decodes to `pixels_wide` × `pixels_wide` pixels."""
    def chunk(kind, data):
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    packer, packed = zlib.compressobj(9), []
    row = b"\0" * (1 + 3 * pixels_wide)
    for _ in range(pixels_wide):
        packed.append(packer.compress(row))
    packed.append(packer.flush())
    head = pixels_wide.to_bytes(4, "big") * 2 + b"\x08\x02\0\0\0"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"".join(packed)) + chunk(b"IEND", b"")


def abuse(ocelli, model, photos):
    bodies = [photo.read_bytes() for photo in photos]
    server = Server([ocelli, "serve", model, "--port", "0", "--log", "none"])
    asyncio.run(clients(server, bodies, 8, 64))
    time.sleep(1)
    start, before = time.perf_counter(), server.cpu()
    time.sleep(20)
    print(f"idle: {1000 * (server.cpu() - before) / (time.perf_counter() - start):.1f} ms of processor time a second, {server.memory():.0f} MB")
    calm, _ = asyncio.run(clients(server, bodies, 1, 50))
    print(f"one client alone: p50 {1000 * quantile(calm, 0.5):.0f} ms, p99 {1000 * quantile(calm, 0.99):.0f} ms")

    async def served_meanwhile(name, others, requests=100):
        """What one client has to wait, with a connection for each request, while others do this."""
        base = server.memory()
        tasks, times, peak = [asyncio.create_task(other) for other in others], [], base
        await asyncio.sleep(1)
        for number in range(requests):
            start = time.perf_counter()
            reader, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(request(server, bodies[number % len(bodies)], more="Connection: close\r\n"))
            status, _ = await asyncio.wait_for(answer(reader), 120)
            assert status in (200, 503), status
            writer.close()
            times.append(time.perf_counter() - start)
            peak = max(peak, server.memory())
        for task in tasks:
            task.cancel()
        seen = {}
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            outcome = outcome if isinstance(outcome, (int, str)) else type(outcome).__name__
            seen[outcome] = seen.get(outcome, 0) + 1
        print(f"{name}: the other client p50 {1000 * quantile(times, 0.5):.0f} ms, p99 {1000 * quantile(times, 0.99):.0f} ms, "
              f"most {1000 * max(times):.0f} ms; memory +{peak - base:.0f} MB; they got {seen}", flush=True)

    async def idle():
        reader, _ = await asyncio.open_connection(server.host, server.port)
        await reader.read()
        return "closed"

    async def drip(data, pause, then=b""):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(then)
        for at in range(len(data)):
            writer.write(data[at : at + 1])
            await asyncio.sleep(pause)
        return "sent"

    async def whole(data, end=True):
        reader, writer = await asyncio.open_connection(server.host, server.port)
        writer.write(data)
        if end:
            writer.write_eof()
        head = await reader.read(100)
        return int(head.split()[1]) if head.startswith(b"HTTP") else "closed"

    async def vanishing():
        for _ in range(50):
            _, writer = await asyncio.open_connection(server.host, server.port)
            writer.write(request(server, bodies[0]))
            writer.transport.abort()
            await asyncio.sleep(0.02)
        return "gone"

    one = request(server, bodies[0])
    head = one[: one.index(b"\r\n\r\n") + 4]
    asyncio.run(served_meanwhile("2000 idle connections", [idle() for _ in range(2000)]))
    asyncio.run(served_meanwhile("200 clients, 1 byte of headers a second", [drip(one, 1) for _ in range(200)]))
    asyncio.run(served_meanwhile("200 clients, 1 byte of the body a second", [drip(bodies[0], 1, head) for _ in range(200)]))
    asyncio.run(served_meanwhile("200 half-closed", [whole(one) for _ in range(200)]))
    asyncio.run(served_meanwhile("200 times garbage", [whole(os.urandom(2000)) for _ in range(200)]))
    asyncio.run(served_meanwhile("20 bodies of 25 MB", [whole(request(server, b"x" * 25_000_000), False) for _ in range(20)]))
    asyncio.run(served_meanwhile("8 clients that vanish, 50 times", [vanishing() for _ in range(8)]))
    asyncio.run(served_meanwhile("16 PNG of 12000 × 12000 pixels", [whole(request(server, bomb(12_000)), False) for _ in range(16)]))
    asyncio.run(served_meanwhile("16 PNG of 30000 × 30000 pixels", [whole(request(server, bomb(30_000)), False) for _ in range(2)]))
    time.sleep(2)
    print(f"afterwards: {server.memory():.0f} MB")
    print(f"SIGTERM: status {server.stop()}")


def watch(ocelli, photos, *flags):
    """Processor time of training alone, with --watch, and with a client that follows the run as a browser does, in turn; and
    how much of it the threads of the page's server took."""
    found, shares = {}, {}
    with tempfile.TemporaryDirectory(prefix="watch-") as folder:
        environment = os.environ | {"OCELLI_CACHE": folder + "/cache"}

        def train(kind):
            out = pathlib.Path(folder) / "run"
            command = [ocelli, "train", photos, "--threads", "1", "--out", out, *flags] + (["--watch"] if kind else [])
            process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            # Read as it comes: the address, and then what training prints.
            client, lines, servers, over = None, [], {}, threading.Event()

            def observe():
                # In nanoseconds; threads that have ended keep what was seen last.
                while not over.wait(0.05):
                    for thread in pathlib.Path(f"/proc/{process.pid}/task").glob("*"):
                        try:
                            if (thread / "comm").read_text().startswith(("watch", "tokio")):
                                servers[thread.name] = int((thread / "schedstat").read_text().split()[0])
                        except OSError:
                            pass

            observer = threading.Thread(target=observe)
            observer.start()
            for line in process.stdout:
                lines.append(line)
                if kind == 2 and client is None and "http://" in line:
                    url = "http://" + line.split("http://")[1].split()[0] + "/api/runs/run/events"
                    loop = f"while kill -0 {process.pid} && ! curl -sfN {url} -o /dev/null; do sleep 0.1; done"
                    client = subprocess.Popen(["sh", "-c", loop], stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            over.set()
            observer.join()
            assert status == 0, "".join(lines)
            if client:
                client.kill()
                client.wait()
            subprocess.run(["rm", "-r", out], check=True)
            seconds = used.ru_utime + used.ru_stime
            shares.setdefault(kind, []).append(sum(servers.values()) / 1e9 / seconds)
            return seconds

        # The first run caches features.
        train(0)
        for round in range(ROUNDS + 2):
            for kind in ((0, 1, 2), (2, 1, 0))[round % 2]:
                found.setdefault(kind, []).append(train(kind))
    alone = statistics.median(found[0])
    for kind, name in enumerate(("alone", "--watch", "--watch, followed")):
        ratio = statistics.median(one / other for one, other in zip(found[kind], found[0]))
        print(f"{name}: {statistics.median(found[kind]):.2f} s ({min(found[kind]):.2f}–{max(found[kind]):.2f}), least {min(found[kind]) / min(found[0]):.4f}, median of pairs {ratio:.4f} of {alone:.2f} s; "
              f"the server's threads {100 * statistics.median(shares[kind]):.3f} %, at most {100 * max(shares[kind]):.3f} %")


if __name__ == "__main__":
    task, ocelli, model, *more = sys.argv[1:]
    if task == "watch":
        watch(ocelli, model, *more)
    else:
        {"rate": rate, "overload": overload, "abuse": abuse}[task](ocelli, model, photos_of(*more))
