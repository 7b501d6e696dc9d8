"""Python's collector, kept from looking through the objects of thousands of collected tests again and again: that
took a quarter of collecting them and a tenth of running them."""

import gc

gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    gc.enable()
