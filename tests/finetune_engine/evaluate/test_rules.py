import pytest

from finetune_engine.errors import UserError
from finetune_engine.evaluate.rules import KINDS, check, rule_of


def rule(kind, **demand):
    return rule_of({"id": "7", "name": "a rule", "kind": kind, "demand": demand})


def why_not(kind, answer, question="", **demand):
    return check(rule(kind, **demand), question, answer)


SCHEMA = {"type": "object", "required": ["amount"], "properties": {"amount": {"type": "number"}}}
DEMANDS = {
    "contains": {"texts": ["net 30"]},
    "excludes": {"texts": ["guarantee"]},
    "matches": {"pattern": r"\d+ days"},
    "avoids": {"pattern": r"\d+ days"},
    "length": {"most": 100},
    "if_then": {"if_mentions": ["rent"], "then_mentions": ["lease"]},
    "json_schema": {"schema": SCHEMA},
    "labels": {"labels": ["Audit Rights", "NDA"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_rule_read_from_its_own_json_is_the_same(kind):
    first = rule(kind, **DEMANDS[kind])
    assert rule_of(first.as_dict()) == first


@pytest.mark.parametrize("kind", ["contains", "matches", "length", "json_schema", "labels"])
@pytest.mark.parametrize("answer", ["", "  \n"])
def test_an_empty_answer_passes_no_rule_that_wants_something(kind, answer):
    assert why_not(kind, answer, **DEMANDS[kind]) == "The answer is empty."


@pytest.mark.parametrize("kind", ["excludes", "avoids"])
def test_an_empty_answer_has_nothing_forbidden_in_it(kind):
    assert why_not(kind, "", **DEMANDS[kind]) is None


def test_contains_wants_all_texts_unless_told_otherwise():
    assert why_not("contains", "Pay NET 30 by wire", texts=["net 30", "wire"]) is None
    assert why_not("contains", "Pay net 30", texts=["net 30", "wire"]) == "The answer does not contain “wire”."
    assert why_not("contains", "Pay net 30", texts=["net 30", "wire"], all=False) is None
    assert why_not("contains", "Pay", texts=["net 30", "wire"], all=False) == (
        "The answer contains none of “net 30”, “wire”."
    )


def test_case_counts_when_it_is_said_to_count():
    assert why_not("contains", "net 30", texts=["Net 30"], ignore_case=False) is not None
    assert why_not("contains", "STRASSE", texts=["straße"]) is None


def test_letters_composed_in_another_way_are_the_same_letters():
    assert why_not("contains", "caf\u0065\u0301", texts=["caf\u00e9"]) is None


def test_excludes_names_what_it_found():
    assert why_not("excludes", "We Guarantee success.", texts=["guarantee"]) == "The answer contains “guarantee”."


def test_a_pattern_is_looked_for_anywhere():
    assert why_not("matches", "within 30 days", pattern=r"\d+ days") is None
    assert "matches the pattern" in why_not("matches", "soon", pattern=r"\d+ days")
    assert why_not("avoids", "within 30 days", pattern=r"\d+ days").startswith("“30 days” in the answer")
    assert why_not("matches", "NET 30", pattern="net", ignore_case=True) is None


@pytest.mark.parametrize("pattern", ["(?=a)b", r"(a)\1", "[", "(a{1,500}){1,500}", "x" * 1001, ""])
def test_a_pattern_that_re2_refuses_is_a_clear_mistake(pattern):
    with pytest.raises(UserError) as caught:
        rule("matches", pattern=pattern)
    assert caught.value.field == "pattern"
    assert "pattern" in caught.value.sentence


def test_a_pattern_that_hangs_other_engines_takes_steps_in_proportion_to_the_text():
    # Python's own re would try 2^50000 ways here.
    assert why_not("matches", "x" * 50_000, pattern="(x+x+)+y") is not None


def test_length_counts_characters_or_words_and_at_least_one_unless_told_otherwise():
    assert why_not("length", "four words are here", most=4, unit="words") is None
    assert why_not("length", "now five words are here", most=4, unit="words") == (
        "The answer has 5 words, at most 4 are allowed."
    )
    assert why_not("length", "abc", least=5) == "The answer has 3 characters, at least 5 are asked for."
    assert why_not("length", "", least=0, most=5) is None
    assert why_not("length", "北京市", least=3, unit="words") is None


def test_what_the_answer_must_mention_depends_on_the_question():
    demand = {"if_mentions": ["rent"], "then_mentions": ["lease", "landlord"]}
    assert why_not("if_then", "Ask the landlord; see the lease.", "Who collects rents?", **demand) is None
    assert why_not("if_then", "See the lease.", "Who collects rents?", **demand) == (
        "The question mentions “rent”, but the answer does not mention “landlord”."
    )
    assert why_not("if_then", "See the lease.", "Who collects rents?", all=False, **demand) is None
    assert why_not("if_then", "No idea.", "Who signs?", **demand) is None


def test_a_word_inside_another_is_not_mentioned():
    demand = {"if_mentions": ["rent"], "then_mentions": ["lease"]}
    assert why_not("if_then", "No idea.", "What is the current law for parents?", **demand) is None
    assert why_not("if_then", "No idea.", "Which rental law?", **demand) is not None
    assert why_not("if_then", "Please.", "The rent?", **demand) is not None


def test_scripts_without_spaces_mention_anywhere():
    assert why_not("if_then", "不知道", "我的租金是多少", if_mentions=["租金"], then_mentions=["合同"]) is not None


def test_labels_are_read_but_for_case_unless_told_otherwise():
    assert why_not("labels", " audit rights.", labels=["Audit Rights", "NDA"]) is None
    assert why_not("labels", "audit rights", labels=["Audit Rights"], ignore_case=False) is not None
    assert why_not("labels", "It is NDA", labels=["NDA"]) == "“It is NDA” is none of the 1 labels allowed."


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        ({"name": "", "kind": "contains", "demand": {"texts": ["x"]}}, "name"),
        ({"name": "x", "kind": "rhymes", "demand": {}}, "kind"),
        ({"name": "x", "kind": "contains", "demand": None}, "demand"),
        ({"name": "x", "kind": "contains", "demand": {"texts": ["x"], "lenght": 3}}, "demand"),
        ({"name": "x", "kind": "contains", "demand": {"texts": []}}, "texts"),
        ({"name": "x", "kind": "contains", "demand": {"texts": "x"}}, "texts"),
        ({"name": "x", "kind": "contains", "demand": {"texts": [" "]}}, "texts"),
        ({"name": "x", "kind": "contains", "demand": {"texts": ["x"], "all": "yes"}}, "all"),
        ({"name": "x", "kind": "length", "demand": {"least": -1}}, "least"),
        ({"name": "x", "kind": "length", "demand": {"least": 5, "most": 3}}, "most"),
        ({"name": "x", "kind": "length", "demand": {"unit": "pages"}}, "unit"),
        ({"name": "x", "kind": "if_then", "demand": {"if_mentions": ["x"]}}, "then_mentions"),
        ({"name": "x", "kind": "labels", "demand": {"labels": [3]}}, "labels"),
        ({"name": "x", "kind": "json_schema", "demand": {}}, "schema"),
        ([], "rules"),
    ],
)
def test_a_mistake_names_the_field(raw, field):
    with pytest.raises(UserError) as caught:
        rule_of(raw)
    assert caught.value.field == field
    assert caught.value.code == "bad_rule"


def test_what_a_pattern_cannot_look_through_does_not_pass_as_free_of_it():
    assert "too long" in why_not("avoids", "a" * 100_001 + "secret", pattern="secret")
    assert "first 100,000 characters" in why_not("matches", "a" * 100_001 + "secret", pattern="secret")


def test_half_a_character_in_an_answer_is_no_crash():
    assert why_not("matches", "\ud800 net", pattern="net") is None


def test_a_label_that_is_an_article_is_read_as_any_other():
    assert why_not("labels", "A.", labels=["A", "B"]) is None
