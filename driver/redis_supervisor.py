"""Keeps the run's own Redis running: started again on its append-only file when it dies, from a thread that lives as
long as the run.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

from rltf.buffer.server import EmbeddedRedis, url_in
from rltf.config import Config, UserError
from rltf.driver import RunFailed
from rltf.driver.supervisor import BackOff, OnRestart

POLL_INTERVAL_S = 0.1
"""Between two looks whether the server lives."""
START_TIMEOUT_S = 90.0
"""Longest wait for the first start; `buffer.server.READY_TIMEOUT_S` is the server's own bound."""
STOP_TIMEOUT_S = 40.0
"""Longest wait for the server to write out and end."""


class RedisSupervisor:
    """The embedded server of one run. Workers wait out the second that a restart takes: their connections try again.

    The server dies with the *thread* that started it, so the keeper starts it anew in the same one. It does not depend
    on what the driver does otherwise: a driver that waits for an answer of the dead server gets one.
    """

    def __init__(self, folder: Path, bind: str, config: Config, on_restart: OnRestart) -> None:
        """Starts the server and returns when it answers.

        `on_restart`: called in the keeper's thread when the server was started again.

        Raises UserError as EmbeddedRedis.start does, RunFailed when the server does not come up.
        """
        self._folder, self._bind, self._fsync, self._on_restart = folder, bind, config.redis.fsync, on_restart
        self._back_off = BackOff("the embedded Redis", config.restart)
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._keep, name="redis-keeper", daemon=True)
        self._thread.start()
        if not self._ready.wait(START_TIMEOUT_S):
            raise RunFailed(
                f"the embedded Redis did not start within {START_TIMEOUT_S:g} s; its log is {folder}/redis.log"
            )
        if self._failure is not None:
            raise self._failure

    @property
    def url(self) -> str:
        """Address of the server, the same after every restart."""
        return self._server.url

    @property
    def socket(self) -> str:
        """Path of the server's Unix socket, the same after every restart; empty where it has none."""
        return self._server.socket

    @property
    def running(self) -> bool:
        """Whether the server lives."""
        return self._failure is None and self._server.running()

    def check(self) -> None:
        """Raises RunFailed when the server cannot be kept running."""
        if self._failure is not None:
            raise self._failure

    def stop(self) -> None:
        """Ends the server; its data stay in the folder."""
        self._stop.set()
        self._thread.join(STOP_TIMEOUT_S)

    def _keep(self) -> None:
        try:
            self._server = self._start()
        except Exception as error:  # raised by the constructor, in the thread that waits there
            self._failure = error if isinstance(error, UserError) else RunFailed(str(error))
            return
        finally:
            self._ready.set()
        try:
            while not self._stop.wait(POLL_INTERVAL_S):
                if not self._server.running():
                    self._restart(self._server)
        except Exception as error:  # raised by check() where the run is watched
            self._failure = (
                error if isinstance(error, RunFailed) else RunFailed(f"the embedded Redis cannot be restarted: {error}")
            )
        finally:
            self._server.stop()

    def _start(self) -> EmbeddedRedis:
        return EmbeddedRedis.start(self._folder, self._bind, self._fsync)

    def _restart(self, dead: EmbeddedRedis) -> None:
        reason = f"it ended with status {dead.status}"
        pause_s = self._back_off.next_delay(reason, time.monotonic())
        if self._stop.wait(pause_s):
            return
        if url_in(self._folder) != dead.url:
            raise RunFailed(
                f"the embedded Redis has lost the run's data: its files in {self._folder} are gone", resumable=False
            )
        server = self._start()
        self._server = server
        if server.url != dead.url:
            raise RunFailed("the embedded Redis died and another process took its port meanwhile")
        self._on_restart("redis", reason, {})
