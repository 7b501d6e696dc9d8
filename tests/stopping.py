"""A progress bar that ends a run before a step of its choice."""

from contextlib import contextmanager

from tps_lab.progress import Progress


class Stopped(BaseException):
    """As a kill: nothing gets to clean up."""


class StopAt(Progress):
    def __init__(self, step, exception=Stopped):
        self.step, self.exception = step, exception

    @contextmanager
    def run(self, label, steps):
        def advance(step, news):
            if step == self.step:
                raise self.exception

        yield advance
