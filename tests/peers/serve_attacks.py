#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`serve` under attack, on a scale that is too large for make check: a body of 1 GB, 200 clients that send a byte now
and then, 10,000 connections, clients that go away, and two that ask without end; what it holds in memory meanwhile.

    tests/peers/serve_attacks.py PROGRAM BASE.safetensors [SECONDS]

SECONDS (60): how long the two clients ask. Needs Python 3 alone. Exit status 1 when something does not hold, and when
a sanitizer reports anything (a program of `configure --enable-asan --enable-ubsan` or `--enable-tsan`, whose memory is
not looked at, being its shadow memory; an hour: `chrt -i 0 tests/peers/serve_attacks.py PROGRAM BASE 3600`).
"""
import http.client
import json
import random
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

MOST_GROWTH = 64  # MiB


class Server:
    def __init__(self, program, base):
        self.said = tempfile.TemporaryFile()
        with open(program, "rb") as file:
            content = file.read()
        self.sanitized = b"__asan_init" in content or b"__tsan_init" in content
        self.process = subprocess.Popen([program, "serve", "--base", base, "--port", "0", "--json"],
                                        stdout=subprocess.PIPE, stderr=self.said, text=True)
        told = json.loads(self.process.stdout.readline())
        self.host = told["address"].split("/")[2]
        self.name, port = self.host.rsplit(":", 1)
        self.port = int(port)
        self.token = told["token"]
        self.head = f"Host: {self.host}\r\nAuthorization: Bearer {self.token}\r\n".encode()

    def memory(self):
        with open(f"/proc/{self.process.pid}/status", encoding="ascii") as status:
            return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024

    def reports(self):
        """Lines of a sanitizer on stderr."""
        self.said.seek(0)
        marks = (b"Sanitizer", b"runtime error")
        return [line.decode(errors="replace") for line in self.said.read().splitlines()
                if any(mark in line for mark in marks)]

    def dial(self):
        return socket.create_connection((self.name, self.port), timeout=30)

    def send(self, request):
        """The first line of the reply."""
        with self.dial() as line:
            try:
                line.sendall(request)
                return line.recv(200).split(b"\r\n")[0].decode(errors="replace")
            except OSError as error:
                return str(error)

    def ask(self, path, body=None, line=None):
        own = line or http.client.HTTPConnection(self.name, self.port, timeout=60)
        headers = {"Authorization": "Bearer " + self.token}
        if body is not None:
            headers["Content-Type"] = "application/json"
        own.request("GET" if body is None else "POST", "/api/" + path, body and json.dumps(body), headers)
        reply = own.getresponse()
        return reply.status, reply.read()

    def seconds_to_answer(self):
        begin = time.monotonic()
        while time.monotonic() - begin < 60:
            try:
                if self.ask("info")[0] == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException):
                time.sleep(0.1)
        return float("inf")


failures = []


def check(what, holds, detail):
    print(f"{what}: {detail}: {'holds' if holds else 'DOES NOT HOLD'}", flush=True)
    if not holds:
        failures.append(what)


def attack_requests(server):
    head, post = server.head, b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
    wanted = [
        ("another Host", b"GET /api/info HTTP/1.1\r\n" + head.replace(server.host.encode(), b"evil.example") + b"\r\n",
         " 421 "),
        ("another page", b"POST /api/draw HTTP/1.1\r\n" + head + b"Origin: http://evil.example\r\n" + post, " 403 "),
        ("another site", b"GET /api/info HTTP/1.1\r\n" + head + b"Sec-Fetch-Site: cross-site\r\n\r\n", " 403 "),
        ("no token", b"GET /api/info HTTP/1.1\r\n" + head.split(b"\r\n")[0] + b"\r\n\r\n", " 401 "),
        ("up the folders", b"GET /../../etc/passwd HTTP/1.1\r\n" + head + b"\r\n", " 404 "),
        ("encoded", b"GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n" + head + b"\r\n", " 404 "),
        ("encoded slashes", b"GET /..%2f..%2fetc%2fpasswd HTTP/1.1\r\n" + head + b"\r\n", " 404 "),
        ("a path for a number", b"GET /api/picture?order=../x&picture=0 HTTP/1.1\r\n" + head + b"\r\n", " 400 "),
        ("1 GB that is announced", b"POST /api/draw HTTP/1.1\r\n" + head +
         b"Content-Type: application/json\r\nContent-Length: 1073741824\r\n\r\n" + b"a" * 100000, " 413 "),
    ]
    for what, request, code in wanted:
        said = server.send(request)
        check(what, code in said + " ", said)


def attack_body(server):
    sent = 0
    with server.dial() as line:
        line.sendall(b"POST /api/draw HTTP/1.1\r\n" + server.head +
                     b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while sent < 1 << 30:
                line.sendall(b"10000\r\n" + b"a" * 65536 + b"\r\n")
                sent += 65536
        except OSError:
            pass
    check("1 GB in chunks", sent < 1 << 28, f"cut off after {sent >> 20} MiB")


def attack_slowly(server):
    alive = [server.dial() for _ in range(200)]
    begin = time.monotonic()
    while alive and time.monotonic() - begin < 60:
        for line in list(alive):
            try:
                line.send(b"a")
            except OSError:
                alive.remove(line)
        time.sleep(0.2)
    check("200 slow clients", not alive, f"the last is cut off after {time.monotonic() - begin:.1f} s")


def attack_crowd(server):
    lines = []
    for _ in range(10000):
        line = socket.socket()
        line.settimeout(0.2)
        try:
            line.connect((server.name, server.port))
        except OSError:
            pass
        lines.append(line)
    seconds = server.seconds_to_answer()
    check("10,000 connections", seconds < 10, f"another client is answered after {seconds:.1f} s")
    for line in lines:
        line.close()


def ask_without_end(server, seconds, seed):
    """What a page asks, and clients that leave in the middle of it."""
    rng, end = random.Random(seed), time.monotonic() + seconds
    line = http.client.HTTPConnection(server.name, server.port, timeout=60)
    while time.monotonic() < end:
        what = rng.randrange(8)
        try:
            if what == 0:
                order = {"classes": f"#{rng.randrange(8)}", "per-class": rng.randrange(1, 9), "seed": rng.randrange(99),
                         "sampler": rng.choice(["ddim", "dpm++", "unipc"]), "steps": rng.randrange(2, 30),
                         "guidance": rng.choice([1, 2, 3.5])}
                number = json.loads(server.ask("draw", order, line)[1]).get("order", 0)
                if rng.random() < 0.3:
                    server.ask("cancel", {"order": number}, line)
            elif what == 1:
                with server.dial() as leaver:
                    leaver.sendall(b"GET /api/events HTTP/1.1\r\n" + server.head + b"\r\n")
                    leaver.recv(rng.randrange(1, 200))
            else:
                path = rng.choice(["info", "orders", "tree?node=-1", f"search?q={rng.choice('abcxyz')}",
                                   f"order?order={rng.randrange(1, 50)}", f"sheet?order={rng.randrange(1, 50)}",
                                   f"picture?order={rng.randrange(1, 50)}&picture={rng.randrange(9)}",
                                   f"preview?order={rng.randrange(1, 50)}&picture=0", "nothing", "tree?node=x"])
                if server.ask(path, None, line)[0] >= 500:
                    failures.append("500 of " + path)
        except (OSError, http.client.HTTPException):
            line = http.client.HTTPConnection(server.name, server.port, timeout=60)


def main():
    if len(sys.argv) < 3 or "--help" in sys.argv:
        print(__doc__)
        return 0 if "--help" in sys.argv else 2
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(20000, most), most))
    server = Server(sys.argv[1], sys.argv[2])
    before = server.memory()
    for attack in (attack_requests, attack_body, attack_slowly, attack_crowd):
        attack(server)
        check("answers after " + attack.__name__, server.seconds_to_answer() < 10, f"{server.memory()} MiB")
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 60
    memory = []
    clients = [threading.Thread(target=ask_without_end, args=(server, seconds, seed)) for seed in (1, 2)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(min(5, seconds / 10))
        memory.append(server.memory())
    for client in clients:
        client.join()
    check("memory", server.sanitized or max(memory) - before < MOST_GROWTH, f"{before} MiB at first, {max(memory)} at most, "
          f"{memory[-1]} after {seconds:.0f} s of two clients")
    begin = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    code = server.process.wait(60)
    check("the end", code == 0 and time.monotonic() - begin < 5, f"{code} after {time.monotonic() - begin:.2f} s")
    reports = server.reports()
    print("\n".join(reports[:20]))
    check("sanitizers" if server.sanitized else "no sanitizer", not reports, f"{len(reports)} reports")
    print(f"{len(failures)} do not hold" + (": " + "; ".join(failures) if failures else ""))
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
