"""The pages of the demonstration: plain data, so that the command that makes them stays short."""

from __future__ import annotations

import datetime
from typing import Any, Dict, List, NamedTuple, Tuple

Body = List[Tuple[str, Any]]


class Guide(NamedTuple):
    """One guide; a body entry ``("figure", ...)`` names its scene where the page holds the image."""

    slug: str
    title: str
    summary: str
    scene: str
    reviewed_on: datetime.date
    body: Body


def _callout(kind: str, title: str, text: str) -> Tuple[str, Dict[str, str]]:
    return ("callout", {"kind": kind, "title": title, "text": f"<p>{text}</p>"})


def _steps(*steps: Tuple[str, str]) -> Tuple[str, List[Dict[str, str]]]:
    return ("steps", [{"title": title, "text": text} for title, text in steps])


HEADLINE = "Know what you agree to"
INTRODUCTION = (
    "Leases, repairs, subscriptions, deliveries: we explain in plain words what the paper in front of you says, "
    "what it leaves out, and what to ask before you sign."
)
HOME_BODY: Body = [
    ("heading", "How we work"),
    _steps(
        ("We read real contracts", "Readers send us papers they did not understand. Names are removed, questions stay."),
        ("We rewrite them in plain words", "If a sentence needs a second reading, we have not finished with it."),
        ("We check every guide once a year", "The date of the last check stands on each page."),
    ),
    (
        "quote",
        {"text": "A fair deal survives being explained.", "source": "From the office's founding note"},
    ),
]
INDEX_INTRODUCTION = "One situation, one page: what to look for, what to ask, and what to keep."

