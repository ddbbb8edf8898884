"""`show-prompt`: what the model reads of a problem set's problems, as text and as tokens."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console

from rltf import config as configuration
from rltf.config import UserError
from rltf.driver.commands.command import Arguments, spec
from rltf.driver.stopping import stopping
from rltf.program import DONE

SENTENCE = "Print the prompts of a problem set as the model reads them, as text and as tokens."
_TOKENS = "800"
_READS = (
    "prompt",
    "policy.model",
    "policy.tokenizer",
    f"policy.max_prompt_tokens {_TOKENS}",
    "problems.prompt_style",
    "problems.shown_tests",
    "run.code",
    "run.seed",
)


def run(arguments: Sequence[str], console: Console) -> int:
    """DONE, also when a prompt cannot be made to fit, which is told."""
    parser = Arguments("show-prompt", SENTENCE, _READS)
    parser.add_argument("spec", metavar="SPEC", help=spec())
    parser.add_argument("--count", type=int, default=1, metavar="N", help="how many to print, the first (default: 1)")
    known, overrides = parser.read(arguments)
    if known.count < 1:
        raise UserError(f"--count {known.count}: print at least one prompt")
    config = configuration.load(None, {"policy.max_prompt_tokens": _TOKENS} | overrides)
    from rltf.driver.extras import require

    require("train", "show-prompt")
    console.print("Loading torch ...")
    from rltf.config.user_code import UserCode
    from rltf.driver.prompt_view import show
    from rltf.policy.policy import build_shape, make_spec
    from rltf.problems import corpus_of, load_problems, tokenizer_texts

    stopping.work()
    UserCode.read(config.run.code).install()
    asked = config.problems
    problems = load_problems(
        known.spec, seed=config.run.seed, shown_tests=asked.shown_tests, prompt_style=asked.prompt_style
    )
    trained = not config.policy.model and config.policy.tokenizer == "train"
    texts = tokenizer_texts(corpus_of(problems), config.run.seed) if trained else []
    policy = build_shape(make_spec(config.policy, texts, config.prompt))
    for problem in problems.problems[: known.count]:
        show(policy, problem, console)
    return DONE
