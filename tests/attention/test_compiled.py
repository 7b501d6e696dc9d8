"""Compiled, a shift costs no kernel, and computes what it does in eager mode."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from study import load

from tps_lab.attention._modules import permute_tokens

REPORT = Path(__file__).parents[2] / "reports" / "speed" / "compiled.py"


@pytest.fixture
def study() -> Any:
    return load(REPORT)


@pytest.mark.slow
def test_a_shift_costs_no_kernel_and_one_that_does_is_seen(study: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One test: a process that compiles loads inductor, for seconds, and both ends share the spatial ViT."""
    for family, training in (("ViT", True), ("Swin", True), ("ViT", False)):
        found = study.beside(family, training)
        assert found["spatial"]["loops"] > 10
        assert not found["more"], (family, training, found)

    from tps_lab.attention import _modules

    right = _modules.permute_tokens
    monkeypatch.setattr(_modules, "permute_tokens", lambda x, index, inverse, written=False: right(x, index, inverse))
    assert "loops" in study.beside("ViT", False)["more"]


def test_compiled_the_same_and_its_gradient() -> None:
    index, weights = torch.randperm(7), torch.randn(8, 8, dtype=torch.float64)
    undo = index.argsort()

    def block(x: torch.Tensor) -> torch.Tensor:
        y = permute_tokens(torch.layer_norm(x, (8,)), index, undo, written=True)
        return x + permute_tokens((y @ weights).tanh(), undo, index) * torch.arange(7)[:, None]

    def plain(x: torch.Tensor) -> torch.Tensor:
        y = torch.layer_norm(x, (8,))[:, index]
        return x + (y @ weights).tanh()[:, undo] * torch.arange(7)[:, None]

    x = torch.randn(3, 7, 8, dtype=torch.float64, requires_grad=True)
    found, wanted = torch.compile(block)(x), plain(x)
    torch.testing.assert_close(found, wanted)
    towards = torch.randn_like(wanted)
    torch.testing.assert_close(
        torch.autograd.grad(found, x, towards), torch.autograd.grad(wanted, x, towards), rtol=1e-9, atol=1e-9
    )