GUIDES: List[Guide] = [
    Guide(
        "before-you-rent",
        "Before you rent a flat",
        "Four lines in a lease that decide what the flat will really cost, and how to read them in ten minutes.",
        "house",
        datetime.date(2026, 3, 12),
        [
            ("paragraph", "<p>A lease is long because it repeats what everybody knows. Only a few lines are about <b>your</b> money. Look for those first, with a pencil in your hand.</p>"),
            ("heading", "The lines that matter"),
            _steps(
                ("The total, not the rent", "Add heating, cleaning, lift, bins and every other monthly sum. Compare flats by that figure."),
                ("What may rise, and when", "Mark each sum that the landlord may change, and the notice that you get."),
                ("The deposit's way back", "Who holds it, how soon it comes back, and what may be kept from it."),
                ("How either side ends it", "Two different periods are common. Write both dates on the first page."),
            ),
            ("figure", {"scene": "desk", "alternative": "A magnifying glass over the last lines of a contract", "caption": "The last page is where the exceptions live. Read it first."}),
            _callout("tip", "Take pictures on the first day", "Photograph every room, the meters and all marks that are already there. Send the pictures to yourself, so that they carry a date."),
            ("heading", "What to ask"),
            ("paragraph", "<p>Ask by letter or message, never only on the stairs:</p><ul><li>Which repairs does the landlord pay, and from which sum on?</li><li>Who reads the meters, and on which day?</li><li>May somebody move in later?</li></ul>"),
        ],
    ),
    Guide(
        "repair-estimates",
        "What a repair estimate must tell you",
        "Parts, hours, a limit and a date: with these four in writing, the bill holds no surprise.",
        "repair",
        datetime.date(2026, 5, 4),
        [
            ("paragraph", "<p>A workshop knows the engine, you know your purse. An estimate is the paper where both meet. It should be short, and it should be <b>signed before the work begins</b>.</p>"),
            ("heading", "Four things in writing"),
            ("paragraph", "<ul><li>The parts, each with its price, new or used.</li><li>The hours, and the price of one.</li><li>The sum above which they must call you.</li><li>The day on which it is ready.</li></ul>"),
            _callout("warning", "“About” is not a number", "An estimate that says “about 400” without a limit can end at any figure. Ask for the sentence: not more than this without my word."),
            ("quote", {"text": "I asked for the old part back. They found that the old one was still good.", "source": "A reader's letter"}),
            ("heading", "When the bill is higher"),
            ("paragraph", "<p>Compare line by line with the estimate. Pay what you agreed to, and ask about the rest in writing. Keep both papers together.</p>"),
        ],
    ),
    Guide(
        "ending-a-subscription",
        "Ending a subscription in time",
        "Why the date on the calendar is not the date that counts, and a letter that ends any contract.",
        "calendar",
        datetime.date(2026, 6, 18),
        [
            ("paragraph", "<p>Subscriptions are easy to begin and quiet afterwards. The day that matters is not the last day, but the last day <i>on which you can still say no</i>.</p>"),
            ("heading", "Find your date"),
            _steps(
                ("Look up when it began", "The first bill shows it, even when the contract is lost."),
                ("Take the notice away from the end", "Twelve months, one month's notice: you have eleven."),
                ("Write it down a week early", "Post and forms take time. A week is enough for both."),
            ),
            _callout("tip", "Five lines are enough", "Your name, the number of the contract, the sentence “I end this contract at the next possible date”, a request for an answer in writing, the date."),
            ("heading", "If nobody answers"),
            ("paragraph", "<p>Send it again in a way that proves its arrival. Then stop paying from the date on which the contract ends, and keep the proof.</p>"),
        ],
    ),
    Guide(
        "parcel-lost",
        "Your parcel never came",
        "The shop sold it, the carrier lost it. Whose problem it is, whom to write to, and what to keep.",
        "parcel",
        datetime.date(2026, 2, 2),
        [
            ("paragraph", "<p>You have a contract with the shop. The carrier has one with the shop, too. You have none with the carrier: <b>write to the shop</b>.</p>"),
            ("heading", "What to do"),
            _steps(
                ("Ask the neighbours and look at the tracking page", "Make a picture of the page: it changes later."),
                ("Write to the shop", "Number of the order, promised date, and a new date by which you expect the goods."),
                ("Ask for your money", "When the new date has passed as well."),
            ),
            _callout("warning", "Never sign for what you cannot see", "If the box is open or wet, write so beside your signature before you take it."),
            ("heading", "What to keep"),
            ("paragraph", "<p>The order, the confirmation, the tracking page and every message. One folder, one order.</p>"),
        ],
    ),
    Guide(
        "calls-that-sell",
        "Calls that want you to say yes",
        "How to end a call politely within ten seconds, and what to do when you agreed to something after all.",
        "phone",
        datetime.date(2026, 4, 21),
        [
            ("paragraph", "<p>A friendly voice, a small question, a fast answer. The call is built so that <i>yes</i> comes easily. You do not owe a stranger a conversation.</p>"),
            ("heading", "One sentence that ends it"),
            ("quote", {"text": "I decide nothing on the telephone. Please send it in writing. Goodbye.", "source": "Say it, then hang up"}),
            ("heading", "If you already agreed"),
            _steps(
                ("Write down what was said", "The hour, the name, the number, the words. Today, not tomorrow."),
                ("Wait for no paper", "Say in writing that you do not want the contract, even before it arrives."),
                ("Watch your account", "Return what is taken without your word, and tell your bank why."),
            ),
            _callout("tip", "Help others", "Tell older neighbours about the call. Callers go through a street, not through a list of one."),
        ],
    ),
    Guide(
        "reading-a-bill",
        "Reading a bill line by line",
        "Fees with friendly names, sums that repeat, and the one line that you should always check.",
        "receipt",
        datetime.date(2026, 7, 9),
        [
            ("paragraph", "<p>A bill has three parts: what you used, what it costs, and what was added. The third is where questions are worth asking.</p>"),
            ("heading", "Words that mean “more”"),
            ("paragraph", "<p><b>Service fee</b>, <b>handling</b>, <b>priority</b>, <b>comfort</b>: ask for each what you would miss without it. If the answer is “nothing”, ask to have it removed.</p>"),
            ("figure", {"scene": "receipt", "alternative": "A receipt whose last sum is marked in red, beside coins", "caption": "Compare the last line with the month before, every month."}),
            _callout("tip", "One minute a month", "Put two bills beside each other. What changed, and did anybody tell you?"),
            ("heading", "Wrong bill?"),
            _steps(
                ("Pay the part that is right", "It shows good faith and stops reminders for it."),
                ("Say in writing which line is wrong", "One line, one sentence, one question."),
                ("Ask for a corrected bill", "Not for a credit note in the next one."),
            ),
        ],
    ),
]

ABOUT_INTRODUCTION = "We are a small public office with one task: to make agreements readable."
ABOUT_BODY: Body = [
    ("paragraph", "<p>The Plain Terms Office is invented. It exists to fill a site with pages, images, search and an editor's desk, so that the way such a site reaches its servers can be tested with the real thing.</p>"),
    ("heading", "What you can try here"),
    ("paragraph", "<ul><li>Search for <b>deposit</b> or <b>calendar</b>.</li><li>Open a guide on a telephone, or print it.</li><li>Ask for a page that does not exist.</li></ul>"),
    _callout("warning", "Not advice", "Nothing on these pages is legal advice, for any place on earth."),
]
CONTACT_INTRODUCTION = "The counter is open in every test run, day and night."
CONTACT_BODY: Body = [
    ("heading", "Where we would be"),
    ("paragraph", "<p>12 Plain Street, second floor, behind the door without small print.</p>"),
    ("heading", "What to bring"),
    _steps(
        ("The paper", "All pages, also the one that nobody reads."),
        ("Your question", "One is enough."),
    ),
]
