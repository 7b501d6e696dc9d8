"""A video model as a folder that anyone can load again: `save_pretrained`, `push_to_hub`, `from_pretrained`.

The doors are huggingface_hub's own (`ModelHubMixin`), and so is the layout: `config.json`, which says what
`create_model` takes, `model.safetensors`, and README.md, the model card. All of it is read as data: no
code of a folder or a repository is ever run, and weights are read as tensors only.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from huggingface_hub import ModelCard, ModelHubMixin, hf_hub_download

from tps_lab import files
from tps_lab.backbones import _weights, create_model
from tps_lab.errors import InputError, one_line, shortened

_CONFIG, _WEIGHTS = "config.json", "model.safetensors"
_SAID = ("image_model", "attention", "frames", "tubelet", "num_classes", "size", "temporal_position", "options")


class HubModel(ModelHubMixin):
    """What makes a video model savable; see `VideoModel`.

    Attributes:
        made_with: the image model's name, and options that can no longer be read off the model.
    """

    _hub_mixin_config: Any = MappingProxyType(
        {}
    )  # keeps the mixin from recording how __init__ was called; config.json is written here
    made_with: dict[str, Any]

    def config(self) -> dict[str, Any]:
        """What config.json holds: arguments of `create_model` that make this model again, without its weights."""
        model: Any = self
        if "made_with" not in vars(model):
            raise InputError("only a model made by create_model, videoize or load_official can be saved for others")
        options = dict(self.made_with["options"])
        if model.clip_shape[0] != 3:
            options["in_chans"] = model.clip_shape[0]
        found = {
            "image_model": self.made_with["image_model"],
            "attention": str(model.variant),
            "frames": model.frames,
            "tubelet": model.tubelet,
            "num_classes": model.num_classes,
            "size": list(model.clip_shape[2:]),
            "temporal_position": getattr(model, "temporal_embed", None) is not None,
            "options": options,
        }
        try:
            return json.loads(json.dumps(found))
        except TypeError as error:
            raise InputError(f"config.json cannot hold these options of the image model: {one_line(error)}") from None

    def _save_pretrained(self, save_directory: Path) -> None:
        """Write configuration and weights, after they have made the same model again."""
        from safetensors.torch import save_file

        model: Any = self
        config = self.config()
        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        _check_same(model, config, weights)
        files.write_whole(save_directory / _CONFIG, json.dumps(config, indent=2) + "\n")
        with files.whole(save_directory / _WEIGHTS) as half:
            save_file(weights, half, metadata={"format": "pt"})

    def generate_model_card(self, card: str | Path | None = None, **kwargs: Any) -> ModelCard:
        """README.md: what the model is and how it is loaded.

        Args:
            card: README.md of the run that it is from; its accuracy, data and recipe are taken over.
        """
        model: Any = self
        config = self.config()
        channels, frames, height, width = model.clip_shape
        about = f"{config['image_model']}, {config['attention']}"
        told_of_training = "This card does not say what the model was trained on."
        if card is not None:
            try:
                told_of_training = _training_in(files.read_text(Path(card)))
            except OSError as error:
                raise InputError(f"card: cannot read {card}: {error.strerror or error}") from None
        size = f"{channels}, {frames}, {height}, {width}"
        params, macs = sum(p.numel() for p in model.parameters()), sum(model.closed_form_macs().values())
        return ModelCard(
            f"""---
library_name: tps_lab
license: other
pipeline_tag: video-classification
tags: [video-classification, temporal-patch-shift]
---

# {about}

The image model `{config["image_model"]}` as a video model, with attention `{config["attention"]}`: clips of
{frames} frames of {height}×{width} pixels, tubelets of {config["tubelet"]}, {config["num_classes"]} classes;
{params:,} parameters, {macs:,} multiply-adds per clip.

{told_of_training}

## Use

```python
import tps_lab

model = tps_lab.VideoModel.from_pretrained("FOLDER OR USER/NAME")
logits = model(clip)  # (B, {size}) → (B, {config["num_classes"]})
```

