"""What the votes of a review amount to. Worked out once when it is closed and kept; before that only who has done how much."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from accounts_app.permissions import Actor
from evaluation_app.choices import Bucket, Choice, ReviewKind, ReviewState
from evaluation_app.models import Evaluation, Review, ReviewItem, Vote
from evaluation_app.queries.review_cases import model_names
from finetune_engine.evaluate.people import blind
from finetune_engine.evaluate.people.judge_and_people import agreement_with_humans
from finetune_engine.evaluate.statistics.agreement import agreement
from finetune_engine.evaluate.statistics.intervals import bootstrap, wilson
from finetune_engine.evaluate.statistics.percent import percent

MARKS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class ReviewResults:
    """The results of a review. Everything from ``models`` on is empty while it is open, so that nobody is unblinded.

    ``raters`` is ``[{rater, name, votes, median_seconds}]``. ``meter`` (pairs) counts decisive items and says nothing of
    who leads. ``pairs`` has the win rates of the first model of ``models`` by items and by votes, of the ``hardest`` bucket
    (never in the others), by stratum, and which items were undecided or decided on. ``rubric`` has the mean of each
    question with its interval. ``unchanged`` is the share of answers that needed no correction, where that was asked.
    ``judge`` says how far the report's own judge decides as these people (see ``agreement_with_humans``).
    """

    review: str
    name: str
    kind: str
    is_closed: bool
    items: int
    hardest_items: int
    raters_per_item: int
    votes: int
    complete_items: int
    raters: list[dict[str, Any]] = field(default_factory=list)
    lead: dict[str, Any] = field(default_factory=dict)
    meter: dict[str, Any] | None = None
    closed_at: str = ""
    models: list[dict[str, str]] = field(default_factory=list)
    pairs: dict[str, Any] | None = None
    agreement: dict[str, Any] | None = None
    rubric: list[dict[str, Any]] = field(default_factory=list)
    corrections: int = 0
    unchanged: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class HumanVerdict:
    """What people said of an evaluation's answers, from its newest closed review. ``sentence`` sums it up;
    ``win_rate`` is of the model named ``model`` (pairs), ``unchanged`` see ``ReviewResults``."""

    review: str
    name: str
    kind: str
    closed_at: str
    model: str
    against: str
    items: int
    raters: int
    sentence: str
    win_rate: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    p_value: float | None = None
    decisive: int = 0
    is_enough: bool = False
    percent_agreement: float | None = None
    alpha: float | None = None
    ac1: float | None = None
    agreement_sentence: str = ""
    rubric: list[dict[str, Any]] = field(default_factory=list)
    unchanged: dict[str, Any] | None = None
    judge: dict[str, Any] | None = None

    def as_dict(self) -> dict[str, Any]:
        """For JSON, and as the ``human`` of the business figures."""
        return asdict(self)


def winner(keys: Sequence[str], choice: str, left_key: str) -> str:
    """What a vote on a pair says whatever the sides: the key of the better answer, ``tie`` or ``both_bad``."""
    if choice in (Choice.TIE, Choice.BOTH_BAD):
        return str(choice)
    right_key = next((key for key in keys if key != left_key), left_key)
    return left_key if choice == Choice.LEFT else right_key


def rater_turns(review: Review, rater: str) -> dict[str, bool]:
    """All items of the review in this rater's own order, each with whether the first model stands on the right."""
    items = list(ReviewItem.objects.filter(review=review).order_by("number").values_list("pk", flat=True))
    return {turn.item: turn.is_swapped for turn in blind.turns(items, seed=review.seed, rater=rater)}


def sides_for_decision(review: Review, items: Sequence[ReviewItem], actor: Actor) -> dict[str, tuple[str, str]]:
    """The models on the left and right of these pairs, by item, for whoever has the last word: drawn anew, so that no
    rater's sides show. One query."""
    if not items:
        return {}
    who = f"decision:{actor.user.pk if actor.user else actor.api_key.pk if actor.api_key else ''}"
    turns = rater_turns(review, who)
    first, second = review.keys
    return {item.pk: (second, first) if turns[item.pk] else (first, second) for item in items}


def review_results(review: Review) -> ReviewResults:
    """What may be known of a review now: the kept results once it is closed, before that only the progress."""
    if review.state == ReviewState.CLOSED:
        known = {one.name for one in fields(ReviewResults)}
        kept = ReviewResults(**{name: value for name, value in review.results.items() if name in known})
        return _with_names(kept)
    return _with_names(_Reading(review).progress())


def measured_results(review: Review) -> ReviewResults:
    """The whole results from the votes, for keeping them. Not for anybody's eyes while the review is open."""
    return _Reading(review).results()


def human_verdict(evaluation: Evaluation) -> HumanVerdict | None:
    """What people said: from the newest closed review of pairs, which alone says who is better, else from the newest closed one
    of another kind. None when none is closed. One query."""
    closed = list(Review.objects.filter(evaluation=evaluation, state=ReviewState.CLOSED).order_by("-closed_at", "-pk"))
    if not closed:
        return None
    review = next((one for one in closed if one.kind == ReviewKind.PAIRS), closed[0])
    results = ReviewResults(
        **{f.name: review.results[f.name] for f in fields(ReviewResults) if f.name in review.results}
    )
    return _verdict(results)


