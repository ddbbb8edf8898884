"""The configuration of a run: one frozen model per part, a sentence under each field.

The sentence under a field is its documentation and its ``--help`` text. Nothing here imports torch, Ray or a room of
the project, so every process, an executor node's too, can read it.
"""

from rltf.config.base import ConfigSection, UserError, first_line
from rltf.config.buffer import BufferConfig, RedisConfig
from rltf.config.choice import chosen, suggest
from rltf.config.credit import CreditConfig
from rltf.config.disk import (
    REPLACED,
    DiskFailure,
    atomic_write,
    disk_sentence,
    fsync_path,
    gone_on_failure,
    or_disk_failure,
    replace_atomically,
    saving,
    try_lock,
    write_atomically,
    writing,
)
from rltf.config.evaluation import EvaluatedConfig, EvaluationConfig, EvaluationSet
from rltf.config.learner import LearnerConfig, WarmStartConfig
from rltf.config.objectives import (
    SUPERVISED,
    AdvantageConfig,
    Baseline,
    GrpoConfig,
    Guards,
    Normalise,
    ObjectiveConfig,
    PpoClipConfig,
    ReinforceConfig,
    RlooConfig,
    RltfConfig,
)
from rltf.config.prompt import PromptConfig
from rltf.config.reading import load, preset
from rltf.config.root import DETERMINISTIC, Config
from rltf.config.run import CheckpointConfig, RayConfig, RestartConfig, RunConfig
from rltf.config.user_code import NO_CODE, UserCode, UserFunction, is_user_name, said, user_class
from rltf.config.workers import ActorsConfig, ExecutorConfig, PolicyConfig, ProblemsConfig

__all__ = [
    "NO_CODE",
    "UserCode",
    "UserFunction",
    "is_user_name",
    "said",
    "user_class",
    "chosen",
    "suggest",
    "SUPERVISED",
    "ActorsConfig",
    "AdvantageConfig",
    "Baseline",
    "BufferConfig",
    "CheckpointConfig",
    "Config",
    "CreditConfig",
    "DETERMINISTIC",
    "DiskFailure",
    "EvaluatedConfig",
    "EvaluationConfig",
    "EvaluationSet",
    "ExecutorConfig",
    "GrpoConfig",
    "Guards",
    "LearnerConfig",
    "Normalise",
    "ObjectiveConfig",
    "ConfigSection",
    "PolicyConfig",
    "PpoClipConfig",
    "ProblemsConfig",
    "PromptConfig",
    "REPLACED",
    "RayConfig",
    "RedisConfig",
    "ReinforceConfig",
    "RestartConfig",
    "RlooConfig",
    "RltfConfig",
    "RunConfig",
    "UserError",
    "WarmStartConfig",
    "atomic_write",
    "disk_sentence",
    "first_line",
    "gone_on_failure",
    "load",
    "or_disk_failure",
    "preset",
    "replace_atomically",
    "saving",
    "try_lock",
    "fsync_path",
    "write_atomically",
    "writing",
]
