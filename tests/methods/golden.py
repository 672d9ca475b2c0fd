"""Golden vectors: the numbers of one update of one method on one fixed batch, in the names of the file.

The baselines' files were made with the reference implementation of Li & Levine 2026 (arXiv 2601.14234), those of
QPILOTS by an independent float64 evaluation of the formulas of arXiv 2606.14801. One table translates their names into
ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import norm

import methods
from benchmark.planning.settings import BACKBONES
from benchmark.training import agents, assembly
from methods._contract import Backbone, Batch, Problem, Space

Arrays = dict[str, np.ndarray]
Terms = dict[str, tuple[str, str | None]]


@dataclass(frozen=True)
class Names:
    """``modules``: our network -> theirs; ``settings``: our hyperparameter -> theirs; ``terms``: their
    loss term -> ours, and the hyperparameter that ours is multiplied by; ``fixed``: what a file of this method implies;
    ``alone``: its actions were sampled one observation at a time."""

    modules: dict[str, str]
    settings: dict[str, Any]
    terms: Terms
    fixed: dict[str, Any] = field(default_factory=dict)
    alone: bool = False


QPILOTS = {"flow": "flow", "critic": "critic"}
EDIT_MODULES = {"edit": "edit_actor", "temperature": "edit_alpha"}
EDIT_TERMS: Terms = {
    "actor/edit_q_loss": ("edit_q_loss", None),
    "actor/edit_entropy_loss": ("edit_entropy_loss", None),
    "actor/edit_alpha_loss": ("edit_temperature_loss", None),
}
QAM_MODULES = {"flow": "actor_slow", "fast": "actor_fast", "critic": "critic"}
QAM_SETTINGS = {"inverse_temperature": "inv_temp"}
QAM_TERMS: Terms = {
    "critic/critic_loss": ("critic_loss", None),
    "actor/flow_loss": ("flow_loss", None),
    "actor/adj_loss": ("adjoint_loss", None),
}
CGQL_MODULES = {"flow": "actor", "critic": "critic"}
CGQL_SETTINGS = {"inverse_temperature": "inv_temp", "guidance": "guidance_coef"}
CGQL_TERMS: Terms = {"critic/critic_loss": ("critic_loss", None), "actor/flow_loss": ("flow_loss", None)}
NOISY_SETTINGS = {**CGQL_SETTINGS, "noisy": "noisy_coef"}
NOISY_TERMS: Terms = {**CGQL_TERMS, "critic/noisy_critic_loss": ("noisy_critic_loss", "noisy")}
TABLE: dict[str, Names] = {
    "qpilots_u": Names(
        QPILOTS, {"alpha": "alpha"}, {"critic_loss": ("critic_loss", None), "flow_loss": ("flow_loss", None)}
    ),
    "qpilots_m": Names(
        {**QPILOTS, "map": "mfm"},
        {
            "alpha": "alpha",
            "samples": "samples",
            "diagonal": "diagonal_weight",
            "consistency": "consistency_weight",
            "diagonal_power": "p_diagonal",
            "consistency_power": "p_consistency",
            "softening": "c_adaptive",
        },
        {
            "critic_loss": ("critic_loss", None),
            "flow_loss": ("flow_loss", None),
            "diagonal_loss": ("diagonal_loss", "diagonal"),
            "consistency_loss": ("consistency_loss", "consistency"),
        },
    ),
    "fql": Names(
        {"flow": "actor_bc_flow", "actor": "actor_onestep_flow", "critic": "critic"},
        {"alpha": "alpha"},
        {
            "critic/critic_loss": ("critic_loss", None),
            "actor/bc_flow_loss": ("flow_loss", None),
            "actor/distill_loss": ("distill_loss", "alpha"),
        },
    ),
    "ifql": Names(
        {"flow": "actor_flow", "critic": "critic", "value": "value"},
        {"expectile": "kappa", "samples": "num_samples"},
        {
            "value/value_loss": ("value_loss", None),
            "critic/critic_loss": ("critic_loss", None),
            "actor/actor_loss": ("flow_loss", None),
        },
        alone=True,
    ),
    "fbrac": Names(
        {"flow": "actor_flow", "critic": "critic"},
        {"alpha": "alpha"},
        {"critic/critic_loss": ("critic_loss", None), "actor/bc_flow_loss": ("flow_loss", None)},
    ),
    "fedit": Names(
        {"flow": "actor_bc_flow", "critic": "critic", "edit": "edit_actor", "temperature": "alpha"},
        {"edit_scale": "edit_scale"},
        {"critic/critic_loss": ("critic_loss", None), "actor/bc_flow_loss": ("flow_loss", None), **EDIT_TERMS},
    ),
    "dsrl": Names(
        {
            "flow": "actor_bc_flow",
            "critic": "critic",
            "noise_critic": "z_critic",
            "actor": "actor",
            "temperature": "alpha",
        },
        {"noise_scale": "noise_scale"},
        {
            "critic/critic_loss": ("critic_loss", None),
            "critic/distill_loss": ("distill_loss", None),
            "actor/flow_loss": ("flow_loss", None),
            "actor/actor_loss": ("actor_loss", None),
            "actor/alpha_loss": ("temperature_loss", None),
        },
    ),
    "qam": Names(QAM_MODULES, QAM_SETTINGS, QAM_TERMS),
    "qam_e": Names(
        QAM_MODULES | EDIT_MODULES, QAM_SETTINGS | {"edit_scale": "edit_scale"}, QAM_TERMS | EDIT_TERMS, {"edit": True}
    ),
    "qam_f": Names(
        QAM_MODULES | {"actor": "one_step_actor"},
        QAM_SETTINGS | {"alpha": "fql_alpha"},
        QAM_TERMS | {"actor/fql_distill_loss": ("distill_loss", "alpha"), "actor/fql_q_loss": ("q_loss", None)},
        {"distil": True},
    ),
    "cgql": Names(CGQL_MODULES, CGQL_SETTINGS, CGQL_TERMS),
    "cgql_m": Names(CGQL_MODULES, NOISY_SETTINGS, NOISY_TERMS),
    "cgql_l": Names(CGQL_MODULES, NOISY_SETTINGS, NOISY_TERMS),
    "rebrac": Names(
        {"actor": "actor", "critic": "critic"},
        {"alpha": "alpha_actor", "actor_noise": "actor_noise", "noise_clip": "actor_noise_clip"},
        {
            "critic/critic_loss": ("critic_loss", None),
            "actor/actor_loss": ("actor_loss", None),
            "actor/bc_loss": ("bc_loss", None),
        },
    ),
}

INNER = {"mean_net": "mean", "OutputDenseMean": "mean", "OutputDenseLogStd": "log_std"}
WRAPPERS = {"mlp", "value_net", "actor_net", "MLP_0"}


def method_name(config: Mapping[str, Any]) -> str:
    """Which method a file is of, by its configuration alone."""
    if "variant" in config:
        return f"qpilots_{config['variant']}"
    name = config["agent_name"]
    if name == "qam":
        return "qam_e" if config.get("edit_scale", 0) > 0 else "qam_f" if config.get("fql_alpha", 0) > 0 else "qam"
    if name == "cgql":
        return {"simple": "cgql", "mse": "cgql_m", "linex": "cgql_l"}[config["mode"]]
    return name


@dataclass
class FixedDraw:
    """Numbers that depend on the number of elements alone, whatever their name; the same at each of K steps."""

    def normal(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> jax.Array:
        return self._fixed(lambda u: norm.ppf(0.01 + 0.98 * u), 0.6180339887498949, shape, steps)

    def uniform(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> jax.Array:
        return self._fixed(lambda u: u, 0.7548776662466927, shape, steps)

    def scope(self, prefix: str) -> FixedDraw:
        return self

    def _fixed(self, law: Callable, ratio: float, shape: tuple[int, ...], steps: int | None) -> jax.Array:
        numbers = law(np.arange(1, np.prod(shape) + 1) * ratio % 1.0).reshape(shape)
        return jnp.asarray(numbers if steps is None else np.stack([numbers] * steps), jnp.float32)


@dataclass
class NamedDraw:
    """The numbers that the file holds by the name of their use."""

    arrays: Arrays
    prefix: str = ""
    asked: set[str] = field(default_factory=set)

    def normal(self, name: str, shape: tuple[int, ...], steps: int | None = None) -> jax.Array:
        numbers = self.arrays[f"draws/{self.prefix}{name}"]
        assert numbers.shape == (shape if steps is None else (steps, *shape)), name
        self.asked.add(self.prefix + name)
        return jnp.asarray(numbers)

    uniform = normal

    def scope(self, prefix: str) -> NamedDraw:
        return NamedDraw(self.arrays, self.prefix + prefix, self.asked)


class Golden:
    """One file: its agent, parameters, batch and draws, in our names."""

    def __init__(self, file: Path) -> None:
        with np.load(file, allow_pickle=False) as stored:
            self.arrays: Arrays = {name: stored[name] for name in stored.files}
        self.config: dict[str, Any] = json.loads(bytes(self.arrays["config_json"]).decode())
        self.method = method_name(self.config)
        assert self.method in methods.names(), f"{file.name} is of the method {self.method!r}, which does not exist"
        assert self.method in TABLE, f"the table of golden names has no row for {self.method!r}"
        self.names = TABLE[self.method]
        self.agent = self._agent()

    def widths(self, module: str) -> tuple[int, ...]:
        """Hidden widths, read from the shapes of the kernels; a module's last Dense is its output."""
        path = f"params/modules_{module}/"
        kernels = [key for key in self.arrays if key.startswith(path) and "/Dense_" in key and key.endswith("/kernel")]
        kernels.sort(key=lambda key: int(key.split("/Dense_")[1].split("/")[0]))
        sizes = tuple(self.arrays[key].shape[-1] for key in kernels)
        heads = any(f"{path}{name}/kernel" in self.arrays for name in INNER)
        return sizes if heads else sizes[:-1]

    def problem(self) -> Problem:
        actions = self.arrays["batch/actions"]
        actor = self.names.modules.get("flow", self.names.modules.get("actor", ""))
        critic = self.names.modules["critic"]
        heads = next(a.shape[0] for key, a in self.arrays.items() if key.startswith(f"params/modules_{critic}/"))
        backbone = Backbone(
            **BACKBONES[self.config.get("backbone", "reference")],
            actor_widths=self.widths(actor),
            value_widths=self.widths(critic),
            heads=heads,
            actor_layer_norm=self.config.get("actor_layer_norm", False),
            value_layer_norm=self.config.get("value_layer_norm", True),
        )
        return Problem(
            observation=Space.array(*self.arrays["batch/observations"].shape[1:]),
            action_size=actions.shape[2],
            chunk_length=actions.shape[1],
            discount=self.config["discount"],
            pessimism=self.config["rho"],
            flow_steps=self.config.get("flow_steps", self.config.get("steps", 1)),
            backbone=backbone,
        )

    def _agent(self) -> agents.Agent:
        cls = methods.load(self.method)
        settings = {ours: self.config[theirs] for ours, theirs in self.names.settings.items()} | self.names.fixed
        method = cls(**settings, best_of_n=self.config.get("best_of_n", 1))
        optimiser = agents.Optimiser(
            learning_rate=self.config["lr"],
            target_rate=self.config.get("target_rate", self.config.get("tau", 0.005)),
            clip_norm=cls.clip_norm,
            batch_size=self.arrays["batch/actions"].shape[0],
        )
        return assembly.build(method, method.value, self.problem(), optimiser)

    def trees(self, group: str, target: bool = False) -> agents.Trees:
        """Parameters, gradients or updated parameters of our networks; or of their averaged copies."""
        wanted = {name: net for name, net in self.agent.networks.items() if not target or name in self.agent.averaged}
        return {name: self._tree(group, name, target, net) for name, net in wanted.items()}

    def _tree(self, group: str, name: str, target: bool, network: Any) -> Any:
        prefix = f"{group}/modules_{'target_' if target else ''}{self.names.modules[name]}/"
        found = {
            tuple(INNER.get(part, part) for part in key[len(prefix) :].split("/") if part not in WRAPPERS): array
            for key, array in self.arrays.items()
            if key.startswith(prefix)
        }
        like = jax.eval_shape(network.init, jax.random.PRNGKey(0))

        def leaf(path: Any, shape: jax.ShapeDtypeStruct) -> jax.Array:
            array = found.pop(tuple(part.key for part in path if part.key != "mlp"))
            assert array.shape == shape.shape, (name, path)
            return jnp.asarray(array)

        tree = jax.tree_util.tree_map_with_path(leaf, like)
        assert not found, f"{name}: {sorted(found)} have no place in our network"
        return tree

    def batch(self, rows: slice = slice(None)) -> Batch:
        batch = {key[6:]: jnp.asarray(array[rows]) for key, array in self.arrays.items() if key.startswith("batch/")}
        return Batch(
            obs=batch["observations"],
            chunk=batch["actions"].reshape(len(batch["actions"]), -1),
            reward=batch["rewards"][:, -1],
            mask=batch["masks"][:, -1],
            valid=batch["valid"][:, -1],
            next_obs=batch["next_observations"][:, -1],
        )

    def draw(self) -> Any:
        return NamedDraw(self.arrays) if "variant" in self.config else FixedDraw()
