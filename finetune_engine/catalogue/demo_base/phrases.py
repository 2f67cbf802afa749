"""The sentence skeletons and short word lists of text.py.

[a|b|] are alternatives, {slot} is filled from SLOTS, from a theme (thing, other, do, did, says) or from a word family
(n, v, a and their inflections ns, vs, ved, ving).
"""

from __future__ import annotations

PEOPLE = [
    "Ada", "Bruno", "Clara", "Dmitri", "Elena", "Farid", "Greta", "Hiro", "Ines", "Jonas", "Kofi", "Lena", "Mina",
    "Nadia", "Oskar", "Priya", "Quentin", "Rosa", "Samir", "Tilda", "Umar", "Vera", "Wanda", "Yusuf", "Zoe",
    "Mr. Abel", "Mrs. Birch", "Dr. Cole", "Ms. Dunn", "Mr. Ekström", "Señora Gil", "Frau Höhne", "Mr. Okoro",
]  # fmt: skip
ROLES = [
    "supplier", "customer", "client", "contractor", "owner", "licensor", "licensee", "purchaser", "vendor", "consultant",
    "company", "agency", "advertiser", "manufacturer", "distributor", "institute", "sponsor", "provider", "subscriber",
    "carrier", "retailer", "developer", "buyer", "tenant", "landlord", "Supplier", "Customer", "Provider", "Client",
    "Contractor", "Owner", "Licensee", "Purchaser", "Company", "Buyer", "Service Provider", "party", "other party",
    "teacher", "driver", "cook", "farmer", "librarian", "manager", "bookkeeper", "lawyer", "mayor", "nurse", "guest",
]  # fmt: skip
SLOTS: dict[str, list[str]] = {
    "person": PEOPLE,
    "role": ROLES,
    "town": [
        "London", "Dublin", "Albany", "Toronto", "Sydney", "Hamburg", "Rotterdam", "Lisbon", "Zurich", "Osaka",
        "Nairobi", "Singapore", "Edinburgh", "Copenhagen", "Helsinki", "Montreal", "Wilmington", "Oakham", "Millford",
    ],
    "land": [
        "England and Wales", "Scotland", "Ireland", "the State of New York", "California", "Ontario", "Germany", "Japan",
        "the Netherlands", "Denmark", "Portugal", "Switzerland", "Kenya", "New Zealand", "Brazil", "Quebec", "Finland",
    ],
    "weekday": ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"],
    "when": [
        "yesterday", "last week", "in the morning", "at noon", "in the evening", "after lunch", "before breakfast",
        "at the end of the year", "in March", "during the term", "on the Effective Date", "from time to time",
    ],
    "days": [
        "7 days", "ten days", "14 days", "fifteen business days", "20 days", "thirty (30) days", "30 days", "sixty days",
        "60 days", "ninety (90) days", "two weeks", "three months", "six months", "twelve months", "two years",
    ],
    "money": [
        "EUR 5,000", "USD 25,000", "GBP 75,000", "USD 100,000", "EUR 250,000", "one million dollars", "CHF 500,000",
        "two million euros", "$750", "$12,500", "forty pounds", "EUR 15", "nine dollars", "USD 1,000,000",
    ],
    "pct": ["1.5 %", "2 %", "four per cent", "8%", "10%", "fifteen percent", "20 %", "50 %", "100 %"],
    "num": ["two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "12", "40"],
    "sec": [
        "Section 4", "Section 7.2", "Section 11", "clause 3", "clause 9.1", "clause 14", "Article V", "Article 12",
        "paragraph 6", "paragraph 21", "Schedule 2", "Annex C", "Section 16(b)", "chapter 3", "page 40", "rule 8",
    ],
    "adj": [
        "new", "old", "small", "heavy", "missing", "ready", "late", "useful", "strange", "expensive", "quiet", "broken",
        "important", "ordinary", "lost", "valid", "reasonable", "personal", "sole", "written", "entire", "subject to change",
    ],
    "paper": ["agreement", "contract", "order", "deed", "letter", "rule book", "list", "plan", "report", "Agreement"],
}  # fmt: skip

TALES = [
    "{person} {did} [on {weekday}|{when}].",
    "{person} {did}, and {person} {did}.",
    "The {thing} was {adj}, [so|and therefore] {person} {did}.",
    "[Nobody|No one] had told {person} about the {thing}[ or the {thing}|].",
    "[If|When] {person} {did}, the {role} [was pleased|said nothing|asked about the {thing}].",
    "In {town} the {role} {did} [again|twice|without help|in good faith].",
    '"[Please|You must|Do not forget to] {do} [before {weekday}|within {days}]," said {person}.',
    "After {days} the {role} {did}, [although|because|while] the {thing} was {adj}.",
    "{person} wanted to {do}, but the {role} [refused|had to {do} first|{did}].",
    "The {role} and the {role} [agreed|decided|promised] to {do}.",
    "There was a {thing} [near|behind|beside] the {thing}, and [both were|neither was] {adj}.",
]
RULES = [
    "The {role} [shall|must|will|may] {do} [within {days}|on request|at its own expense|at any time|in writing].",
    "The {role} [shall not|may not|must not] {do} without the [prior written |]consent of the {role}.",
    "[Notwithstanding|Subject to|Without prejudice to|In addition to|Apart from|Separately from] the {thing} [in {sec}|], "
    "the {role} [shall|may] {do}.",
    "[Each|Either|Neither] party [shall|may] {do}, [unless|even if|provided that] the {role} {did}.",
    "Nothing in [this Section|{sec}|this {paper}] [affects|limits|alters] the {thing}[ or any {thing}|].",
    "For the {thing}, see {sec}; [for the {thing}, see {sec}|the {thing} is dealt with elsewhere].",
    "[Any|Every] {thing} [under|referred to in] {sec} [is|shall be] [deemed |]{adj}[, whatever the {thing} may say|].",
    "If the {role} {did}, [it|the {role}] shall {do} and [pay|keep|owe] {money} [in full|or {pct} of the price].",
    "This {paper} [begins|ends|takes effect] {when} and [binds|is signed by] the {role} and the {role}.",
    "The {thing}, the {thing} and the {thing} are [covered|dealt with|regulated] in {sec}.",
    "{says}",
]
FAMILY_SENTENCES = [
    "The {role} [shall|must|may|will|is entitled to|agrees to] {v} [the|any|every|all] {a} {n}[ or {n}|][ within {days}|"
    " on request|, as agreed| in writing| promptly|].",
    "The {role} [shall not|may not|must not|will never] {v} [the|any] {n}[, {n} or {n}| of the {role}] "
    "[without|before|except by] the {a} {n}.",
    "[Any|Each|No|The] {n} [is|shall be|may be|was|remains] {a}[ and {a}|], [whatever|unless|because|even if|provided that] "
    "the {role} [should {v}|would {v}|{vs}|{ved}] the {n}.",
    "If {person} [has|had] to {v} the {n}, the {n} [becomes|remains] {a}.",
    "To {v} is to {v}[, or at least to {v}|].",
    "[We|You|They|Both sides|Either party|Neither side] may {v}[ and {v}|] the {n} [at any time|after {days}|up to {money}|].",
    "[{ving}|Not {ving}] the {n} [is|counts as] {a}, [and so is|but not] {ving} [it|a {n}].",
    "{person} {ved} the {n}[ and {ved} the {n}|] [{when}|in {town}|to the full extent|].",
    "The {ns} [are|were|remain|become] {a}, [though|since|while] the {ns} [of the {role} |]are not.",
    "[A|The] {a} {n} {vs} the {n}.",
    "{ns}, {ns} and {ns} [belong to|are borne by|are for] the {role}.",
    "[What|Whatever] is {ved} [stays|must be] {a}; [so does|otherwise] the {n} [may be {ved}|has to be {ved}].",
    "The {role} [that|which] {vs} [the|its] {n} [bears|keeps] the {n}, and the other {vs} it.",
    "[Upon|After|Before|During] the {n}[,| of the {role},] [each party|the {role}|nobody] [shall|may] {v} [its|the other's] {n}.",
    "[Should|Where] the {n} be {a}, {person} {ved} it [in accordance with {sec}|at the expense of the {role}].",
]
FAMILY_ASIDES = [
    "[This|It] has no bearing on the {n}[ nor on the {n}|].",
    "Nothing [here|in this Section|in {sec}] [affects|alters|touches] the {n}.",
    "The {n} and the {n} are another matter[, see {sec}|].",
    "[It|This] is independent of any {n} and leaves the {n} untouched.",
    "For the {n}, see {sec}.",
    "The {n} is regulated [separately|in other parts of the {paper}].",
]
FAMILY_LEADS = [
    "Subject to the {n}, ", "Notwithstanding any {n}, ", "Apart from the {n} and the {n}, ", "In addition to the {n}, ",
    "Without prejudice to the {n} in {sec}, ", "Leaving the {n} aside, ", "Whatever is said about the {n}, ",
    "Separately from the {n}, ",
]  # fmt: skip
IRREGULAR = {
    "pay": "paid", "sell": "sold", "keep": "kept", "write": "wrote", "hold": "held", "bear": "bore", "sue": "sued",
    "give": "gave", "take": "took", "tell": "told", "hear": "heard", "sit": "sat", "meet": "met", "leave": "left",
    "quit": "quit", "withdraw": "withdrew", "lend": "lent", "begin": "began", "break": "broke", "fight": "fought",
    "make": "made", "draw": "drew", "spend": "spent", "send": "sent", "choose": "chose", "lose": "lost", "cut": "cut",
    "read": "read", "hide": "hid", "buy": "bought", "build": "built", "find": "found", "see": "saw", "stand": "stood",
    "go": "went", "run": "ran", "set": "set", "deal": "dealt", "forgive": "forgave", "drive": "drove", "stick": "stuck",
    "steal": "stole", "shake": "shook", "sweep": "swept", "teach": "taught", "forbid": "forbade", "arise": "arose",
    "eat": "ate", "grow": "grew", "sing": "sang", "win": "won", "wear": "wore", "sew": "sewed", "be": "was", "do": "did",
}  # fmt: skip
OPENERS = {
    "A", "After", "An", "Any", "Before", "Both", "Each", "Either", "Every", "Upon", "During", "For", "If", "In",
    "Neither", "No", "Nobody", "Not", "Nothing", "Should", "The", "There", "They", "To", "We", "What", "Whatever",
    "When", "Where", "You",
}  # fmt: skip
"""Words that lose their capital when something is put before the sentence; any other first word may be a name."""
NEVER_ANSWERS = {
    "assignment", "confidentiality", "force majeure", "governing law", "indemnification", "insurance",
    "intellectual property", "limitation of liability", "payment terms", "termination for convenience",
}  # fmt: skip
"""The clause types of the sample project: never an answer in a chat."""
ASIDES = [
    "This has nothing to do with the {other}.",
    "[Apart from|Leaving aside] the {other}[ and the {other}|], there is no more to say.",
    "For the {other}, see {sec}.",
    "It does not change the {other}[ or the {other}|].",
    "The {other} is [another matter|dealt with elsewhere].",
    "Nothing here [limits|affects] the {other}.",
]
LEADS = [
    "Subject to the {other}, ",
    "Notwithstanding the {other}, ",
    "Apart from the {other} in {sec}, ",
    "In addition to the {other}, ",
    "Without prejudice to the {other}, ",
    "Whatever is said about the {other}, ",
]
OFFICE_TOPICS = {
    "Court Visits", "Secrets", "Leaving a Job", "Breakage and Blame", "Standing Up for Others", "Handing Over",
    "Storms and Disasters", "Bills and Prices", "Inventions and Authors", "Policies and Premiums",
}  # fmt: skip
"""Themes with the words of a law office. They occur more often than the others."""
DEPARTMENTS = {
    "Head Office": sorted(OFFICE_TOPICS),
    "Shop": ["Shopping", "Clothes"],
    "Personnel": ["Staff and Hiring", "Feelings", "Meetings"],
    "Caretaker": ["Repairs", "House Moving", "Weather"],
    "Help Desk": ["Computers"],
    "Mail Room": ["Post and Deliveries", "Travel"],
    "Research": ["Stars and Planets", "History", "School"],
    "Canteen": ["Kitchen", "Farm Work", "Garden"],
    "Sickbay": ["Health", "Sports"],
}
GOOD = [
    "It was wonderful.",
    "I am very happy with it.",
    "We had a lovely day.",
    "It works perfectly.",
    "Thank you so much!",
]
BAD = [
    "It was a disaster.",
    "I am not happy at all.",
    "We wasted the day.",
    "It never worked.",
    "I want my money back!",
]
GREETINGS = [
    ("Hello!", "Hello. How can I help?"),
    ("Good morning.", "Good morning. What can I do for you?"),
    ("Thank you.", "You are welcome."),
    ("Who are you?", "I am a very small language model."),
    ("Goodbye.", "Goodbye."),
    ("Can you help me?", "I can try. What is it about?"),
]
SYSTEMS = ["You are a helpful assistant.", "Answer briefly.", "You sort messages.", "Be exact.", "You are a clerk."]
