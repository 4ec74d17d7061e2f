# SPDX-License-Identifier: LGPL-2.1-or-later
"""The docker CLI on a real terminal: what a user at a keyboard sees and does."""
import fcntl
import os
import pty
import re
import select
import signal
import struct
import termios
import time

from engine import COMMAND_S, DOCKER

DETACH = b"\x10\x11"  # ctrl-p ctrl-q


class Terminal:
    def __init__(self, engine, *args, rows=24, columns=80):
        self.seen = b""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            try:
                # The parent sets the size before the CLI looks at it: wait for its line.
                os.read(0, 1)
                os.execve(DOCKER, [DOCKER, *map(str, args)], engine.cli_environment)
            finally:
                os._exit(127)
        self.size(rows, columns, tell=False)
        os.write(self.fd, b"\n")
        self.code = None

    def size(self, rows, columns, tell=True):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            os.kill(self.pid, signal.SIGWINCH)

    def type(self, data):
        os.write(self.fd, data if isinstance(data, bytes) else data.encode())

    def read(self, deadline):
        ready, _, _ = select.select([self.fd], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            return None
        try:
            return os.read(self.fd, 65536)
        except OSError:  # EIO: the last holder has closed the terminal
            return b""

    def expect(self, pattern, seconds=COMMAND_S / 2):
        """Read until the pattern (regex, bytes or text) appears; consume up to its end, return the match."""
        pattern = re.compile(pattern if isinstance(pattern, bytes) else pattern.encode())
        deadline = time.monotonic() + seconds
        while True:
            match = pattern.search(self.seen)
            if match:
                self.seen = self.seen[match.end() :]
                return match
            piece = self.read(deadline)
            if not piece:
                raise AssertionError(f"terminal: no {pattern.pattern!r} in {self.seen!r}")
            self.seen += piece

    def sees(self, pattern, seconds):
        """As expect(), but False instead of an error."""
        try:
            return self.expect(pattern, seconds)
        except AssertionError:
            return False

    def ask(self, line, pattern, seconds=COMMAND_S / 2):
        self.type(line + "\n")
        return self.expect(pattern, seconds)

    def wait(self, seconds=COMMAND_S / 2):
        """Exit code of the CLI, 128 + n for a signal; reads on meanwhile so that it can't block."""
        deadline = time.monotonic() + seconds
        while self.code is None:
            piece = self.read(deadline)
            if piece:
                self.seen += piece
                continue
            if piece is None:
                raise AssertionError(f"terminal: the command doesn't end; it wrote {self.seen!r}")
            code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
            self.code = code if code >= 0 else 128 - code
        return self.code

    def close(self):
        if self.code is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
                os.waitpid(self.pid, 0)
            except (ProcessLookupError, ChildProcessError):
                pass
            self.code = 137
        os.close(self.fd)
