"""Each guard: what it refuses, and what it lets through."""

import pytest

from finetune_engine.serve.semantic import GUARDS, refusal

HARD = """
Can I get the deposit back? | Can I get the deposit reduced?
Who pays the tenant? | Who does the tenant pay?
Is the drug taken at night? | Is the drug taken in the morning?
How do I open an account? | How do I keep an account?
What happens if I cancel early? | What happens if I cancel?
Can I cancel the order? | Can you cancel the order?
Do you pay me? | Do I pay you?
Should I take the tablet with milk? | Should I take the tablet with water?
Is there a fee for paying by card? | Is there a discount for paying by card?
Does the insurer have to pay? | Does the insurer pay?
When does the contract start? | When does the contract end?
Is a permit needed to build a fence? | Is a permit needed to remove a fence?
What is the fine for parking here? | What is the fee for parking here?
May I record the meeting? | May I book the meeting?
Is the lawyer right? | Is the lawyer's right protected?
What do I receive? | What do I send?
How can I receive payments? | How can I make payments?
Who offers the warranty? | Who receives the warranty?
Is it an offer? | Is it an applicable rule?
Can the offer be accepted? | Can it be accepted?
How many units were sold? | How many units were bought?
Did they fire the manager? | Did the manager fire them?
Is the claim covered? | Is the claimant covered?
How do I set up a call? | How do I end a call?
Is it safe to drive after the dose? | Is it safe to drink after the dose?
Which employees get the bonus? | Which employees fund the bonus?
How is the payment received? | How is the payment made?
Is the file open? | Is the file closed?
What is the cost of the permit? | What is the cost of delay of the permit?
Can a minor sign? | Can an adult sign?
Do I lose my rights if I sign? | Do I lose my rights if I do so?
What's covered by the warranty? | What's the warranty covered by?
Is a deposit required? | Is a deposit possible?
Is the service available? | Is the service required?
Are dogs required to be on a leash? | Are dogs allowed on a leash?
Who is eligible? | Who is available?
How long is it valid? | How long has it been valid?
Which person handles complaints? | Which complaints are handled?
Does the court have the file? | Has the court lost the file?
Can the company use my data? | Can I use the company's data?
How do I check in online? | How do I check out online?
Is my password stored? | Is my password changed?
Can I return the item to the store? | Can I return the item to the sender?
Is it due on Monday or later? | Is it due on Monday or earlier?
Is the doctor in? | Is the doctor out?
Is rent included in the price? | Is the price included in the rent?
How do you treat customers with allergies? | How do you treat allergies with customers?
Is notice given by the tenant? | Is notice given to the tenant?
Payment to the supplier: when? | Payment by the supplier: when?
Is a report for the board needed? | Is a report from the board needed?
Can I work under the contract? | Can I work around the contract?
Is the meeting on the roof? | Is the meeting under the roof?
"""


@pytest.mark.parametrize("line", HARD.strip().splitlines())
def test_what_differs_in_a_small_word_is_refused(line: str) -> None:
    assert refusal(*line.split(" | ")) is not None


