"""Can these tests fail? Mistakes put into the package on purpose are seen."""

import copy

import pytest
from naive_blocks import NAIVE, worst_difference
from random_blocks import gradient_pattern, random_block
from who_meets import GRID, C, by_hand, shifted

from tps_lab import ShiftPattern
from tps_lab.attention import (
    Mixer,
    _core,
    _modules,
    causal,
    channel_shift,
    factorised_dot,
    factorised_self,
    leap,
    local,
    parse,
    space_time_mixing,
    sparse,
    token_shift,
    zeroi2v,
)
from tps_lab.attention._modules import SpaceTimeAttention


def offsets_negated(monkeypatch):
    right = ShiftPattern.offsets_on
    monkeypatch.setattr(ShiftPattern, "offsets_on", lambda self, height, width: -right(self, height, width))


def tile_transposed(monkeypatch):
    right = ShiftPattern.offsets_on
    monkeypatch.setattr(ShiftPattern, "offsets_on", lambda self, height, width: right(self, width, height).T)


def scattered_the_wrong_way(monkeypatch):
    right = _modules.SpaceTimeAttention.rearrange
    monkeypatch.setattr(
        _modules.SpaceTimeAttention, "rearrange", lambda self, x, index, inverse: right(self, x, inverse, index)
    )


def gradient_not_inverted(monkeypatch):
    right = _modules.permute_tokens
    monkeypatch.setattr(_modules, "permute_tokens", lambda x, index, inverse, *written: right(x, index, index))


def time_reversed(monkeypatch):
    right = channel_shift.channel_shift
    monkeypatch.setattr(channel_shift, "channel_shift", lambda x, *args: right(x.flip(1), *args).flip(1))


def heads_forgotten(monkeypatch):
    right = channel_shift.channel_shift
    monkeypatch.setattr(channel_shift, "channel_shift", lambda x, form, fraction, heads: right(x, form, fraction, 1))


def windows_do_not_move(monkeypatch):
    right = local.window_routes
    monkeypatch.setattr(local, "window_routes", lambda grid, size, moved: right(grid, size, False))


def rolled_parts_meet(monkeypatch):
    right = local.partition
    monkeypatch.setattr(local, "partition", lambda grid, group, region, pad: right(grid, group, None, pad))


def holes_are_seen(monkeypatch):
    monkeypatch.setattr(_core.Routes, "may_see", lambda self, prefix=0: None)


def near_and_far_swapped(monkeypatch):
    near, far = sparse.near, sparse.far
    monkeypatch.setattr(sparse, "near", far)
    monkeypatch.setattr(sparse, "far", near)


def time_comes_first(monkeypatch):
    right = factorised_self.FactorisedSelf.mixers
    early = parse("factorised-self(order=time-space)")
    monkeypatch.setattr(factorised_self.FactorisedSelf, "mixers", lambda self, index: right(early, index))


def halves_swapped(monkeypatch):
    right = factorised_dot.HeadsDivided.attend_along
    monkeypatch.setattr(
        factorised_dot.HeadsDivided, "attend_along", lambda self, module, dim, qkv: right(self, module, 3 - dim, qkv)
    )


def keys_for_values(monkeypatch):
    right = _modules.KernelAttention.project

    def project(self, x):
        q, k, _ = right(self, x)
        return q, k, k

    monkeypatch.setattr(_modules.KernelAttention, "project", project)


def time_reversed_in_keys(monkeypatch):
    right = channel_shift.channel_shift
    for module in (space_time_mixing, token_shift, leap):
        monkeypatch.setattr(module, "channel_shift", lambda x, *args: right(x.flip(1), *args).flip(1))


def later_frames_are_seen(monkeypatch):
    right = _modules.KernelAttention.attend
    monkeypatch.setattr(
        _modules.KernelAttention, "attend", lambda self, *qkv, mask=None, causal=False: right(self, *qkv, mask=mask)
    )


def offsets_turned_round(monkeypatch):
    right = zeroi2v.from_offsets
    monkeypatch.setattr(zeroi2v, "from_offsets", lambda x, fraction, offsets: right(x, fraction, [-o for o in offsets]))


def not_turned(monkeypatch):
    monkeypatch.setattr(_modules, "turn", lambda attention, mixer, grid: None)


MISTAKES = [
    ("mem", later_frames_are_seen),
    ("leap", time_reversed_in_keys),
    ("zeroi2v", offsets_turned_round),
    ("joint(rotary=True)", not_turned),
    ("local(window_frames=2, window=2) @ 1", windows_do_not_move),
    ("local(window_frames=3, window=1) @ 1", rolled_parts_meet),
    ("local(window_frames=2, window=2)", holes_are_seen),
    ("l+g", holes_are_seen),
    ("l+g", near_and_far_swapped),
    ("factorised-self", time_comes_first),
    ("factorised-dot", halves_swapped),
    ("factorised-dot", keys_for_values),
    ("trajectory", keys_for_values),
    ("xvit", keys_for_values),
    ("xvit", time_reversed_in_keys),
    ("tokshift", time_reversed_in_keys),
    ("tps(every=1)", offsets_negated),
    ("tps(every=1, border=edge)", offsets_negated),
    ("tps(every=1)", tile_transposed),
    ("tps(every=1)", scattered_the_wrong_way),
    ("divided", scattered_the_wrong_way),
    ("tps(every=1)", gradient_not_inverted),
    ("tcs", time_reversed),
    ("tsm", time_reversed),
    ("tcs", heads_forgotten),
]


@pytest.mark.parametrize(("text", "mistake"), MISTAKES)
def test_the_naive_block_sees_a_mistake(monkeypatch, text, mistake):
    mistake(monkeypatch)
    assert worst_difference(text) > 1e-3


def test_the_naive_block_sees_a_relation_turned_round(monkeypatch):
    monkeypatch.setattr(causal.Causal, "allows", lambda self, grid, query, key: key.t >= query.t)
    # a text of its own: a variant's mixer is kept
    assert worst_difference("causal(stages=[1,2,3])", mixes=NAIVE["causal"]) > 1e-3


@pytest.mark.parametrize("mistake", [offsets_negated, tile_transposed])
def test_the_definition_sees_a_mistake(monkeypatch, mistake):
    mistake(monkeypatch)
    (mixer,) = parse("tps(every=1)").block(0, 1)
    assert (mixer.sees(GRID) != by_hand(GRID, shifted(C))).any()


def test_a_wrong_claim_about_channel_shift_is_seen():
    (mixer,) = parse("tcs").block(0, 1)
    claim = Mixer(mixer.routes, mixer.before, content_from=(0, 1))
    real = SpaceTimeAttention(copy.deepcopy(random_block().attn), mixer, GRID)
    assert (claim.sees(GRID) != gradient_pattern(real, GRID.tokens)).any()
