"""Meta-World's robot arm: episodes of its scripted policies, and pictures of them without a screen.

Meta-World (Yu et al., CoRL 2019, arXiv 1910.10897; metaworld 3.1.1, MIT; the extra `manipulation`) simulates fifty
tasks of one arm in MuJoCo, each with a policy that solves it. Its goal markers, which show where things will go, are
not drawn, nor are shadows and reflections, which take most of the time. MuJoCo draws with OpenGL: through EGL, or
OSMesa, both of which work without a graphics card.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import subprocess
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tps_lab import children
from tps_lab.errors import InputError

SYSTEM = "apt-get install libegl1 libgl1-mesa-dri"
INSTALL = "pip install 'tps_lab[manipulation]'"
LONGEST = 200  # steps of an episode; one that has not succeeded by then has failed
AFTER = 12  # steps that an episode goes on after it succeeded
_BACKENDS = ("egl", "osmesa")
# how far from its usual place, in metres, the hand may start: to the side, in depth, up
_START = ((-0.2, -0.1, 0.0), (0.2, 0.1, 0.2))
_LOOK_AT = (0.0, 0.7, 0.12)  # above the middle of the table


@dataclass(frozen=True)
class Camera:
    """Where the pictures are taken from, in degrees and metres; azimuth 270 looks at the arm from across the table."""

    azimuth: float
    elevation: float
    distance: float


class Arm:
    """One task and its renderer.

    Args:
        task: such as "door-open".
        side: of the pictures, in pixels.
    """

    def __init__(self, task: str, side: int) -> None:
        import mujoco
        from metaworld.env_dict import ALL_V3_ENVIRONMENTS
        from metaworld.policies import ENV_POLICY_MAP

        name = f"{task}-v3"
        self.policy: Any = ENV_POLICY_MAP[name]
        self.env: Any = ALL_V3_ENVIRONMENTS[name]()
        # as `set_task` of Meta-World does, without its list of fifty placements
        self.env._set_task_called, self.env._freeze_rand_vec = True, False
        self.env._partially_observable = False
        self.env.__dict__.pop("sawyer_observation_space", None)
        self.usual_start: Any = self.env.hand_init_pos
        model = self.env.model
        model.vis.quality.offsamples = model.vis.quality.shadowsize = 0
        model.vis.global_.offwidth = model.vis.global_.offheight = side
        self.renderer = mujoco.Renderer(model, side, side)
        self.renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self.renderer.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self.shown = mujoco.MjvOption()
        self.shown.sitegroup[:] = 0  # sites are the goal's markers

    def placements(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The least and the greatest that each number may be which says where things stand."""
        space = self.env._random_reset_space
        return space.low, space.high

    def episode(
        self, rng: np.random.Generator, place: Callable[[], NDArray[np.float64]]
    ) -> tuple[list[NDArray[np.float64]], int] | None:
        """Let the policy do the task once, from a start of the hand drawn around its usual one.

        Args:
            place: draws where things stand; called again where they would stand too near.

        Returns:
            The arm's and all things' positions before the first and after each step, and the step after which the
            task was done; None: it was not.
        """
        env = self.env
        env._get_state_rand_vec = place
        env.hand_init_pos = np.clip(self.usual_start + rng.uniform(*_START), env.mocap_low, env.mocap_high)
        observed, _ = env.reset()
        policy = self.policy()
        states: list[NDArray[np.float64]] = [env.data.qpos.copy()]
        done: int | None = None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # policies ask for more than the arm gives, and are told so each time
            for step in range(1, LONGEST + AFTER + 1):
                observed, *_, info = env.step(np.clip(policy.get_action(observed), -1, 1))
                states.append(env.data.qpos.copy())
                if done is None and info["success"]:
                    done = step
                if done is None and step >= LONGEST:
                    return None
                if done is not None and step == done + AFTER:
                    return states, done
        return None

    def picture(self, state: NDArray[np.float64], camera: Camera) -> NDArray[np.uint8]:
        """What a camera sees of a state of the last episode, (side, side, 3)."""
        import mujoco

        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FREE
        view.lookat[:] = _LOOK_AT
        view.azimuth, view.elevation, view.distance = camera.azimuth, camera.elevation, camera.distance
        self.env.data.qpos[:] = state
        mujoco.mj_forward(self.env.model, self.env.data)
        self.renderer.update_scene(self.env.data, camera=view, scene_option=self.shown)
        return self.renderer.render().copy()


@lru_cache(maxsize=64)
def arm(task: str, side: int) -> Arm:
    """A task's simulator, made once in a process."""
    return Arm(task, side)


def versions() -> dict[str, str]:
    """What decides on the pixels, in a process that can render."""
    import metaworld  # noqa: F401
    import mujoco

    context = mujoco.GLContext(16, 16)
    context.make_current()
    from OpenGL import GL

    name = GL.glGetString(GL.GL_RENDERER).decode(errors="replace")
    context.free()
    return {
        "metaworld": importlib.metadata.version("metaworld"),
        "mujoco": mujoco.__version__,
        "numpy": np.__version__,
        "renderer": f"{os.environ.get('MUJOCO_GL', '?')}, {name}",
    }


@lru_cache(maxsize=1)
def backend() -> str:
    """The way of drawing without a screen that works here: MUJOCO_GL, or else EGL, or OSMesa.

    Raises:
        InputError: Meta-World is not installed, or nothing can draw; and what to install.
    """
    for package in ("metaworld", "mujoco"):
        if importlib.util.find_spec(package) is None:
            raise InputError(f"manipulation needs {package}; install it with: {INSTALL}")
    wanted = os.environ.get("MUJOCO_GL", "")
    for name in (wanted,) if wanted else _BACKENDS:
        command = children.python("-m", "tps_lab.data._metaworld")
        done = subprocess.run(command, env=children.environment(MUJOCO_GL=name), capture_output=True, text=True)
        if done.returncode == 0:
            return name
    tried = f"MUJOCO_GL={wanted} does not work" if wanted else "neither EGL nor OSMesa works"
    raise InputError(f"nothing here can render: {tried}; on Debian or Ubuntu: {SYSTEM} (or libosmesa6)")


if __name__ == "__main__":
    print(json.dumps(versions()))
