"""What a pretrained model's generation_config.json says of how its texts end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from transformers.utils import GENERATION_CONFIG_NAME, cached_file

from rltf.config import UserError, first_line

FILE = GENERATION_CONFIG_NAME


def read(source: str) -> str:
    """The generation_config.json of a model folder or hub name as it is; empty where there is none.

    Raises UserError when it cannot be read, or is none.
    """
    try:
        path = cached_file(str(Path(source).expanduser()), FILE, _raise_exceptions_for_missing_entries=False)
        text = Path(path).read_text() if path else ""
    except (OSError, ValueError) as error:
        raise UserError(f"the {FILE} of {source} cannot be read: {first_line(error)}") from error
    if text:
        _ends(text, source)
    return text


def read_extra_stop_ids(text: str, model_config: Any, eos_id: int) -> tuple[int, ...]:
    """Token ids that end a text beside `eos_id`, ascending: those of generation_config.json, and, as transformers does
    where there is none, those that config.json names. Ids without a row in the vocabulary are left out.
    """
    # What the class sets by itself says nothing of this model.
    ids = _ends(text, "the model") if text else _listed(model_config.to_diff_dict().get("eos_token_id"))
    return tuple(sorted({index for index in ids if 0 <= index < model_config.vocab_size} - {eos_id}))


def _ends(text: str, source: str) -> list[int]:
    try:
        ids = _listed(json.loads(text).get("eos_token_id"))
    except (ValueError, AttributeError) as error:
        raise UserError(f"the {FILE} of {source} is no JSON object: {first_line(error)}") from error
    if not all(isinstance(index, int) for index in ids):
        raise UserError(f"the {FILE} of {source}: eos_token_id is to be a token id or a list of them, not {ids}")
    return ids


def _listed(ids: Any) -> list[Any]:
    return [] if ids is None else list(ids) if isinstance(ids, list) else [ids]
