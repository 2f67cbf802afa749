"""Every model in turn: load it, let each suite look at it, let it go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from finetune_engine.errors import EngineError, UserError
from finetune_engine.evaluate.asking.answers import ModelAnswers, asks_labels
from finetune_engine.evaluate.asking.asker import FATAL, Answer, Asker
from finetune_engine.evaluate.asking.endpoint import EndpointAsker
from finetune_engine.evaluate.asking.local import LocalAsker
from finetune_engine.evaluate.asking.store import AnswerStore
from finetune_engine.evaluate.progress import Progress
from finetune_engine.evaluate.spec import EvaluateSpec, ModelSpec
from finetune_engine.evaluate.suites.chosen import suites_of
from finetune_engine.evaluate.suites.quality import Quality, room_for
from finetune_engine.evaluate.suites.suite import Bench, Suite
from finetune_engine.train.local.load import LoadedModel, attach_adapter, detach_adapter, load_base

PHASES = {
    "quality": "evaluating",
    "performance": "measuring speed",
    "robustness": "trying odd inputs",
    "fairness": "checking fairness",
    "cost": "counting costs",
    "capabilities": "looking for what was forgotten",
}


@dataclass
class Observed:
    """What has been seen, by model key in the order of the spec. ``left_out`` has suites that could not be carried out, with
    the reason; ``regressions`` the answers to the must-not-forget cases."""

    answers: dict[str, ModelAnswers] = field(default_factory=dict)
    suites: dict[str, dict[str, Any]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    regressions: dict[str, list[Answer]] = field(default_factory=dict)
    template_sha256: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    dtype: dict[str, str] = field(default_factory=dict)
    device: dict[str, str] = field(default_factory=dict)


def observe_all(bench: Bench, store: AnswerStore) -> tuple[Observed, list[Suite]]:
    """Show every model to every suite. Raises UserError for a model that cannot be asked, ports.Stopped."""
    spec, run = bench.spec, bench.run
    suites = suites_of(spec.suites)
    with_labels = asks_labels(bench.cases, spec.task_type)
    if spec.task_type == "classification" and not with_labels and len(bench.cases.train_labels) >= 2:
        bench.warn("too_many_labels", "Label likelihoods are left out: too many cases and labels.")
    _warn_of_missing_examples(bench)
    planned = _planned(bench, suites)
    watch = Progress(run, sum(planned.values()) * len(spec.models))
    seen = Observed()
    for model, asker in _askers(bench, store, watch):
        seen.digests[model.key] = asker.digest
        if isinstance(asker, LocalAsker):
            loaded = asker.loaded
            seen.template_sha256[model.key] = loaded.template_sha256
            seen.dtype[model.key] = str(loaded.dtype).removeprefix("torch.")
            seen.device[model.key] = str(loaded.device)
        run.emit("phase", phase=PHASES["quality"], model=model.key)
        with watch.part(planned["quality"]):
            seen.answers[model.key] = Quality().observe(bench, asker)
        with watch.part(planned["regressions"]):
            seen.regressions[model.key] = _must_not_forget(bench, asker)
        for suite in suites:
            with watch.part(planned[suite.name]):
                _observe(bench, suite, asker, seen)
    return _in_order(spec, seen), [suite for suite in suites if suite.name not in seen.left_out]


def _planned(bench: Bench, suites: Sequence[Suite]) -> dict[str, int]:
    planned = {"quality": Quality().questions(bench), "regressions": len(bench.spec.regressions)}
    return planned | {suite.name: max(0, suite.questions(bench)) for suite in suites}


def _warn_of_missing_examples(bench: Bench) -> None:
    there = len(bench.cases.examples)
    for model in bench.spec.models:
        wanted = model.prompt.shots if model.prompt is not None else 0
        if wanted > there:
            message = (
                f"{model.name}: {wanted} solved examples were asked for, and the training data has {there} to show."
            )
            bench.warn("few_examples", message)


def _must_not_forget(bench: Bench, asker: Asker) -> list[Answer]:
    """The answers to the must-not-forget cases. They may be longer than any right answer of the data, and get the room for it."""
    cases = bench.spec.regressions
    if not cases:
        return []
    questions = [case.messages for case in cases]
    room = bench.max_new_tokens
    if bench.spec.max_new_tokens is None:
        room = max(room, room_for(asker, questions, [case.expected for case in cases]))
    return asker.answer(questions, max_new_tokens=room)


def _observe(bench: Bench, suite: Suite, asker: Asker, seen: Observed) -> None:
    """One suite and one model. What a person can mend leaves the suite out, and the rest goes on."""
    if suite.name in seen.left_out:
        return
    bench.run.emit("phase", phase=PHASES.get(suite.name, suite.name), model=asker.spec.key)
    try:
        seen.suites.setdefault(suite.name, {})[asker.spec.key] = suite.observe(bench, asker)
    except UserError as error:
        if error.code in FATAL:
            raise
        leave_out(bench, seen, suite.name, f"{asker.spec.name}: {error.sentence}")


def leave_out(bench: Bench, seen: Observed, suite: str, reason: str) -> None:
    """Note that a suite which was asked for is missing from the report, and why; tell the person now."""
    seen.left_out[suite] = reason
    bench.warn("suite_left_out", f"The part '{suite}' is left out, because {reason}")


def _askers(bench: Bench, store: AnswerStore, watch: Progress) -> Iterator[tuple[ModelSpec, Asker]]:
    """Each model ready to be asked, those on the same base after each other, so that no base is loaded twice."""
    base: LoadedModel | None = None
    for model in _by_base(bench.spec.models):
        bench.check()
        if model.endpoint is not None:
            with _closing(EndpointAsker(model, store=store, watch=watch, examples=bench.cases.examples)) as remote:
                yield model, remote
            continue
        bench.run.emit("phase", phase="loading model", model=model.key)
        if base is None or base.ref != model.base:
            base = None  # frees the memory first
            base = load_base(_ref(model))
        loaded = base if model.adapter is None else attach_adapter(base, model.adapter, name=model.key)
        yield model, LocalAsker(model, loaded, store=store, watch=watch, examples=bench.cases.examples)
        if loaded is not base:
            detach_adapter(loaded)


@contextmanager
def _closing(asker: EndpointAsker) -> Iterator[EndpointAsker]:
    try:
        yield asker
    finally:
        asker.close()


def _by_base(models: Sequence[ModelSpec]) -> list[ModelSpec]:
    """In the order of the spec, but models of one base together."""
    first: dict[Any, int] = {}
    for position, model in enumerate(models):
        first.setdefault(model.base, position)
    return sorted(models, key=lambda model: first[model.base])


def _ref(model: ModelSpec) -> Any:
    if model.base is None:
        raise EngineError("internal", f"{model.key} has neither a base model nor an endpoint")
    return model.base


def _in_order(spec: EvaluateSpec, seen: Observed) -> Observed:
    def ordered(found: Mapping[str, Any]) -> dict[str, Any]:
        return {model.key: found[model.key] for model in spec.models if model.key in found}

    seen.answers, seen.regressions = ordered(seen.answers), ordered(seen.regressions)
    seen.suites = {name: ordered(found) for name, found in seen.suites.items()}
    return seen
