"""The paper's own models by name: PST-T, PST-B and their † forms.

Source: Xiang et al., arXiv 2207.13259, section 3.3 and table 3: Swin-T or Swin-B, 32 frames of
224², tubelets of 2, patch shift and channel shift in turn; † = windows of 2×7×7. The order of the
two is the released code's, channel shift with plain windows and patch shift with shifted ones
(figure 4 draws patch shift first: order="tps-tcs"). So are the bias tables over 31 time offsets in
every block, so that the authors' checkpoints fit, and the dropout of 0.5 before the head.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A name's backbone and the defaults that come with it.

    Args:
        arguments: of the timm model.
        added: options of its family, such as position_bias.
    """

    timm_name: str
    arguments: dict[str, Any] = field(default_factory=dict)
    attention: str = "tps"
    frames: int = 8
    tubelet: int = 1
    added: dict[str, Any] = field(default_factory=dict)


def _pst(size: str, temporal_window: int = 1) -> Preset:
    return Preset(
        f"swin_{size}_patch4_window7_224",
        {"drop_rate": 0.5, "drop_path_rate": 0.1},
        attention="tps+tcs(order=tcs-tps)",
        frames=32,
        tubelet=2,
        added={"bias_over_time": True, "temporal_window": temporal_window},
    )


PAPER = {
    "pst_tiny": _pst("tiny"),
    "pst_base": _pst("base"),
    "pst_tiny_dagger": _pst("tiny", temporal_window=2),
    "pst_base_dagger": _pst("base", temporal_window=2),
}
