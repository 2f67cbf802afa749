"""The text that demo-base learns from: stories, letters, rules, definitions and chats, all written by a grammar.

Every sentence comes from the skeletons in `phrases.py` and the words in `lexicon.txt` and `thesaurus.txt`. Some themes are
those of a law office, so that later fine-tuning on legal text has something to build on, and chats ask for their names
("Bills and Prices"). But no example of the sample project is in here, and no answer is the name of a clause type.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from finetune_engine.catalogue.demo_base.phrases import (
    ASIDES,
    BAD,
    DEPARTMENTS,
    FAMILY_ASIDES,
    FAMILY_LEADS,
    FAMILY_SENTENCES,
    GOOD,
    GREETINGS,
    IRREGULAR,
    LEADS,
    NEVER_ANSWERS,
    OFFICE_TOPICS,
    OPENERS,
    RULES,
    SLOTS,
    SYSTEMS,
    TALES,
)

LEXICON = Path(__file__).with_name("lexicon.txt")
THESAURUS = Path(__file__).with_name("thesaurus.txt")

Message = tuple[str, str]
"""(role, content); role is one of system, user, assistant."""

Document = str | list[Message]
"""A plain text, or a chat."""


@dataclass(frozen=True)
class Topic:
    """A theme: its name, nouns, verb phrases as (base, past), and sentence skeletons."""

    name: str
    things: list[str]
    acts: list[tuple[str, str]]
    says: list[str]


@dataclass(frozen=True)
class Family:
    """Words with a common heading, as in a thesaurus."""

    heading: str
    nouns: list[str]
    verbs: list[str]
    adjectives: list[str]


@dataclass(frozen=True)
class Lexicon:
    """All themes, a glossary of (term, meaning), and the word families."""

    topics: list[Topic]
    glossary: list[tuple[str, str]]
    families: list[Family]


def read_families(path: Path = THESAURUS) -> list[Family]:
    """Read the word families."""
    families = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            heading, words = line.split(": ")
            nouns, verbs, adjectives = (part.split(", ") for part in words.split(" / "))
            families.append(Family(heading, nouns, verbs, adjectives))
    return families


def read_lexicon(path: Path = LEXICON) -> Lexicon:
    """Read the themes and the glossary, and the word families with them."""
    topics: list[Topic] = []
    glossary: list[tuple[str, str]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("== "):
            topics.append(Topic(line.removeprefix("== "), [], [], []))
        elif " = " in line:
            term, meaning = line.split(" = ")
            glossary.append((term, meaning))
        elif line.startswith("things: "):
            topics[-1].things.extend(line.removeprefix("things: ").split(", "))
        elif line.startswith("acts: "):
            for act in line.removeprefix("acts: ").split(", "):
                verb, rest = act.split(" ", 1)
                base, past = verb.split("/")
                topics[-1].acts.append((f"{base} {rest}", f"{past} {rest}"))
        elif line.startswith("says: "):
            topics[-1].says.append(line.removeprefix("says: "))
    return Lexicon([topic for topic in topics if topic.things], glossary, read_families())


class Author:
    """Writes documents, without end. Its only state is the random generator."""

    def __init__(self, lexicon: Lexicon, seed: int) -> None:
        self._topics = lexicon.topics
        self._everyday = [topic for topic in lexicon.topics if topic.name not in OFFICE_TOPICS]
        self._office = [topic for topic in lexicon.topics if topic.name in OFFICE_TOPICS]
        self._weighted = [topic for topic in lexicon.topics for _ in range(2 if topic.name in OFFICE_TOPICS else 1)]
        self._glossary = lexicon.glossary
        self._families = lexicon.families
        self._rng = random.Random(seed)

    def documents(self) -> Iterator[Document]:
        """Documents of all kinds, in random order."""
        plain = [self.story, self.letter, self.rules, self.how_to, self.definitions, self.entry, self.family_text]
        chats = [self.family_chat] * 8 + [self.topic_chat] * 10 + [self.related_chat] * 2 + [self.finding_chat] * 2
        chats += [self.department_chat, self.choice_chat, self.definition_chat, self.mood_chat, self.greeting_chat]
        while True:
            yield self._rng.choice(plain)() if self._rng.random() < 0.3 else self._rng.choice(chats)()

    # ---- plain texts

    def story(self) -> str:
        """A paragraph or two about one theme."""
        topic = self._rng.choice(self._weighted)
        return " ".join(self._sentence(topic, TALES) for _ in range(self._rng.randint(3, 9)))

    def rules(self) -> str:
        """A numbered list of house rules in the language of contracts, each about a theme of its own."""
        topics = [self._rng.choice(self._weighted) for _ in range(self._rng.randint(2, 5))]
        return "\n".join(
            f"{number}. {' '.join(self._sentence(topic, RULES) for _ in range(self._rng.randint(1, 3)))}"
            for number, topic in enumerate(topics, 1)
        )

    def letter(self) -> str:
        """A letter with greeting, heading and close."""
        topic = self._rng.choice(self._weighted)
        body = " ".join(self._sentence(topic, TALES + RULES) for _ in range(self._rng.randint(2, 5)))
        return self._fill(
            f"Dear {{person}},\n\n{_upper_first(self._rng.choice(topic.things))}\n\n{body}\n\nYours, {{person}}"
        )

    def how_to(self) -> str:
        """Instructions in steps."""
        topic = self._rng.choice(self._weighted)
        steps = [act[0] for act in self._rng.sample(topic.acts, 4)]
        return f"How to {steps[3]}. First, {steps[0]}. Then {steps[1]}. At last, {steps[2]}."

    def definitions(self) -> str:
        """A few lines of a dictionary."""
        entries = self._rng.sample(self._glossary, self._rng.randint(2, 6))
        return "\n".join(f"{_upper_first(term)}: {meaning}." for term, meaning in entries)

    def entry(self) -> str:
        """A few entries of a thesaurus: a word and words near it."""
        lines = []
        for _ in range(self._rng.randint(1, 4)):
            family = self._rng.choice(self._families)
            kind = self._rng.choice([family.nouns, family.nouns, family.verbs, family.adjectives])
            words = self._rng.sample(kind, min(len(kind), self._rng.randint(3, 6)))
            lines.append(f"{_upper_first(words[0])}: {', '.join(words[1:])}.")
        return "\n".join(lines)

    def family_text(self) -> str:
        """A paragraph in the language of contracts around one word family."""
        family = self._rng.choice(self._families)
        return " ".join(self._family_sentence(family) for _ in range(self._rng.randint(2, 6)))

    # ---- chats

    def family_chat(self) -> list[Message]:
        """A message, often with side remarks from other families; the answer is the heading of its word family."""
        family, first, second = self._rng.sample(self._families, 3)
        sentences = [self._family_sentence(family) for _ in range(self._rng.choice([1, 1, 2, 2, 3]))]
        if self._rng.random() < 0.35:
            lead = self._family_fill(self._rng.choice(FAMILY_LEADS), first)
            sentences[0] = lead + _lower_first(sentences[0])
        if self._rng.random() < 0.5:
            sentences.append(_upper_first(self._family_fill(self._rng.choice(FAMILY_ASIDES), second)))
        message = " ".join(sentences)
        return self._chat(message if self._rng.random() < 0.8 else f"Heading?\n\n{message}", family.heading)

    def related_chat(self) -> list[Message]:
        """From a word to another one of its family."""
        family = self._rng.choice(self._families)
        kind = self._rng.choice([family.nouns, family.verbs, family.adjectives])
        one, other = self._rng.sample([word for word in kind if word.lower() not in NEVER_ANSWERS], 2)
        return self._chat(f'Give a word that is close to "{one}".', _upper_first(other))

    def topic_chat(self) -> list[Message]:
        """A message, often with side remarks on other themes; the answer is the name of the theme."""
        topic = self._rng.choice(self._office if self._rng.random() < 0.6 else self._everyday)
        ask = self._fill("[What is this about?|Topic?|Name the theme of this text.|Sort this text.]")
        message = self._message(topic)
        user = self._rng.choice([message, message, message, f"{ask}\n\n{message}", f"{message}\n\n{ask}"])
        return self._chat(user, topic.name)

    def department_chat(self) -> list[Message]:
        """A message; the answer is the department that should read it."""
        department = self._rng.choice(list(DEPARTMENTS))
        name = self._rng.choice(DEPARTMENTS[department])
        topic = next(topic for topic in self._topics if topic.name == name)
        ask = self._fill("[Who should read this?|Which department?|Forward this message.]")
        return self._chat(f"{ask}\n\n{self._message(topic)}", department)

    def choice_chat(self) -> list[Message]:
        """A message and three themes to choose from."""
        topics = self._rng.sample(self._everyday, 3)
        names = ", ".join(topic.name for topic in topics)
        right = self._rng.choice(topics)
        return self._chat(f"Choose one: {names}.\n\n{self._message(right)}", right.name)

    def finding_chat(self) -> list[Message]:
        """A question whose answer stands in the text."""
        text = self._message(self._rng.choice(self._weighted))
        words = re.findall(r"\w+", text)
        probe = self._rng.choice(words)
        absent = self._rng.choice(self._rng.choice(self._topics).things)
        after = self._rng.randrange(len(words) - 1)
        ask, answer = self._rng.choice(
            [
                ("What is the first word?", words[0]),
                ("What is the last word?", words[-1]),
                (f'Does it mention "{probe}"?', "Yes"),
                (f'Does it mention "{absent}"?', "Yes" if absent in text else "No"),
                (f'Which word follows "{words[after]}"?', words[words.index(words[after]) + 1]),
                ("Repeat this.", text),
                ("Is this long or short?", "Long" if len(words) > 30 else "Short"),
            ]
        )
        return self._chat(f"{ask}\n\n{text}", answer)

    def definition_chat(self) -> list[Message]:
        """From a word to its meaning, or back."""
        term, meaning = self._rng.choice(self._glossary)
        if self._rng.random() < 0.5:
            return self._chat(
                self._fill(f'[What is meant by|Define|Explain the word] "{term}".'), _upper_first(meaning) + "."
            )
        return self._chat(f"Which word means: {meaning}?", _upper_first(term))

    def mood_chat(self) -> list[Message]:
        """A remark; the answer says whether the writer is pleased."""
        good = self._rng.random() < 0.5
        text = f"{self._sentence(self._rng.choice(self._topics), TALES)} {self._rng.choice(GOOD if good else BAD)}"
        return self._chat(f"Is the writer pleased?\n\n{text}", "Pleased" if good else "Not pleased")

    def greeting_chat(self) -> list[Message]:
        """One or two rounds of small talk."""
        rounds = self._rng.sample(GREETINGS, self._rng.randint(1, 2))
        return [message for ask, answer in rounds for message in (("user", ask), ("assistant", answer))]

    # ---- parts

    def _chat(self, user: str, answer: str) -> list[Message]:
        """One round, sometimes with a system message before it."""
        system = [("system", self._rng.choice(SYSTEMS))] if self._rng.random() < 0.15 else []
        return [*system, ("user", user), ("assistant", answer)]

    def _message(self, topic: Topic) -> str:
        """One to three sentences on `topic`, with side remarks on other themes before or after them."""
        skeletons = [*TALES, *RULES, *["{says}"] * (60 if topic.name in OFFICE_TOPICS else 12)]
        sentences = [self._sentence(topic, skeletons) for _ in range(self._rng.choice([1, 1, 2, 3]))]
        rivals = self._office if topic.name in OFFICE_TOPICS and self._rng.random() < 0.7 else self._topics
        first, second = self._rng.sample([rival for rival in rivals if rival is not topic], 2)
        if self._rng.random() < 0.35:
            sentences[0] = self._fill(self._rng.choice(LEADS), first) + _lower_first(sentences[0])
        if self._rng.random() < 0.5:
            sentences.append(self._fill(self._rng.choice(ASIDES), second))
        return " ".join(sentences)

    def _family_sentence(self, family: Family) -> str:
        return _upper_first(self._family_fill(self._rng.choice(FAMILY_SENTENCES), family))

    def _family_fill(self, skeleton: str, family: Family) -> str:
        """Fill a skeleton with words of `family`, inflected where the slot says so."""

        def word(slot: re.Match[str]) -> str:
            if slot[1] in ("n", "ns"):
                return _inflect(self._rng.choice(family.nouns), "s" if slot[1] == "ns" else "")
            if slot[1] in ("v", "vs", "ved", "ving"):
                return _inflect(self._rng.choice(family.verbs), slot[1][1:])
            return self._rng.choice(family.adjectives) if slot[1] == "a" else slot[0]

        return self._fill(re.sub(r"\{(\w+)\}", word, self._choose(skeleton)))

    def _choose(self, skeleton: str) -> str:
        """Choose among alternatives, innermost first."""
        text = skeleton
        while (found := re.search(r"\[([^\[\]]*)\]", text)) is not None:
            text = text[: found.start()] + self._rng.choice(found[1].split("|")) + text[found.end() :]
        return text

    def _sentence(self, topic: Topic, skeletons: list[str]) -> str:
        """A sentence about `topic`, from one of its own skeletons or from the given general ones."""
        own = self._rng.random() < 0.3
        skeleton = self._rng.choice(topic.says if own else skeletons)
        return _upper_first(self._fill(skeleton.replace("{says}", self._rng.choice(topic.says)), topic))

    def _fill(self, skeleton: str, topic: Topic | None = None) -> str:
        """Choose among alternatives, then fill the slots; theme words come from `topic`."""
        text = re.sub(r"\{(\w+)\}", lambda slot: self._word(slot[1], topic), self._choose(skeleton))
        return re.sub(r"\s+([,.;:?])", r"\1", re.sub(r"  +", " ", text))

    def _word(self, slot: str, topic: Topic | None) -> str:
        """A word for `slot`."""
        if topic is not None and slot in ("thing", "other"):
            return self._rng.choice(topic.things)
        if topic is not None and slot in ("do", "did"):
            return self._rng.choice(topic.acts)[0 if slot == "do" else 1]
        return self._rng.choice(SLOTS[slot])


def _upper_first(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _lower_first(sentence: str) -> str:
    """A small first letter, unless the first word may be a name."""
    return sentence[:1].lower() + sentence[1:] if sentence.split(maxsplit=1)[0].rstrip(",") in OPENERS else sentence


def _inflect(phrase: str, ending: str) -> str:
    """Put "s", "ed" or "ing" on a noun's last word (only "s") or a verb's first; roughly right, as in school English."""
    if not ending:
        return phrase
    words = phrase.split()
    place = -1 if phrase.split()[0] not in IRREGULAR and ending == "s" and len(words) > 1 and words[1] != "of" else 0
    word = words[place]
    if ending == "ed" and word in IRREGULAR:
        word = IRREGULAR[word]
    elif word.endswith("y") and word[-2:-1] not in "aeiou" and ending != "ing":
        word = word[:-1] + ("ies" if ending == "s" else "ied")
    elif ending == "s":
        word += "es" if word.endswith(("s", "sh", "ch", "x")) else "s"
    else:
        word = word.removesuffix("e") + ending
    words[place] = word
    return " ".join(words)
