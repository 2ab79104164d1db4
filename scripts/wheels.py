"""Pinned wheels, for the setup scripts beside this file: which bytes they may unpack stands in wheels.txt, and pip only carries them."""
import hashlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

PINS = Path(__file__).resolve().with_name("wheels.txt")
SYSTEMS = {("Linux", "x86_64"): "linux-x86_64", ("Linux", "aarch64"): "linux-aarch64", ("Darwin", "aarch64"): "macos-arm64"}
# Settings that would turn pip away from the pinned wheel; index, proxy and certificate settings are the user's and stay.
PIP_SETTINGS_TO_DROP = "ABI CONSTRAINT IMPLEMENTATION NO_BINARY PLATFORM PYTHON_VERSION REQUIREMENT REQUIRE_VIRTUALENV TARGET USER".split()


class Failure(Exception):
    """What stops the installation: a message, a hint or none, and the exit status."""

    def __init__(self, message, hint=None, status=1):
        super().__init__(message)
        self.hint, self.status = hint, status


def system_name(what, cure):
    """The first column of wheels.txt for this machine, where `what` is to be installed."""
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    name = SYSTEMS.get((platform.system(), machine))
    if name is None:
        raise Failure(f"there is no {what} wheel for {platform.system()} on {platform.machine()}", cure, 2)
    return name


def has_pip():
    command = [sys.executable, "-m", "pip", "--version"]
    return subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def read_pins(path):
    keys = ("system", "part", "requirement", "platform", "sha256")
    try:
        lines = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", status=2)
    if any(len(line) != len(keys) for line in lines):
        raise Failure(f"{path}: a line does not have the five columns {', '.join(keys)}", status=2)
    return [dict(zip(keys, line)) for line in lines]


def obtain(pin, partial, wheels):
    """The path of the pinned wheel, downloaded or found in `wheels`, its hash checked."""
    if wheels:
        stem = pin["requirement"].replace("-", "_").replace("==", "-")
        found = sorted(path for path in wheels.glob(stem + "-*.whl") if pin["platform"] in path.name or path.name.endswith("-any.whl"))
        if not found:
            raise Failure(f"{wheels} has no wheel of {pin['requirement']} for {pin['platform']}", status=2)
        return verify(found[0], pin)
    say(f"downloading {pin['requirement']}")
    directory = Path(tempfile.mkdtemp(prefix="wheel-", dir=partial))
    (directory / "requirements.txt").write_text(f"{pin['requirement']} --hash=sha256:{pin['sha256']}\n")
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-cache-dir", "--disable-pip-version-check", "--no-input"]
    command += ["--only-binary=:all:", "--require-hashes", "--python-version", "3.12", "--implementation", "cp", "--abi", "cp312"]
    command += ["--platform", pin["platform"], "--dest", str(directory), "-r", str(directory / "requirements.txt")]
    command += [] if sys.stderr.isatty() else ["--quiet"]
    settings = {key: value for key, value in os.environ.items() if key not in {"PIP_" + name for name in PIP_SETTINGS_TO_DROP}}
    if subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env={**settings, "TMPDIR": str(directory)}).returncode:
        cure = "check the network and pip's index settings; setup-libtorch also takes wheels that were fetched elsewhere (--wheels DIR)"
        raise Failure(f"pip could not download {pin['requirement']} for {pin['platform']}", cure)
    return verify(next(directory.glob("*.whl")), pin)


def verify(wheel, pin):
    """`wheel`, if it has exactly the pinned bytes."""
    digest = hashlib.sha256()
    with open(wheel, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    if digest.hexdigest() != pin["sha256"]:
        found = digest.hexdigest()
        raise Failure(f"{wheel} is not the pinned wheel: its sha256 is {found}, not {pin['sha256']}", "delete it and fetch it again")
    return wheel


def say(message):
    print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr, flush=True)


def run_as_program(main):
    """Calls `main` as a program: signals end it tidily, failures become a message, a hint and an exit status."""
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, stop)
    try:
        main()
    except Failure as failure:
        say(f"error: {failure}")
        if failure.hint:
            print(f"hint: {failure.hint}", file=sys.stderr)
        sys.exit(failure.status)
    except OSError as error:
        say(f"error: {error}")
        sys.exit(1)


def stop(number, _frame):
    raise SystemExit(128 + number)
