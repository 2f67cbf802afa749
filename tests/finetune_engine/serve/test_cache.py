from finetune_engine.serve.cache import ExactCache, cache_key, is_cacheable

BASE = {
    "digest": "d",
    "messages": [{"role": "user", "content": "hi"}],
    "template_sha256": "t",
    "parameters": {"temperature": 0, "max_tokens": 5},
    "scope": "project-1",
}


def test_the_key_does_not_depend_on_the_order_of_parameters():
    turned = BASE | {"parameters": {"max_tokens": 5, "temperature": 0}}
    assert cache_key(**BASE) == cache_key(**turned)


def test_everything_that_decides_an_answer_changes_the_key():
    others = [
        BASE | {"digest": "e"},
        BASE | {"template_sha256": None},
        BASE | {"scope": "project-2"},
        BASE | {"messages": [{"role": "system", "content": "hi"}]},
        BASE | {"messages": [{"role": "user", "content": "hi "}]},
        BASE | {"parameters": {"temperature": 0, "max_tokens": 6}},
    ]
    assert len({cache_key(**BASE), *(cache_key(**other) for other in others)}) == 7


def test_only_a_single_greedy_answer_is_cacheable():
    assert is_cacheable({"temperature": 0.0, "n": 1})
    assert not is_cacheable({"temperature": 0.7, "n": 1})
    assert not is_cacheable({"temperature": 0.0, "n": 2})
    assert not is_cacheable({})


def test_the_least_recently_used_answer_leaves_first():
    cache = ExactCache[str](max_entries=2)
    cache.put("a", "1")
    cache.put("b", "2")
    assert cache.get("a") == "1"
    cache.put("c", "3")
    assert cache.get("b") is None
    assert cache.get("a") == "1"


def test_an_answer_grows_old():
    now = [0.0]
    cache = ExactCache[str](ttl_seconds=10, timer=lambda: now[0])
    cache.put("a", "1")
    now[0] = 9.9
    assert cache.get("a") == "1"
    now[0] = 10.1
    assert cache.get("a") is None
    assert cache.stats().hits == 1
    assert cache.stats().misses == 1


def test_a_denied_answer_is_forgotten():
    cache = ExactCache[str]()
    cache.put("a", "1")
    assert cache.forget("a") is True
    assert cache.forget("a") is False
    assert cache.get("a") is None
