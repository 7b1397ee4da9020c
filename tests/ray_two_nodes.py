"""A Ray cluster of two nodes on this machine, one of which is killed at work: python tests/ray_two_nodes.py FOLDER COUNT.

Prints what was seen; fails where the folder that the cluster made is not that which one process makes. Ray's own nodes give up when their
agents take 15 seconds to start: the machine must have two cores for it.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import torch

from pelrp_nb import explain_to, zoo
from pelrp_nb.results.folder import Folder
from pelrp_nb.streaming.on_ray import explain_on_ray

HEAD, OTHER, PORT = "127.0.0.2", "127.0.0.3", 6393  # of the loopback; 127.0.0.1 would be replaced by the machine's own
SHARD = 20
AGENTS = ("dashboard-agent-grpc-port", "dashboard-agent-listen-port", "runtime-env-agent-port", "metrics-export-port")
ENV = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_agent_register_timeout_ms": "240000"}


def node(address: str, first: int, *more: str) -> subprocess.Popen:
    """One node of the cluster, in the foreground of a process of its own; its agents' ports from `first` on.

    A node that has to find ports for its agents dies where these take more than seconds to start.
    """
    more += tuple(f"--{name}={first + i}" for i, name in enumerate(AGENTS))
    command = [str(Path(sys.executable).with_name("ray")), "start", *more, "--num-cpus=1", "--disable-usage-stats", "--block"]
    return subprocess.Popen([*command, f"--node-ip-address={address}"], env=ENV, stdout=subprocess.DEVNULL, start_new_session=True)


def load() -> tuple:
    """What each worker explains with."""
    torch.set_num_threads(1)
    return zoo.load("reviews-rotary")


def listening(host: str, port: int) -> None:
    """Wait until somebody listens there."""
    for _ in range(600):
        with socket.socket() as door:
            if door.connect_ex((host, port)) == 0:
                return
        time.sleep(0.2)
    raise SystemExit("the head of the cluster does not listen")


def connected(address: str) -> None:
    """Connect to the cluster as soon as its head has a node."""
    import ray

    for _ in range(40):
        try:
            ray.init(address=address, _node_ip_address=HEAD, log_to_driver=False)
            return
        except (ConnectionError, RuntimeError):
            time.sleep(3)
    raise SystemExit("the cluster takes no driver")


def joined() -> subprocess.Popen:
    """A second node, when the cluster has it; on a busy machine Ray gives up after seconds, so it is begun again."""
    import ray

    for _ in range(5):
        process = node(OTHER, PORT + 20, f"--address={HEAD}:{PORT}")
        while process.poll() is None:
            if sum(one["Alive"] for one in ray.nodes()) == 2:
                return process
            time.sleep(0.5)
    raise SystemExit("the cluster has not come to two nodes")


def killed_at_work(process: subprocess.Popen, folder: Folder, shards: int) -> threading.Thread:
    """A thread that kills a node and all that runs on it when so many shards are there."""

    def kill() -> None:
        while not (folder.path / "index").is_dir() or len(folder.entries()) < shards:
            time.sleep(0.05)
        os.killpg(process.pid, 9)
        print(f"killed one of two nodes at {len(folder.entries())} shards", flush=True)

    thread = threading.Thread(target=kill, daemon=True)
    thread.start()
    return thread


def main(folder: Path, count: int) -> None:
    """Two nodes, one killed; the same inputs in one process; both folders compared."""

    texts = [one.text for one in zoo.task("reviews").examples]
    (folder / "reviews.jsonl").write_text("".join(json.dumps({"text": texts[i % len(texts)]}) + "\n" for i in range(count)))
    os.environ["RAY_AUTH_MODE"] = ENV["RAY_AUTH_MODE"]
    head = node(HEAD, PORT + 10, "--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder / 'ray'}")
    other = None
    try:
        listening(HEAD, PORT)
        connected(f"{HEAD}:{PORT}")
        other = joined()
        print("two nodes", flush=True)
        killed = killed_at_work(other, Folder(folder / "cluster"), 3)
        found = explain_on_ray(folder / "cluster", load, folder / "reviews.jsonl", workers=2, shard=SHARD)
        killed.join(1)
        print(found)
    finally:
        for process in (other, head):
            if process is not None and process.poll() is None:
                os.killpg(process.pid, 9)
    model, tokenizer = load()
    alone = explain_to(folder / "alone", model, folder / "reviews.jsonl", processor=tokenizer, shard=SHARD, progress=False)
    one, two = (x.table().drop(columns=["value", "gap"]) for x in (found, alone))
    assert one.equals(two), "the tables differ"
    assert (found.table()["value"] - alone.table()["value"]).abs().max() < 1e-5, "the values differ"
    print("the same table as of one process")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
