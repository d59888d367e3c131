"""The long run: `python tests/fuzz.py --inputs 10000 [READER ...]`, or `make fuzz`.

Each reader works in a process of its own, so that a crash or a hang is seen and is not the end.
What breaks a promise is kept in `fuzz_findings/` with the reason; then the exit code is 1.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

FINDINGS = Path("fuzz_findings")
MEMORY = 8 * 2**30
PATIENCE_S = 300


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("readers", nargs="*")
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        return child(Path(asked.child), asked.readers[0], asked.inputs, asked.seed)
    if not asked.readers:
        from fuzz_readers import READERS

        asked.readers = list(READERS)
    broken = 0
    for name in asked.readers:
        broken += run(name, asked.inputs, asked.seed)
    return 1 if broken else 0


def run(name, inputs, seed):
    """Give a reader its inputs; returns how many kinds of broken promises there were."""
    done, findings = 0, {}
    while done < inputs:
        with tempfile.TemporaryDirectory() as folder:
            folder = Path(folder)
            command = [sys.executable, __file__, name, "--child", str(folder)]
            command += ["--inputs", str(inputs - done), "--seed", str(seed)]
            code, hung = watched(command, folder / "now")
            count = folder / "count"
            some = int(count.read_text()) if count.exists() else 0
            done += max(1, some)
            lines = (folder / "findings").read_text() if (folder / "findings").exists() else ""
            found = dict(map(json.loads, lines.splitlines()))
            if code != 0 and not (folder / "now").exists():
                sys.exit(f"{name} did not begin")
            if code != 0:
                reason = "hang" if hung or code == -signal.SIGPROF else f"exit code {code}"
                found[reason] = (folder / "now").read_bytes().hex()
            for reason, content in found.items():
                if reason not in findings:
                    findings[reason] = keep(name, len(findings), reason, bytes.fromhex(content))
        seed += 1
        if code != 0 and not some:
            break
    print(f"{name}: {done} inputs, {len(findings)} kinds of findings", flush=True)
    for reason, path in findings.items():
        print(f"  {path}: {reason}", flush=True)
    return len(findings)


def watched(command, now):
    """Run a child until it ends, or no new input has come for long; returns its code, and if so."""
    hung = False
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            time.sleep(0.2)
            hung = now.exists() and time.time() - now.stat().st_mtime > PATIENCE_S
            if hung:
                process.kill()
    return process.returncode, hung


def keep(name, number, reason, content):
    FINDINGS.mkdir(exist_ok=True)
    path = FINDINGS / f"{name}-{number}.bin"
    path.write_bytes(content)
    path.with_suffix(".txt").write_text(reason)
    return path


def child(folder, name, inputs, number):
    from fuzz_readers import MOST_S, READERS, contents, hold
    from hypothesis import HealthCheck, Phase, given, seed, settings

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    os.chdir(folder)
    reader, work = READERS[name], folder / "work"
    count, found = 0, set()

    @seed(number)
    @settings(
        max_examples=inputs,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(contents(reader, work))
    def read(content):
        nonlocal count
        count += 1
        (folder / "now").write_bytes(content)
        if count % 100 == 0:
            (folder / "count").write_text(str(count))
        # Ends the process when one input has taken so much of the processor's time.
        signal.setitimer(signal.ITIMER_PROF, 2 * MOST_S)
        try:
            hold(reader, work, content)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            reason = f"{type(error).__name__} in {Path(place.filename).name}:{place.lineno}: "
            key = reason if not isinstance(error, AssertionError) else str(error)[:60]
            if key not in found:
                found.add(key)
                with (folder / "findings").open("a") as file:
                    line = [f"{reason}{str(error)[:200]}", content.hex()]
                    file.write(json.dumps(line) + "\n")
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)

    read()
    (folder / "count").write_text(str(count))
    return 0


if __name__ == "__main__":
    sys.exit(main())