@pytest.mark.parametrize(
    ("guard", "asked", "kept"),
    [
        ("numbers", "Is a notice of 30 days lawful?", "Is a notice of 60 days lawful?"),
        ("numbers", "Is a notice of thirty days lawful?", "Is a notice of sixty days lawful?"),
        ("numbers", "May I take 500 mg of it?", "May I take 500 g of it?"),
        ("numbers", "What does it cost at 5 %?", "What does it cost at 5 euros?"),
        ("numbers", "Is the second dose due?", "Is the third dose due?"),
        ("numbers", "Are we closed in May?", "Are we closed in June?"),
        ("numbers", "What does policy HR-014 say?", "What does policy HR-041 say?"),
        ("numbers", "Is version 2.3.1 safe?", "Is version 2.3.4 safe?"),
        ("numbers", "Is it valid for a year?", "Is it valid for a month?"),
        ("negation", "Which losses are covered?", "Which losses are not covered?"),
        ("negation", "Which losses can be covered?", "Which losses can't be covered?"),
        ("negation", "May I leave with a permit?", "May I leave without a permit?"),
        ("negation", "Is it open on all days?", "Is it open on all days except Sundays?"),
        ("negation", "Do you deliver on weekdays?", "Do you deliver only on weekdays?"),
        ("polarity", "Is the clause valid?", "Is the clause invalid?"),
        ("polarity", "Does the rule allow it?", "Does the rule forbid it?"),
        ("polarity", "What do I pay before the repair?", "What do I pay after the repair?"),
        ("polarity", "Should the dose be increased?", "Should the dose be reduced?"),
        ("polarity", "Which costs are reimbursable?", "Which costs are non-reimbursable?"),
        ("roles", "What does the executor sign?", "What does the trustee sign?"),
        ("voice", "Am I paid for the holiday?", "Do I pay for the holiday?"),
        ("names", "Does the agreement bind Acme?", "Does the agreement bind Borland?"),
        ("names", 'What does "Effective Date" mean?', 'What does "Closing Date" mean?'),
        ("names", "Do I write to hr@example.com?", "Do I write to it@example.com?"),
        ("names", "Does the GDPR apply?", "Does the CCPA apply?"),
        ("kind", "Why was the claim filed?", "When was the claim filed?"),
        ("kind", "How much will I be paid?", "How soon will I be paid?"),
        ("kind", "Can I insure a boat?", "Why can I insure a boat?"),
        ("direction", "Is there a train from Graz to Linz?", "Is there a train from Linz to Graz?"),
        ("direction", "Can I sue my employer?", "Can my employer sue me?"),
        ("direction", "Is the dog bigger than the cat?", "Is the cat bigger than the dog?"),
        ("modality", "May I sign here?", "Must I sign here?"),
        ("tense", "Is the rent paid?", "Was the rent paid?"),
        ("length", "Is it due?", "Is it due when they are here with us and you have done what should be done by then?"),
        ("subject", "Does it cover damage by dogs?", "Does it cover damage by cats?"),
        ("subject", "How do I report a claim?", "How do I withdraw a claim?"),
        ("subject", "Do I pay the whole bill?", "Do I pay part of the bill?"),
        ("subject", "Can I let the flat to a friend?", "Can I rent the flat to a friend?"),
        ("numbers", "Is clause 4 subject to clause 9?", "Is clause 9 subject to clause 4?"),
        ("roles", "How do I reset his password?", "How do I reset her password?"),
        ("roles", "Can I see my file?", "Can I see his file?"),
        ("names", "Is the offer for Ms. Clark ready?", "Is the offer for Ms. Clarke ready?"),
        ("kind", "Who is the guardian in my case?", "What is the guardian in my case?"),
        ("kind", "How many employees had an accident?", "Which employees had an accident?"),
        ("direction", "How much did he lend her?", "How much did she lend him?"),
        ("direction", "Do I pay with the card?", "Do I pay for the card?"),
        (
            "direction",
            "The cyclist hit the pedestrian; both were injured. Who pays?",
            "The pedestrian hit the cyclist; both were injured. Who pays?",
        ),
        ("modality", "The fee will be charged.", "The fee may be charged."),
        ("modality", "You should rest after it.", "You must rest after it."),
        ("tense", "He has broken his wrist.", "He might have broken his wrist."),
        ("tense", "I have paid the bill. What now?", "I am about to pay the bill. What now?"),
        ("tense", "What happened if the merger failed?", "What would happen if the merger failed?"),
        ("tense", "The patient took aspirin. Is it a risk?", "The patient takes aspirin. Is it a risk?"),
        ("tense", "Was the meeting moved?", "Will the meeting be moved?"),
        ("tense", "Has the refund been sent?", "Will the refund be sent?"),
    ],
)
def test_a_guard_refuses(guard: str, asked: str, kept: str) -> None:
    assert GUARDS[guard](asked, kept)
    assert GUARDS[guard](kept, asked)
    assert refusal(asked, kept) is not None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("How do I cancel the policy?", "How can I cancel the policy?"),
        ("What's the deadline?", "What is the deadline?"),
        ("Can we pay $10,000 at once?", "Can we pay 10000 dollars at once?"),
        ("Is ten percent enough?", "Is 10 % enough?"),
        ("Is the limit twenty-five days?", "Is the limit 25 days?"),
        ("Who pays the costs if we lose?", "If we lose, who pays the costs?"),
        ("Who approves my travel expenses?", "By whom are my travel expenses approved?"),
        ("Does the contract renew automatically?", "Will the contract automatically renew?"),
        ("Am I allowed to sublet the flat?", "May I sublet the apartment?"),
        ("What is the number of my policy?", "What is my policy number?"),
        ("Do I have to inform the police?", "Must I notify the police?"),
        ("Is Acme bound by it?", "Is ACME bound by it?"),
        ("Summarise this contract.", "Would you kindly summarise this contract?"),
        ("Is the dentist in on Friday?", "Good morning, is the dentist in on Friday? Thank you."),
        ("Do I need a referral?", "Could you please tell me whether I need a referral?"),
        ("How long must I fast before surgery?", "Before surgery, how long must I fast?"),
        ("May I drive with a broken wrist?", "With a broken wrist, may I drive?"),
        ("What'll happen to my pension?", "What will happen to my pension?"),
        ("My boss fired me yesterday.", "My boss has fired me yesterday."),
        ("Can the bank freeze my account?", "Can my account be frozen by the bank?"),
        ("How do I get a receipt?", "How do I get a reciept?"),
        ("What if the buyer does not pay?", "What if the purchaser fails to pay?"),
        ("Are parking costs refundable?", "Parking costs refundable?"),
        ("Is the invoice of 5 January 2026 paid?", "Is the invoice of January 5, 2026 paid?"),
        ("The goods arrived damaged and late.", "The goods arrived late and damaged."),
        ("Is the warranty part of the offer?", "is the warranty part of the offer"),
    ],
)
def test_other_words_or_forms_pass(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("Hire a lawyer?", "Fire a lawyer?"),
        ("Hi, hire him.", "Hi, fire him."),
        ("Can you deliver on Sundays?", "Can I deliver on Sundays?"),
        ("Is the cost of car insurance high?", "Is the cost of caring insurance high?"),
        ("Anna owes Ben and Carl owes Dora. Is it so?", "Anna owes Carl and Ben owes Dora. Is it so?"),
        ("Parking costs refundable?", "Are parking costs not refundable?"),
        ("Opening hours Christmas", "What are the opening hours at Easter?"),
    ],
)
def test_courtesies_and_short_forms_hide_no_difference(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is not None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("How do I cancel my policy today?", "Hello, how do I cancel my policy today? Kind regards"),
    ],
)
def test_other_words_for_the_same_pass(asked: str, kept: str) -> None:
    assert refusal(asked, kept) is None


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("Ist der Vertrag gültig?", "Ist der Vertrag ungültig?"),
        ("Wie kündige ich den Vertrag?", "Wie kann ich den Vertrag kündigen?"),
        ("Quel est le délai de préavis ?", "Quel est le délai du préavis ?"),
        ("¿Es válido el contrato?", "¿No es válido el contrato?"),
        ("Is de opzegtermijn geldig?", "Is de opzegtermijn ongeldig?"),
        ("契約は有効ですか", "契約は無効ですか"),
    ],
)
def test_in_other_languages_other_words_are_refused(asked: str, kept: str) -> None:
    assert refusal(asked, kept) == "language"


def test_in_other_languages_capitals_blanks_and_stops_may_differ() -> None:
    assert refusal("wie lange ist die  frist", "Wie lange ist die Frist?") in (None, "language")
    assert refusal("Wie lange ist die  Frist", "Wie lange ist die Frist?") is None


def test_a_pair_is_judged_alike_in_both_orders() -> None:
    from finetune_engine.serve.semantic import shipped_pairs

    for pair in shipped_pairs():
        forward, back = refusal(pair.first, pair.second), refusal(pair.second, pair.first)
        assert (forward is None) == (back is None), pair


@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        ("Is a value > 5 allowed?", "Is a value < 5 allowed?"),
        ("Is -5 degrees safe?", "Is 5 degrees safe?"),
        ("What is C++ used for?", "What is C# used for?"),
        ("दिन", "दान"),
    ],
)
def test_signs_that_are_no_words_count_even_where_all_words_are_equal(asked: str, kept: str) -> None:
    assert refusal(asked, kept) == "signs"


def test_hyphens_and_punctuation_are_no_signs() -> None:
    assert refusal("Is a follow-up visit free?", "is a follow up visit free") is None
