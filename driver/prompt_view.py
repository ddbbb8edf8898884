"""A prompt for people: its text and its tokens, special ones marked."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console
from rich.text import Text

from rltf.policy.encoding import PromptTooLong, encode_prompt, prompt_text
from rltf.policy.policy import Policy
from rltf.problems import Problem, prompt_of
from rltf.problems.extraction import rule_of, stops_of
from rltf.telemetry.console import print_error


def show(policy: Policy, problem: Problem, console: Console) -> None:
    """Prints the prompt of a problem as `policy` reads it, with its lengths, and what is made of responses to it.

    Special tokens stand in double brackets and are shown inverted.
    """
    prompt, spec = prompt_of(problem), policy.spec
    chat = spec.chat is not None
    whole = encode_prompt(replace(policy, spec=replace(spec, max_prompt_tokens=2**31)), prompt)
    try:
        ids = encode_prompt(policy, prompt)
    except PromptTooLong as error:
        print_error(f"{problem.id}: {error}")
        return
    cut = f", its question cut, else {len(whole):,}" if len(ids) < len(whole) else ""
    stops = ", ".join(map(repr, stops_of(spec.prompt, prompt, chat))) or "the model's end tokens alone"
    for line in (
        f"{problem.id}: {len(prompt_text(policy, prompt)):,} characters, {len(ids):,} tokens{cut}",
        f"style {problem.prompt_style}, {'in the chat template' if chat else 'raw text'}; program of a response: "
        f"{rule_of(spec.prompt, prompt, chat)}; it ends at {stops}",
    ):
        console.print(line, style="bold", markup=False, highlight=False, soft_wrap=True)
    text, tokens, plain = Text(), Text(), list[int]()
    for index in [*ids, None]:
        if index is not None and index not in policy.pieces.without_text:
            plain.append(index)  # decoded together: a character may be of several tokens
            tokens.append(f"{index} {policy.tokenizer.decode([index])!r}  ")
            continue
        text.append(policy.tokenizer.decode(plain))
        plain = []
        if index is not None:
            name = f"⟦{policy.tokenizer.convert_ids_to_tokens(index)}⟧"
            text.append(name, style="reverse")
            tokens.append(f"{index} {name}  ", style="reverse")
    console.print(text, soft_wrap=True)
    console.print(tokens, soft_wrap=True)
