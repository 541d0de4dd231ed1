#!/usr/bin/env python3
"""Single photos a second of `ocelli serve`, beside the images a second of `ocelli predict` on the same files.

    cargo build --release
    python benches/serve.py MODEL PHOTOS [--rounds 5] [--clients 1 8 32]

MODEL is a model's file or the folder of its run, PHOTOS a folder. Each round runs `predict --json` over all photos, and
then, for each number of clients, sends each photo once, in requests of one photo over connections that stay open. Medians
over the rounds. The seconds of `predict` are without those of a run on one photo, for starting and loading the model.
Clients are threads of this script, on the same machine, and take processor time from the server.
"""

import argparse
import http.client
import os
import queue
import statistics
import subprocess
import threading
import time
from pathlib import Path

OCELLI = os.environ.get("OCELLI", Path(__file__).resolve().parent.parent / "target/release/ocelli")


def predict(model, photos):
    start = time.perf_counter()
    subprocess.run([OCELLI, "predict", model, "--json", *photos], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def serve(address, bodies, clients):
    """The seconds for all, and those of each request."""
    waiting, seconds, failures = queue.SimpleQueue(), [], []
    for body in bodies:
        waiting.put(body)

    def client():
        connection = http.client.HTTPConnection(address)
        while True:
            try:
                body = waiting.get_nowait()
            except queue.Empty:
                return
            start = time.perf_counter()
            connection.request("POST", "/predict", body)
            answer = connection.getresponse()
            answer.read()
            seconds.append(time.perf_counter() - start)
            if answer.status != 200:
                failures.append(answer.status)

    threads = [threading.Thread(target=client) for _ in range(clients)]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    total = time.perf_counter() - start
    assert not failures and len(seconds) == len(bodies), failures
    return total, seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model")
    parser.add_argument("photos", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 32])
    options = parser.parse_args()
    photos = sorted(path for path in options.photos.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    bodies = [path.read_bytes() for path in photos]
    command = [OCELLI, "serve", options.model, "--port", "0", "--log", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = server.stdout.readline().split()[0].removeprefix("http://")
            rates, latencies, of_predict = {n: [] for n in options.clients}, {n: [] for n in options.clients}, []
            serve(address, bodies[:16], 4)
            for _ in range(options.rounds):
                start = predict(options.model, photos[:1])
                of_predict.append(len(photos) / (predict(options.model, photos) - start))
                for clients in options.clients:
                    total, seconds = serve(address, bodies, clients)
                    rates[clients].append(len(photos) / total)
                    latencies[clients] += seconds
        finally:
            server.terminate()
    base = statistics.median(of_predict)
    print(f"{len(photos)} photos, {options.rounds} rounds; load before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors\n")
    print("| | images/s | beside predict | median ms | 95 % ms |\n|---|---|---|---|---|")
    print(f"| predict --json | {base:.0f} | 1 | | |")
    for clients in options.clients:
        rate = statistics.median(rates[clients])
        quantiles = statistics.quantiles(latencies[clients], n=20)
        print(f"| serve, {clients} at once | {rate:.0f} | {rate / base:.2f} | {1000 * quantiles[9]:.0f} | {1000 * quantiles[18]:.0f} |")


main()