`config.json` says how the model is made, `model.safetensors` holds tensors only: loading runs no code.
"""
        )

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        force_download: bool = False,
        token: str | bool | None = None,
        cache_dir: str | Path | None = None,
        local_files_only: bool = False,
        revision: str | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """A saved model, in eval mode on the CPU, in float32.

        Args:
            pretrained_model_name_or_path: a folder, or USER/NAME on the Hub.
            force_download: as `hf_hub_download` takes it, like all that follow.
            token: who asks.
            cache_dir: where files are kept.
            local_files_only: fetch nothing.
            revision: a branch, tag or commit.

        Raises:
            InputError: nothing is there, or what is there is damaged or no video model's.
        """
        if model_kwargs:
            raise InputError(
                f"from_pretrained takes no {', '.join(model_kwargs)}: config.json says how the model is made"
            )
        name = str(pretrained_model_name_or_path)
        if (folder := Path(name)).is_dir():
            config_file, weights_file = folder / _CONFIG, folder / _WEIGHTS
        else:
            try:
                with _weights.asking_briefly():
                    config_file, weights_file = (
                        Path(hf_hub_download(name, file, force_download=force_download, token=token,
                                             cache_dir=cache_dir, local_files_only=local_files_only, revision=revision))
                        for file in (_CONFIG, _WEIGHTS)
                    )  # fmt: skip
            except Exception as error:  # no such name, no network, no right to it: the Hub's errors are many
                raise InputError(
                    f"no folder {shortened(name)}, and the Hub has no such model: {one_line(error)}"
                ) from None
        try:
            config = files.read_json(config_file, most=1 << 20)
        except FileNotFoundError:
            raise InputError(f"{name} holds no {_CONFIG}, so no model that save_pretrained wrote") from None
        except files.Damaged as error:
            raise InputError(f"{name}: {error}") from None
        model = _made(config, f"{name}/{_CONFIG}")
        if not isinstance(model, cls):
            raise InputError(f"{name} holds a {type(model).__name__}, not a {cls.__name__}: ask VideoModel for it")
        if not weights_file.is_file():
            raise InputError(f"{name} holds no {_WEIGHTS}")
        _weights.fill(model, _weights.read(weights_file), f"the weights of {name}")  # type: ignore[arg-type]
        return model


def _made(config: Any, where: str) -> Any:
    """The model that a configuration describes, with weights by chance; the generator stays where it was."""
    if not isinstance(config, dict) or config.keys() != set(_SAID) or not isinstance(config["options"], dict):
        missing = [key for key in _SAID if key not in config] if isinstance(config, dict) else list(_SAID)
        odd = sorted(map(str, config.keys() - set(_SAID))) if isinstance(config, dict) else []
        what = [f"{', '.join(missing)} missing"] * bool(missing) + [f"no use for {', '.join(odd)}"] * bool(odd)
        raise InputError(f"{where} is no video model's: {'; '.join(what) or 'options are no table'}")
    said = {key: _as_tuple(value) for key, value in config.items() if key != "options"}
    options = {key: _as_tuple(value) for key, value in config["options"].items()}
    own = inspect.signature(create_model).parameters.keys() - {"options"}
    if wrong := sorted(own & options.keys()):
        raise InputError(f"{where}: {', '.join(wrong)} cannot stand among its options")
    for key in ("image_model", "attention"):
        if not isinstance(said[key], str):
            raise InputError(f"{where}: {key} must be text, got {shortened(repr(said[key]))}")
    for key in ("frames", "tubelet", "num_classes", "size"):
        if said[key] is None:
            raise InputError(f"{where}: {key} must be said, got null")
    if not isinstance(said["temporal_position"], bool):
        raise InputError(f"{where}: temporal_position must be true or false")
    with torch.random.fork_rng(devices=[]):
        try:
            model: Any = create_model(said.pop("image_model"), **said, **options).eval()
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    model.made_with = {"image_model": config["image_model"], "options": dict(config["options"])}
    return model


def _as_tuple(value: Any) -> Any:
    return tuple(map(_as_tuple, value)) if isinstance(value, list) else value


def _check_same(model: Any, config: dict[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse a configuration that does not give this model again: someone changed the image model by hand."""
    try:
        again = _made(config, "config.json")
        _weights.fill(again, weights, "its weights")
        clip = torch.randn(1, *model.clip_shape, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            wanted, found = (one.cpu().float()(clip) for one in (copy.deepcopy(model).eval(), again))
        same = wanted.shape == found.shape and torch.equal(wanted, found)
        why = (
            f"its logits differ by {(wanted - found).abs().max():.3g}"
            if wanted.shape == found.shape
            else "other outputs"
        )
    except InputError as error:
        same, why = False, str(error)
    if not same:
        raise InputError(
            f"'{config['image_model']}' with what config.json can say does not give this model again: {why}. "
            "Make it by create_model, with the image model's options, and load the weights into that"
        )


def _training_in(card: str) -> str:
    """What a run's card says of accuracy, data and recipe."""
    _, found, rest = card.partition("## Accuracy")
    return (found + rest.partition("## Use")[0]).strip()
