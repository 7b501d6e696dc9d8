"""What makes the suite quicker: its order, and Python's collector kept from looking through the objects of thousands of
collected tests again and again, which took a quarter of collecting them and a tenth of running them."""

import gc

import pytest

# Their tests wait for other processes: while one worker does, the others compute, and none of these is left for the
# end; no notebook either, which take longest.
WAITING = {"test_cli.py", "test_notebooks.py", "test_page.py", "test_resume.py", "test_run.py", "test_workers.py"}

gc.disable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in WAITING)


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
