"""The starter tasks: what is promised of them, of their tests, and of the corpus with bugs."""

import collections
import random

import pytest

from rltf.problems import corpus_of, load_problems, prompt_of
from rltf.problems.starter.operations import OPERATIONS
from rltf.problems.starter.reducers import REDUCERS
from rltf.problems.starter.tasks import Task, program_text, starter_problems
from tests.support.starter_programs import passes


@pytest.fixture(scope="module")
def train():
    return load_problems("starter")


@pytest.fixture(scope="module")
def heldout():
    return load_problems("starter,split=heldout")


def test_counts(train, heldout):
    assert len({operation.name for operation in OPERATIONS}) >= 20 and len({reducer.name for reducer in REDUCERS}) >= 8
    assert all(operation.meaning.endswith(".") and len(operation.phrases) >= 2 for operation in OPERATIONS)
    assert len(train) >= 2000 and len(heldout) >= 320 and not train.skipped and not heldout.skipped
    assert len({problem.id for problem in train}) == len({prompt_of(problem).text for problem in train}) == len(train)
    used = collections.Counter(name for problem in train for name in Task.from_id(problem.id).sequence)
    assert set(used) == {operation.name for operation in OPERATIONS} and min(used.values()) > 50
    for problems in (train, heldout):
        assert 0.75 < sum(problem.suite.kind == "call" for problem in problems) / len(problems) < 0.85


def test_held_out_tasks_share_no_operation_sequence_with_training_ones(train, heldout):
    trained = {Task.from_id(problem.id).sequence for problem in train}
    for seed in (0, 1):  # whatever seed either was drawn from
        tasks = [Task.from_id(problem.id) for problem in starter_problems("heldout", seed)]
        assert not trained & {task.sequence for task in tasks}
        assert len({task.id for task in tasks}) == len(tasks)
    assert not {prompt_of(problem).text for problem in train} & {prompt_of(problem).text for problem in heldout}


def test_tasks_are_the_same_in_every_process_and_differ_by_seed():
    first = [next(starter_problems("train", seed)) for seed in (0, 0, 1)]
    assert first[0] == first[1] != first[2]
    assert (
        first[0].id == "starter/call/negate/reverse/last"
        and first[0].suite.content_hash == "a2dcb6fb025e34ae8c01a8b66dad681d"
    )


def test_ids_tell_the_task(train):
    for problem in train.problems[:200]:
        assert Task.from_id(problem.id).id == problem.id
    for wrong in (
        "train/0001",
        "starter/call/sum",
        "starter/call/fly/sum",
        "starter/call/add-x/sum",
        "starter/pipe/sort/sum",
    ):
        with pytest.raises(ValueError, match="not the id of a starter task"):
            Task.from_id(wrong)


def test_every_task_has_enough_tests_the_empty_list_among_them(train, heldout):
    for problem in (*train, *heldout):
        empty = [[]] if problem.suite.kind == "call" else "\n"
        assert problem.suite.count >= 5 and empty in problem.suite.inputs


def test_no_constant_program_passes_two_in_a_hundred_tasks(train, heldout):
    for problems in (train, heldout):
        always = (
            collections.Counter()
        )  # answers that all tests of a task share: only those could a constant program pass
        for problem in problems:
            answers = {str(output) for output in problem.suite.outputs}
            always.update(answers if len(answers) == 1 else ())
        assert sum(count for _, count in always.most_common(1)) <= 0.02 * len(problems)


def test_no_program_without_the_operations_passes_two_in_a_hundred_tasks(heldout):
    for reducer in REDUCERS:
        call, stdin = (
            f"def f(xs):\n    return {reducer.right[0]}\n",
            f"xs = list(map(int, input().split()))\nprint({reducer.right[0]})\n",
        )
        passed = sum(passes(problem, call if problem.suite.kind == "call" else stdin) for problem in heldout)
        assert passed <= 0.02 * len(heldout), reducer.name


def test_references_pass(train, heldout):
    for problem in (*train.problems[::4], *heldout):
        assert all(passes(problem, program) for program in problem.solutions), problem.id


def test_every_right_variant_is_right_and_every_wrong_one_fails_where_it_can(train, capsys):
    caught: dict[tuple[str, str], list[bool]] = collections.defaultdict(list)
    for problem in train.problems[:900]:
        task = Task.from_id(problem.id)
        lines = task.lines()
        right = [line.right[0] for line in lines]
        kinds = [f"begin {task.form}", *task.sequence, f"finish {task.form} {task.reducer.name}"]
        for position, (line, kind) in enumerate(zip(lines, kinds, strict=True)):
            for variant in line.right[1:]:
                program = program_text(task.form, [*right[:position], variant, *right[position + 1 :]])
                assert passes(problem, program), f"{problem.id}\n{program}"
            for number, variant in enumerate(line.wrong):
                program = program_text(task.form, [*right[:position], variant, *right[position + 1 :]])
                caught[kind, f"{number}: {variant if kind.startswith(('begin', 'finish')) else ''}"].append(
                    not passes(problem, program)
                )
    assert len(caught) >= 3 * (len(OPERATIONS) + len(REDUCERS))
    assert all(any(seen) for seen in caught.values()), [name for name, seen in caught.items() if not any(seen)]
    # Ten tests find nearly every mistake: what passes by luck would teach that the mistake is right.
    everything = [seen for values in caught.values() for seen in values]
    assert sum(everything) > 0.97 * len(everything)
    # At most one in ten kinds of mistake passes on more than a quarter of its tasks (a set has no order, and a sum
    # needs none).
    assert sum(sum(seen) < 0.75 * len(seen) for seen in caught.values()) < 0.1 * len(caught)


def test_the_corpus_has_bugs_on_each_line_and_is_right_for_a_fifth(train, heldout, capsys):
    for problems in (train, heldout):
        by_prompt = {prompt_of(problem).text: problem for problem in problems}
        corpus, rng = corpus_of(problems), random.Random(1)
        drawn = [corpus.draw(rng) for _ in range(2500)]
        share = sum(passes(by_prompt[prompt.text], program) for prompt, program in drawn) / len(drawn)
        assert 0.15 < share < 0.25
    for operation in OPERATIONS:
        assert 0.3 <= operation.line.wrong_probability <= 0.7


def test_the_corpus_is_drawn_from_its_seed_alone_and_never_gives_a_reference(train):
    corpus = corpus_of(train)
    drawn = [corpus.draw(random.Random(7)) for _ in range(2)]
    assert drawn[0] == drawn[1]
    rng = random.Random(3)
    references = {program for problem in train for program in problem.solutions}
    assert not references & {corpus.draw(rng)[1] for _ in range(5000)}


def test_prompts_and_programs_are_short_for_a_small_tokenizer(train):
    tokenizers = pytest.importorskip("tokenizers")
    corpus, rng = corpus_of(train), random.Random(0)
    pairs = [corpus.draw(rng) for _ in range(2000)]
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=384, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator([prompt.text + program for prompt, program in pairs], trainer)
    prompts = [len(tokenizer.encode(prompt.text).ids) for prompt, _ in pairs]
    programs = [len(tokenizer.encode(program).ids) for _, program in pairs]
    assert sum(prompts) / len(prompts) < 45 and max(prompts) < 100
    assert sum(programs) / len(programs) < 55 and max(programs) < 120
