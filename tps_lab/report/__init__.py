"""Reports: what people compare variants with. `build` writes a page, `tables` the figures alone."""

from __future__ import annotations

from tps_lab.report import tables
from tps_lab.report.page import build

__all__ = ["build", "tables"]