class _Reading:
    """The votes of one review, read once."""

    def __init__(self, review: Review) -> None:
        self._review = review
        self._items = list(ReviewItem.objects.filter(review=review).order_by("number"))
        self._votes = list(Vote.objects.filter(item__review=review).order_by("pk"))
        self._by_item: dict[str, list[Vote]] = {item.pk: [] for item in self._items}
        for vote in self._votes:
            self._by_item[vote.item_id].append(vote)
        self._sample = [item for item in self._items if item.bucket == Bucket.SAMPLE]
        self._hardest = [item for item in self._items if item.bucket == Bucket.HARDEST]

    def progress(self) -> ReviewResults:
        """Who has done how much."""
        review = self._review
        return ReviewResults(
            review=review.pk,
            name=review.name,
            kind=review.kind,
            is_closed=False,
            items=len(self._sample),
            hardest_items=len(self._hardest),
            raters_per_item=review.raters_per_item,
            votes=len(self._votes),
            complete_items=sum(len(votes) >= review.raters_per_item for votes in self._by_item.values()),
            raters=self._raters(),
            lead=_lead(self._votes),
            meter=self._meter(with_wins=False),
        )

    def results(self) -> ReviewResults:
        """Everything."""
        review, names = self._review, model_names(self._review.evaluation)
        told = self.progress().as_dict() | {
            "is_closed": True,
            "meter": self._meter(with_wins=True),
            "models": [{"key": key, "name": names.get(key, key)} for key in review.keys],
            "corrections": sum(bool(vote.correction) for vote in self._votes),
        }
        if review.kind == ReviewKind.PAIRS:
            told |= {"pairs": self._pairs(), "agreement": self._agreement(), "judge": self._judge()}
        elif review.kind == ReviewKind.RUBRIC:
            told["rubric"] = [self._question(question) for question in review.rubric]
        else:
            told["unchanged"] = self._unchanged()
        return ReviewResults(**told)

    def _raters(self) -> list[dict[str, Any]]:
        by_rater: dict[str, list[Vote]] = {}
        for vote in self._votes:
            by_rater.setdefault(vote.rater, []).append(vote)
        return [{"rater": rater, "votes": len(votes), **_lead(votes)} for rater, votes in sorted(by_rater.items())]

    # --- pairs

    def _cast(self, items: Iterable[ReviewItem]) -> list[blind.CastVote]:
        subject = self._review.keys[0]
        return [
            blind.CastVote(item.pk, vote.rater, blind.result_of(vote.choice, left_key=vote.left_key, subject=subject))
            for item in items
            for vote in self._by_item[item.pk]
        ]

    def _decisions(self, items: Iterable[ReviewItem]) -> dict[str, blind.Result]:
        subject = self._review.keys[0]
        said: dict[str, blind.Result] = {"tie": "tie", "both_bad": "both_bad", subject: "win"}
        return {item.pk: said.get(item.decision, "loss") for item in items if item.decision}

    def _verdicts(self, items: Sequence[ReviewItem]) -> blind.ItemVerdicts:
        return blind.item_verdicts(self._cast(items), self._decisions(items))

    def _meter(self, *, with_wins: bool) -> dict[str, Any] | None:
        if self._review.kind != ReviewKind.PAIRS:
            return None
        rate = blind.win_rate_by_items(self._verdicts(self._sample))
        return blind.meter(rate.decisive, rate.wins if with_wins else None).as_dict()

    def _pairs(self) -> dict[str, Any]:
        verdicts = self._verdicts(self._sample)
        cast = self._cast(self._sample)
        numbers = {item.pk: item.number for item in self._items}
        strata = sorted({item.stratum for item in self._sample if item.stratum})
        return {
            "items": blind.win_rate_by_items(verdicts).as_dict(),
            "votes": blind.win_rate_by_votes(cast, seed=self._review.seed % 2**32).as_dict() if cast else None,
            "hardest": self._hardest_rate(),
            "strata": [
                {"stratum": name} | self._rate([item for item in self._sample if item.stratum == name])
                for name in strata
            ],
            "undecided": sorted(numbers[pk] for pk in self._verdicts(self._items).undecided),
            "adjudicated": sorted(item.number for item in self._items if item.decision),
            "sides": dict(Counter(vote.choice for vote in self._votes)),
        }

    def _rate(self, items: Sequence[ReviewItem]) -> dict[str, Any]:
        return blind.win_rate_by_items(self._verdicts(items)).as_dict()

    def _hardest_rate(self) -> dict[str, Any] | None:
        return self._rate(self._hardest) if self._hardest else None

    def _agreement(self) -> dict[str, Any]:
        keys = self._review.keys
        ratings = [
            [winner(keys, vote.choice, vote.left_key) for vote in self._by_item[item.pk]] for item in self._sample
        ]
        return agreement(ratings, categories=[*keys, "tie", "both_bad"]).as_dict()

    def _judge(self) -> dict[str, Any] | None:
        """How far the report's judge (a model) decides as these people; None unless it judged the same two models."""
        report = self._review.evaluation.report or {}
        told = (report.get("judge") or {}).get("votes") or []
        if not told or self._review.keys != [report.get("subject"), report.get("against")]:
            return None
        rows = {item.pk: item.row for item in self._sample}
        people = self._verdicts(self._sample).results
        return agreement_with_humans(told, [{"row": rows[pk], "choice": said} for pk, said in people.items()])

    # --- marks and corrections

    def _question(self, question: Mapping[str, Any]) -> dict[str, Any]:
        name = question["name"]
        by_item = [[vote.marks[name] for vote in self._by_item[item.pk] if name in vote.marks] for item in self._sample]
        means = [statistics.fmean(marks) for marks in by_item if marks]
        interval = None
        if len(means) > 1:
            interval = bootstrap(lambda chosen: float(statistics.fmean(means[i] for i in chosen)), len(means), seed=42)
        counted = Counter(mark for marks in by_item for mark in marks)
        agreed = agreement(
            [[*map(float, marks)] for marks in by_item], level="ordinal", categories=[*map(float, MARKS)]
        )
        return {
            "name": name,
            "question": question["question"],
            "n": len(means),
            "mean": statistics.fmean(means) if means else None,
            "ci_low": interval.low if interval else None,
            "ci_high": interval.high if interval else None,
            "marks": [
                {"mark": mark, "n": counted[mark], "words": question["anchors"].get(str(mark), "")} for mark in MARKS
            ],
            "agreement": agreed.as_dict(),
        }

    def _unchanged(self) -> dict[str, Any]:
        """The share of sampled answers that at least half of their raters left as they were."""
        judged = [votes for item in self._sample if (votes := self._by_item[item.pk])]
        kept = sum(2 * sum(not vote.correction for vote in votes) >= len(votes) for votes in judged)
        interval = wilson(kept, len(judged))
        value = kept / len(judged) if judged else None
        return {"value": value, "ci_low": interval.low, "ci_high": interval.high, "n": len(judged)}


