"""Processes of their own that are killed, or run side by side, without importing everything again.

A server imports the libraries once and forks itself for each process: a fresh interpreter that
imports torch and mmengine takes five to eight seconds, and a dozen tests need one or two.
"""

import functools
import multiprocessing
import os
import runpy
import signal
import site
import sys
import traceback
from dataclasses import dataclass
from multiprocessing.context import ForkServerProcess
from pathlib import Path

PRELOADED = ["coprop_plugin.batch", "coprop_plugin.training.run", "mmengine.runner"]
PRELOADED += ["torch.distributed.run"]


@dataclass
class Started:
    """A process that runs, and what it has printed."""

    process: ForkServerProcess
    folder: Path

    @property
    def pid(self):
        return self.process.pid

    @property
    def returncode(self):
        """The exit status, minus the signal that ended it; None while it runs."""
        return self.process.exitcode

    @property
    def stdout(self):
        return (self.folder / "stdout").read_text()

    @property
    def stderr(self):
        return (self.folder / "stderr").read_text()

    def send_signal(self, kind):
        os.kill(self.pid, kind)

    def wait(self, timeout_s=120):
        """Wait for its end; a process that is not done by then is killed."""
        self.process.join(timeout_s)
        if self.returncode is None:
            self.process.kill()
            self.process.join()
        return self


def start(folder, function, *args, env=None):
    """Call a function of a module in a process of its own, which prints into `folder`.

    Args:
        folder: For what it prints; made if need be.
        function: A function that can be imported by its name.
        *args: Its arguments, which are pickled.
        env: Environment variables for it, beside those that there are.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("stdout", "stderr"):
        (folder / name).write_text("")
    process = _server().Process(
        target=_call, args=(folder, os.environ | (env or {}), function, args)
    )
    process.start()
    return Started(process, folder)


def start_coprop(folder, *arguments, env=None):
    """Run a command of `coprop` in a process of its own."""
    return start(folder, coprop, [str(argument) for argument in arguments], env=env)


def start_script(folder, script, *arguments, env=None):
    """Run a Python script in a process of its own, in `folder`, where it also prints."""
    words = [str(argument) for argument in arguments]
    return start(folder, _script, Path(script), words, folder, env=env)


def coprop(arguments):
    """Run a command of `coprop` as its entry point does."""
    from coprop_plugin import cli

    sys.argv = ["coprop", *arguments]
    cli.main()


def coprop_in_a_group(arguments):
    """Run a command of `coprop` as the leader of a group of its own, which gets signals as one."""
    os.setsid()
    coprop(arguments)


def _script(script, arguments, folder):
    os.chdir(folder)
    sys.argv = [str(script), *arguments]
    # Last on the path, as nothing else has the names of its neighbours.
    site.addsitedir(str(script.parent))
    runpy.run_path(str(script), run_name="__main__")


@functools.cache
def _server():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context


def _call(folder, env, function, args):
    # The server's environment is that of its first use.
    os.environ.clear()
    os.environ.update(env)
    for stream, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(folder / name, os.O_WRONLY | os.O_APPEND)
        os.dup2(file, stream)
        os.close(file)
    sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
    # A shell that starts the tests in the background has them ignore it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        function(*args)
    except Exception:
        traceback.print_exc()
        sys.exit(1)
