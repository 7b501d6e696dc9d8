"""Remembered operators against torch's own walk: a step's figures, and what single operators return."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from tps_lab import create_model
from tps_lab.measure import fake
from tps_lab.measure._fakes import Remembering
from tps_lab.measure.predicted_memory import training_step
from tps_lab.measure.step import Step
from tps_lab.measure.trace import trace

STEPS = [
    ("vit_micro", "tps+tcs", Step(2), "cuda"),
    ("vit_micro", "divided", Step(2, precision="bf16", checkpointing=True), "cuda"),
    ("vit_micro", "tps", Step(1), "cpu"),
    ("swin_micro", "tps", Step(1, fused=False), "cuda"),
]


@pytest.mark.parametrize(("backbone", "attention", "step", "target"), STEPS, ids=lambda given: str(given))
def test_steps_are_those_of_torchs_own_walk(backbone, attention, step, target, monkeypatch):
    def figures(times):
        faked = fake.fake(lambda: create_model(backbone, attention, num_classes=3))
        for _ in range(times):
            recorded, traced = training_step(faked, step, target), trace(faked, step)
            yield recorded.recording, recorded.parts, recorded.most, traced

    remembered = list(figures(2))  # the first time, and from memory alone
    monkeypatch.setattr(fake, "fake_mode", FakeTensorMode)
    assert remembered == list(figures(1)) * 2


def look(tensor, others):
    """All that can be seen of a tensor without values; whose storage and whether it is the very same one, by place."""
    storage = tensor.untyped_storage()
    return (
        type(tensor), tensor.shape, tensor.stride(), tensor.storage_offset(), tensor.dtype, tensor.device,
        tensor.requires_grad, storage.nbytes(),
        [other.untyped_storage()._cdata == storage._cdata for other in others], [other is tensor for other in others],
    )  # fmt: skip


OPERATORS = {
    "a new tensor": lambda x, y: x @ y,
    "a number of another type": lambda x, y: (x.long() + 1, x.long() + 1.0, x.long() + True),
    "a view": lambda x, y: x[1:, ::2].transpose(0, 1),
    "several views": lambda x, y: torch.split(x, 2) + x.unbind(1),
    "in place": lambda x, y: (x.add_(1), x),
    "in place, of a view": lambda x, y: (x[0].zero_(), x),
    "several results, the type of a tuple of torch's": lambda x, y: torch.max(x, 1),
    "the parts of a norm": lambda x, y: torch.ops.aten.native_layer_norm.default(x, [6], None, None, 1e-5),
    "the parts of a batch norm": lambda x, y: torch.ops.aten.native_batch_norm.default(x, *[None] * 4, True, 0.1, 1e-5),
    "a list of tensors": lambda x, y: torch.cat([x, y.T, x], 1),
    "a table and where to read it": lambda x, y: x[:, torch.zeros(3, dtype=torch.long)],
    "broadcast": lambda x, y: x[:1].expand(4, 6) * 2,
    "an argument changes its shape": lambda x, y: (x.t_(), x),
    "an argument grows": lambda x, y: (y.new_empty(2).resize_(7), x),
    "what has a value": lambda x, y: torch.tensor([1.0, 2.0]) * 2,
    "complex numbers": lambda x, y: torch.view_as_real(torch.view_as_complex(x.unflatten(1, (3, 2))) * 2),
    "out of a module": lambda x, y: torch.nn.functional.gelu(torch.nn.functional.linear(x, y.T)),
}


@pytest.mark.parametrize("operator", OPERATORS.values(), ids=OPERATORS)
def test_an_operator_returns_what_torch_says(operator):
    seen = []
    for mode in (FakeTensorMode(), Remembering(), Remembering()):
        with mode:
            x, y = torch.empty(4, 6), torch.empty(6, 4)
            out = operator(x, y)
            out = [out] if isinstance(out, torch.Tensor) else list(out)
            seen.append([look(tensor, (x, y, *out)) for tensor in (x, y, *out)])
    assert seen[0] == seen[1] == seen[2]


def test_what_depends_on_values_is_refused_as_ever():
    with Remembering():
        x = torch.empty(3)
        for _ in range(2):
            with pytest.raises(RuntimeError, match=r"aten\._local_scalar_dense"):
                float(x[0])


def test_the_memory_is_used():
    with Remembering() as mode:
        torch.empty(5, 7) @ torch.empty(7, 11)
        mode.dispatch = None  # what torch works out goes through this
        assert (torch.empty(5, 7) @ torch.empty(7, 11)).shape == (5, 11)
        with pytest.raises(TypeError):
            torch.empty(5, 7) @ torch.empty(7, 12)
