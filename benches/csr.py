"""Measures the signing of 10,000 certificate requests beside what openssl's library can sign at all, cfssl and openssl's command."""

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
COUNT = 10_000
FEW = 1_000
# Each of these is a process of its own, so that a few tell the time of all.
ONE_BY_ONE = 200
KINDS = {"RSA-2048": ("rsa", "rsa2048", r"^rsa +2048 bits"), "P-256": ("p256", "ecdsap256", r"^ *256 bits ecdsa")}
TARGET = 0.8

Row = tuple[str, str, str, bool]


def measure(binary: Path, lab: Path, work: Path, rounds: int) -> list[Row]:
    """Both kinds of CA; everybody takes turns in each round, and the medians count."""
    rows: list[Row] = []
    for kind, (word, speed, pattern) in KINDS.items():
        sticks = {count: requests(work / f"{word}-{count}", word, count) for count in (FEW, COUNT)}
        seen: dict[str, list[float]] = {}

        def note(what: str, value: float, seen: dict[str, list[float]] = seen) -> None:
            seen.setdefault(what, []).append(value)

        for number in range(rounds):
            print(f"{kind}: round {number + 1} of {rounds}", file=sys.stderr)
            signs, verifies = openssl_speed(speed, pattern)
            note("openssl signs", signs)
            note("openssl signs and verifies", 1 / (1 / signs + 1 / verifies))
            signs, verifies = openssl_speed(speed, pattern, together=False)
            note("openssl processor, signing", 1 / signs)
            note("openssl processor, both", 1 / signs + 1 / verifies)
            for count, stick in sticks.items():
                times, usage = sign(binary, stick, number)
                note(f"{count} signs", count / times["sign"] * 1000)
                note(f"{count} fsync", times["sync"] / 1000)
                note(f"{count} processor", (usage.ru_utime + usage.ru_stime) / count)
                note(f"{count} memory", usage.ru_maxrss * 1024)
            note("cfssl", one_by_one(sticks[FEW], lambda at, csr: cfssl(lab, at, csr)))
            note("openssl x509", one_by_one(sticks[FEW], openssl_x509))
        rows += judge(kind, {what: statistics.median(values) for what, values in seen.items()})
    return rows


def judge(kind: str, seen: dict[str, float]) -> list[Row]:
    ours = seen[f"{COUNT} signs"]
    alone, both = seen["openssl signs"], seen["openssl signs and verifies"]
    share = ours / alone
    few, many = (seen[f"{count} memory"] / (1 << 20) for count in (FEW, COUNT))

    def beside(what: str) -> Row:
        return (f"{kind}: `{what}`, one process a request", "-", f"{seen[what]:,.0f}/s, ours is {ours / seen[what]:,.0f} x", True)

    def processor(what: str, other: str) -> Row:
        mine, theirs = seen[f"{COUNT} processor"] * 1e6, seen[other] * 1e6
        return (f"{kind}: processor's time of {what} beside that of a request, everything included", "-",
                f"{theirs / mine:.0%} ({theirs:,.0f} us / {mine:,.0f} us)", True)

    return [
        (f"{kind}: {COUNT:,} requests verified and signed, beside `openssl speed -multi` signing alone",
         f">= {TARGET:.0%}", f"{share:.0%} ({ours:,.0f}/s, {alone:,.0f}/s)", share >= TARGET),
        (f"{kind}: the same beside `openssl speed -multi` signing and verifying", "-",
         f"{ours / both:.0%} ({both:,.0f}/s, which is {both / alone:.0%} of signing alone)", True),
        processor("signing alone", "openssl processor, signing"),
        processor("signing and verifying", "openssl processor, both"),
        (f"{kind}: bringing {COUNT:,} answers to the disk", "-", f"{seen[f'{COUNT} fsync'] * 1000:.0f} ms", True),
        (f"{kind}: memory of {COUNT:,} beside {FEW:,}", "<= 1.5 x", f"{many / few:.2f} x ({many:.0f} MiB / {few:.0f} MiB)", many <= 1.5 * few),
        beside("cfssl"),
        beside("openssl x509"),
    ]


def requests(at: Path, word: str, count: int) -> Path:
    subprocess.run(["go", "run", REPOSITORY / "benches/requests.go", at, word, str(count)],
                   check=True, env={**os.environ, "GOTOOLCHAIN": "local", "GOWORK": "off"})
    return at


def openssl_speed(algorithm: str, pattern: str, together: bool = True) -> tuple[float, float]:
    """Signatures and verifications a second on all cores; of one process, a second of its processor's time."""
    many = ["-multi", str(len(os.sched_getaffinity(0)))] if together else []
    said = subprocess.run(["openssl", "speed", *many, "-seconds", "3", algorithm], check=True,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True).stdout
    (line,) = (line for line in said.splitlines() if re.match(pattern, line))
    signs, verifies = line.split()[-2:]
    return float(signs), float(verifies)


def sign(binary: Path, stick: Path, number: int) -> tuple[dict[str, int], resource.struct_rusage]:
    """Signs a copy of everything; what each part took in milliseconds, and what the whole process used."""
    # Nothing is removed before the end: ext4 is slow to give an inode away that it got back a moment ago.
    folders = stick / f"copy{number}"
    subprocess.run(["cp", "-a", stick / "folders", folders], check=True)
    subprocess.run(["sync", "-f", stick], check=True)
    words = [binary, "csr", "sign", folders, "--ca-cert", stick / "ca.crt", "--ca-key", stick / "ca.key", "--output", "json"]
    with open(stick / "said.json", "w+b") as said:
        child = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=said)
        _, status, usage = os.wait4(child.pid, 0)
        said.seek(0)
        if status:
            sys.exit(f"bench: csr sign failed: {said.read(2000)!r}")
        report = json.load(said)
    made = sum(1 for _ in folders.glob("*/*.crt"))
    if report["signed"] != made or not made:
        sys.exit(f"bench: {report['signed']} signed, {made} answers")
    return report["milliseconds"], usage


def one_by_one(stick: Path, command) -> float:
    """Requests a second, one process each, as many at once as there are cores."""
    out = stick / "others"
    out.mkdir(exist_ok=True)
    waiting = [command(stick, csr) for csr in sorted(stick.glob("folders/*/*.csr"))[:ONE_BY_ONE]]
    running: list[subprocess.Popen] = []
    begin = time.perf_counter()
    for words in waiting:
        if len(running) == len(os.sched_getaffinity(0)):
            finish(running.pop(0))
        running.append(subprocess.Popen(words, cwd=out, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
    for child in running:
        finish(child)
    return len(waiting) / (time.perf_counter() - begin)


def finish(child: subprocess.Popen) -> None:
    if child.wait():
        sys.exit(f"bench: {child.args} failed with {child.returncode}")


def cfssl(lab: Path, stick: Path, csr: Path) -> list:
    return [lab / "bin/cfssl", "sign", "-loglevel", "4", "-ca", stick / "ca.crt", "-ca-key", stick / "ca.key", csr]


def openssl_x509(stick: Path, csr: Path) -> list:
    serial = "0x" + os.urandom(15).hex()
    return ["openssl", "x509", "-req", "-in", csr, "-CA", stick / "ca.crt", "-CAkey", stick / "ca.key", "-set_serial", serial,
            "-copy_extensions", "copyall", "-days", "365", "-out", f"{csr.parent.name}-{csr.stem}.crt"]