def _lead(votes: Sequence[Vote]) -> dict[str, Any]:
    seconds = [vote.lead_seconds for vote in votes if vote.lead_seconds is not None]
    return {
        "median_seconds": statistics.median(seconds) if seconds else None,
        "total_seconds": sum(seconds) if seconds else None,
    }


def _with_names(results: ReviewResults) -> ReviewResults:
    """Raters by the names they have today: results are kept with their ids only."""
    from accounts_app.models import ApiKey, User
    from evaluation_app.models import ReviewerLink

    ids: dict[str, list[str]] = {"user": [], "link": [], "key": []}
    for rater in results.raters:
        kind, _, pk = rater["rater"].partition(":")
        ids[kind].append(pk)
    names = {f"user:{one.pk}": str(one) for one in User.objects.filter(pk__in=ids["user"])} if ids["user"] else {}
    if ids["link"]:
        names |= {f"link:{one.pk}": one.name for one in ReviewerLink.objects.filter(pk__in=ids["link"])}
    if ids["key"]:
        names |= {f"key:{one.pk}": one.name for one in ApiKey.objects.filter(pk__in=ids["key"])}
    named = [rater | {"name": names.get(rater["rater"], "")} for rater in results.raters]
    return ReviewResults(**(vars(results) | {"raters": named}))


def _verdict(results: ReviewResults) -> HumanVerdict:
    names = [model["name"] for model in results.models] + ["", ""]
    told: dict[str, Any] = {"sentence": ""}
    if results.pairs:
        rate = results.pairs["items"]
        told |= {name: rate[name] for name in ("ci_low", "ci_high", "p_value", "decisive", "sentence")}
        told |= {
            "judge": results.judge,
            "win_rate": rate["rate"],
            "is_enough": bool(results.meter and results.meter["is_enough"]),
        }
    elif results.rubric:
        marks = "; ".join(f"{q['question']} {q['mean']:.1f} of 5" for q in results.rubric if q["mean"] is not None)
        told |= {"rubric": results.rubric, "sentence": marks}
    elif results.unchanged and results.unchanged["value"] is not None:
        share, n = results.unchanged["value"], results.unchanged["n"]
        told |= {"unchanged": results.unchanged, "sentence": f"{percent(share)} of {n} answers needed no correction."}
    if results.agreement:
        told |= {
            "percent_agreement": results.agreement["percent"]["value"],
            "alpha": results.agreement["alpha"]["value"],
            "ac1": results.agreement["ac1"]["value"],
            "agreement_sentence": results.agreement["sentence"],
        }
    return HumanVerdict(
        review=results.review,
        name=results.name,
        kind=results.kind,
        closed_at=results.closed_at,
        model=names[0],
        against=names[1] if results.kind == ReviewKind.PAIRS else "",
        items=results.items,
        raters=len(results.raters),
        **told,
    )
