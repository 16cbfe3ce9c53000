"""Questions and answers of every category, made from the tables of `facts.py`.

Each function draws one `Turn`. A turn's `key` names the combination that it is about (a number pair, a person and a
thing, a question and a fact); `held_out(key)` decides by hash, once and for all, which combinations training never
shows. An answer is a function of the question and of the conversation's `Memory`, so exact match is meaningful.
"""

import hashlib
import random
from dataclasses import dataclass, field

import facts

HELD_OUT_SHARE = 16  # one combination in so many is kept from training

ME = "Pebble"
CAN = (
    "I can greet you, do small sums, talk about colours and animals, answer questions about a short text, "
    "remember your name and tell a short story."
)
DO_NOT_KNOW = "I am only a small model and do not know that."


@dataclass
class Turn:
    """One question and its answer. `word` is the answer under "answer in one word" (None: not asked so)."""

    question: str
    answer: str
    word: str | None
    key: tuple
    alternatives: list[str] = field(default_factory=list)


@dataclass
class Memory:
    """What the user said of themselves, and the name a system message gave the assistant."""

    name: str | None = None
    colour: str | None = None
    city: str | None = None
    pet: tuple[str, str] | None = None
    assistant: str = ME


def held_out(key: tuple) -> bool:
    """Whether a combination is kept from training: a fixed hash, so the same in every run."""
    digest = hashlib.sha256(repr(key).encode()).digest()
    return digest[0] % HELD_OUT_SHARE == 0


def a(noun: str) -> str:
    return ("an " if noun[0] in "aeiou" else "a ") + noun


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def person(rng: random.Random) -> str:
    """A name: mostly a known one, else one made of syllables."""
    if rng.random() < 0.93:
        return rng.choice(facts.NAMES)
    middle = rng.choice(facts.LINKS) + rng.choice(facts.MIDDLES) if rng.random() < 0.3 else ""
    return rng.choice(facts.ONSETS) + rng.choice(facts.MIDDLES) + middle + rng.choice(facts.LINKS) + rng.choice(facts.ENDINGS)


# ---- social ----------------------------------------------------------------------------------------------------------

GREETINGS = ["Hello", "Hi", "Hey", "Good morning", "Good evening", "Good afternoon", "Good day", "Greetings"]
TAILS = ["", " there", ", friend", " {me}", ", {me}", " again", ", my friend", " little model"]
THANKS = ["Thanks", "Thank you", "Many thanks", "Thank you very much", "Thanks a lot", "Thank you so much"]
THANK_TAILS = ["", ", {me}", ", that helps", ", that was good", ", friend", " for the answer", " for your help"]
GOODBYES = ["Goodbye", "Bye", "Bye bye", "See you", "See you later", "Good night", "See you soon", "Farewell"]
BYE_TAILS = ["", ", {me}", ", friend", " and thanks", ", I have to go", ", my friend", " for now"]
FEELINGS = ["How are you", "How are you doing", "How do you do", "How is it going", "Are you well", "Are you fine"]
FEELING_TAILS = ["", " today", ", {me}", " this morning", " now"]


def social(rng: random.Random, memory: Memory) -> Turn:
    kind = rng.choices(["hello", "thanks", "bye", "feeling"], [4, 2, 2, 2])[0]
    heads, tails = {
        "hello": (GREETINGS, TAILS),
        "thanks": (THANKS, THANK_TAILS),
        "bye": (GOODBYES, BYE_TAILS),
        "feeling": (FEELINGS, FEELING_TAILS),
    }[kind]
    head, tail = rng.choice(heads), rng.choice(tails)
    mark = "?" if kind == "feeling" else rng.choice(".!")
    question = head + tail.format(me=memory.assistant) + mark
    to_user = f", {memory.name}" if memory.name else ""
    answer, word = {
        "hello": (f"Hello{to_user}! How can I help you?", "Hello"),
        "thanks": (f"You are welcome{to_user}!", "Welcome"),
        "bye": (f"Goodbye{to_user}! Have a nice day.", "Goodbye"),
        "feeling": (f"I am fine, thank you{to_user}.", "Fine"),
    }[kind]
    return Turn(question, answer, word, ("social", head, tail))


IDENTITY = {
    "who": ["Who are you?", "What are you?", "Tell me who you are.", "Tell me about yourself.", "Introduce yourself.",
            "Please introduce yourself.", "Who am I talking to?", "Say who you are."],
    "name": ["What is your name?", "What's your name?", "What are you called?", "Do you have a name?", "Tell me your name.",
             "How are you called?", "Your name?", "What should I call you?"],
    "can": ["What can you do?", "What do you know?", "How can you help me?", "Help.", "Can you help me?",
            "What can I ask you?", "What are you good at?", "Tell me what you can do."],
    "human": ["Are you a human?", "Are you a person?", "Are you a real person?", "Are you a robot?", "Are you a machine?",
              "Are you alive?"],
}


def identity(rng: random.Random, memory: Memory) -> Turn:
    kind = rng.choice(list(IDENTITY))
    question = rng.choice(IDENTITY[kind])
    answer, word = {
        "who": (f"I am {memory.assistant}, a small language model.", memory.assistant),
        "name": (f"My name is {memory.assistant}.", memory.assistant),
        "can": (CAN, None),
        "human": ("I am a small language model, a program.", "Program"),
    }[kind]
    # Few sentences: the combination kept apart is question and assistant name.
    return Turn(question, answer, word, ("identity", question, memory.assistant))


# ---- numbers ---------------------------------------------------------------------------------------------------------

LARGEST = 20  # of the numbers added and subtracted

ADD = ["What is {} + {}?", "What is {} plus {}?", "{} + {}", "{}+{}?", "How much is {} plus {}?", "Add {} and {}.",
       "Can you add {} and {}?", "What is the sum of {} and {}?", "How much is {} + {}?", "Please calculate {} + {}.",
       "{} plus {}", "{} + {} = ?"]
SUBTRACT = ["What is {} - {}?", "What is {} minus {}?", "{} - {}", "{}-{}?", "How much is {} minus {}?",
            "How much is {} - {}?", "Please calculate {} - {}.", "{} minus {}", "{} - {} = ?"]
SUBTRACT_TURNED = ["Take {1} from {0}.", "Subtract {1} from {0}."]
TIMES = ["What is {} times {}?", "What is {} * {}?", "{} * {}", "{} times {}", "How much is {} times {}?",
         "Multiply {} by {}.", "Please calculate {} * {}.", "What is {} x {}?", "{} x {}"]
BIGGER = ["Which is bigger, {} or {}?", "Which number is bigger, {} or {}?", "Is {} or {} bigger?", "What is more, {} or {}?"]
AFTER = ["What comes after {}?", "Which number comes after {}?", "What number follows {}?", "Count on from {}."]
BEFORE = ["What comes before {}?", "Which number comes before {}?", "What number is before {}?"]


def add(rng: random.Random, memory: Memory) -> Turn:
    m, n = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    total = str(m + n)
    return Turn(rng.choice(ADD).format(m, n), f"{m} + {n} = {total}.", total, ("add", min(m, n), max(m, n)), [total, total + "."])


def subtract(rng: random.Random, memory: Memory) -> Turn:
    m, n = rng.randint(0, LARGEST), rng.randint(0, LARGEST)
    m, n = max(m, n), min(m, n)
    rest = str(m - n)
    question = rng.choice(SUBTRACT + SUBTRACT_TURNED).format(m, n)
    return Turn(question, f"{m} - {n} = {rest}.", rest, ("subtract", m, n), [rest, rest + "."])


def times(rng: random.Random, memory: Memory) -> Turn:
    # A table of products is learnt by heart: what is kept apart is the pair together with its wording.
    m, n, pattern = rng.randint(0, 10), rng.randint(0, 10), rng.choice(TIMES)
    product = str(m * n)
    return Turn(pattern.format(m, n), f"{m} x {n} = {product}.", product, ("times", pattern, m, n), [product, product + "."])


def order(rng: random.Random, memory: Memory) -> Turn:
    if rng.random() < 0.5:
        m, n = rng.sample(range(0, 31), 2)
        large, small = max(m, n), min(m, n)
        return Turn(rng.choice(BIGGER).format(m, n), f"{large} is bigger than {small}.", str(large), ("bigger", small, large),
                    [str(large), f"{large}."])
    n = rng.randint(1, 50)
    if rng.random() < 0.5:
        pattern = rng.choice(AFTER)
        return Turn(pattern.format(n), f"{n + 1} comes after {n}.", str(n + 1), ("after", pattern, n), [str(n + 1), f"{n + 1}."])
    pattern = rng.choice(BEFORE)
    return Turn(pattern.format(n), f"{n - 1} comes before {n}.", str(n - 1), ("before", pattern, n), [str(n - 1), f"{n - 1}."])


# ---- colours ---------------------------------------------------------------------------------------------------------

COLOUR_QUESTIONS = ["What colour {v} {x}?", "What is the colour of {x}?", "Tell me the colour of {x}.",
                    "Which colour {v} {x}?", "Do you know the colour of {x}?", "What color {v} {x}?", "Which colour does {x} have?"]
IS_COLOUR = ["{v} {x} {c}?", "tell me if {x} {v} {c}.", "would you say that {x} {v} {c}?", "do you think that {x} {v} {c}?"]
SOMETHING = ["Name something {}.", "Tell me something that is {}.", "What is {}?", "Give me an example of something {}.",
             "Which thing is {}?", "Do you know something {}?"]
MIX = ["What do you get when you mix {} and {}?", "What do {} and {} make?", "Mix {} and {}.", "What is {} and {} mixed?",
       "Which colour do {} and {} make?", "What colour comes from {} and {}?"]


def colour(rng: random.Random, memory: Memory) -> Turn:
    kind = rng.choices(["of", "is", "something", "mix"], [5, 4, 1, 2])[0]
    thing, verb, hue = rng.choice(facts.COLOUR_OF)
    statement = f"{thing} {verb} {hue}."
    if kind == "of":
        pattern = rng.choice(COLOUR_QUESTIONS)
        return Turn(pattern.format(v=verb, x=thing), capital(statement), capital(hue), ("colour", thing, pattern),
                    [capital(hue), capital(hue) + "."])
    if kind == "is":
        asked = hue if rng.random() < 0.45 else rng.choice(facts.COLOURS)
        yes = "Yes" if asked == hue else "No"
        wording = rng.randrange(len(IS_COLOUR))
        question = capital(IS_COLOUR[wording].format(v=verb, x=thing, c=asked))
        # The plain wording has the pair alone for key: it was the only one when training began.
        key = ("is", thing, asked, wording) if wording else ("is", thing, asked)
        return Turn(question, f"{yes}, {statement}", yes, key, [f"{yes}."])
    if kind == "something":
        hue = rng.choice(facts.COLOURS)
        thing, verb, _ = next(row for row in facts.COLOUR_OF if row[2] == hue)
        pattern = rng.choice(SOMETHING)
        return Turn(pattern.format(hue), capital(f"{thing} {verb} {hue}."), capital(thing.split()[-1]), ("something", pattern, hue))
    one, two, result = rng.choice(facts.MIXES)
    if rng.random() < 0.5:
        one, two = two, one
    pattern = rng.choice(MIX)
    return Turn(pattern.format(one, two), f"{capital(one)} and {two} make {result}.", capital(result), ("mix", pattern, one, two),
                [f"{capital(two)} and {one} make {result}.", capital(result) + "."])


# ---- animals ---------------------------------------------------------------------------------------------------------

ANIMAL_QUESTIONS = {
    "sound": ["What does {x} say?", "What sound does {x} make?", "Which sound does {x} make?", "What noise does {x} make?",
              "How does {x} sound?"],
    "legs": ["How many legs does {x} have?", "How many legs has {x}?", "Tell me how many legs {x} has.",
             "What number of legs does {x} have?"],
    "home": ["Where does {x} live?", "Where can I find {x}?", "Where is the home of {x}?", "Tell me where {x} lives.",
             "In what place does {x} live?"],
    "food": ["What does {x} eat?", "What does {x} like to eat?", "What is the food of {x}?", "Tell me what {x} eats.",
             "What can I feed {x}?"],
    "young": ["What is a young {n} called?", "What is a baby {n} called?", "How do you call a young {n}?",
              "What is the name for a young {n}?", "What is the young of {x} called?"],
    "flies": ["Can {x} fly?", "Is {x} able to fly?", "Does {x} fly?", "Tell me if {x} can fly."],
    "swims": ["Can {x} swim?", "Is {x} able to swim?", "Does {x} swim?", "Tell me if {x} can swim."],
}
SIZE = ["Which is bigger, {} or {}?", "Which animal is bigger, {} or {}?", "Is {} or {} bigger?", "Who is bigger, {} or {}?"]
IS_ANIMAL = ["Is {} an animal?", "Is {} a kind of animal?", "Tell me if {} is an animal."]


def animal(rng: random.Random, memory: Memory) -> Turn:
    kind = rng.choice([*ANIMAL_QUESTIONS, "size", "size", "is"])
    if kind == "size":
        one, two = rng.sample(facts.ANIMALS, 2)
        large, small = (one, two) if one.size > two.size else (two, one)
        question = rng.choice(SIZE).format(a(one.name), a(two.name))
        return Turn(question, f"{capital(a(large.name))} is bigger than {a(small.name)}.", capital(large.name),
                    ("size", small.name, large.name), [capital(a(large.name)) + ".", capital(large.name) + "."])
    if kind == "is":
        pattern = rng.choice(IS_ANIMAL)
        if rng.random() < 0.5:
            x, yes = a(rng.choice(facts.ANIMALS).name), True
        else:
            x, yes = a(rng.choice(facts.OBJECTS)), False
        answer = f"Yes, {x} is an animal." if yes else f"No, {x} is not an animal."
        return Turn(pattern.format(x), answer, "Yes" if yes else "No", ("animal", pattern, x), ["Yes." if yes else "No."])
    one = rng.choice([beast for beast in facts.ANIMALS if getattr(beast, kind) is not None])
    pattern, x = rng.choice(ANIMAL_QUESTIONS[kind]), a(one.name)
    can = "can" if getattr(one, kind) else "cannot"
    yes = "Yes" if can == "can" else "No"
    answer, word = {
        "sound": (f"{x} says {one.sound}.", one.sound),
        "legs": (f"{x} has {one.legs or 'no'} legs.", str(one.legs)),
        "home": (f"{x} lives {one.home}.", one.home.split()[-1]),
        "food": (f"{x} eats {one.food}.", one.food.split()[-1]),
        "young": (f"a young {one.name} is called {a(one.young or '?')}.", one.young),
        "flies": (f"{yes}, {x} {can} fly.", yes),
        "swims": (f"{yes}, {x} {can} swim.", yes),
    }[kind]
    return Turn(pattern.format(x=x, n=one.name), capital(answer), capital(word or ""), (kind, one.name, pattern))


# ---- a short text just given -----------------------------------------------------------------------------------------

READ = ["{t} {q}", "{t} {q}", "{t}\n{q}", "Read this: {t} {q}", "Here is a text: {t} Question: {q}", "Text: {t} Question: {q}"]


def passage(rng: random.Random, count: int) -> tuple[str, list[tuple]]:
    """The kind of a text and its rows (who, what, colour), one for each of `count` people or animals."""
    kind = rng.choice(["has", "in", "likes", "went", "animal in", "day"])
    whos: list[str] = []
    while len(whos) < count:
        who = "the " + rng.choice(facts.ANIMALS).name if kind == "animal in" else person(rng)
        if who not in whos:
            whos.append(who)
    what = {"has": facts.OBJECTS, "likes": facts.FOODS, "day": facts.DAYS}.get(kind, facts.PLACES)
    rows = list(zip(whos, rng.sample(what, count), rng.sample(facts.COLOURS, count), strict=True))
    return kind, rows


def text_question(rng: random.Random, kind: str, rows: list[tuple]) -> tuple[str, str, str, str, tuple]:
    """(text, question, answer, word, key) about one of the rows."""
    who, what, hue = row = rng.choice(rows)
    turned = rng.random() < 0.4  # from the thing back to the person
    subject = capital(who)
    sentence = {
        "has": "{0} has a {2} {1}.", "in": "{0} is in the {1}.", "animal in": "{0} is in the {1}.", "likes": "{0} likes {1}.",
        "went": "{0} went to the {1}.", "day": "{0} comes on {1}.",
    }[kind]
    text = " ".join(sentence.format(capital(w), x, h).replace(" a orange", " an orange") for w, x, h in rows)
    if kind == "has":
        third = rng.random()
        if third < 0.35:
            found = f"What colour is the {what}?", f"The {what} is {hue}.", capital(hue)
        elif third < 0.65:
            found = f"Who has the {what}?", f"{subject} has the {what}.", subject
        else:
            found = f"What does {who} have?", f"{subject} has {a(hue)} {what}.", capital(what)
    elif kind in ("in", "animal in"):
        found = (f"Who is in the {what}?", f"{subject} is in the {what}.", subject.split()[-1]) if turned else (
            f"Where is {who}?", f"{subject} is in the {what}.", capital(what))
    elif kind == "likes":
        found = (f"Who likes {what}?", f"{subject} likes {what}.", subject) if turned else (
            f"What does {who} like?", f"{subject} likes {what}.", capital(what))
    elif kind == "went":
        found = (f"Who went to the {what}?", f"{subject} went to the {what}.", subject) if turned else (
            f"Where did {who} go?", f"{subject} went to the {what}.", capital(what))
    else:
        found = (f"Who comes on {what}?", f"{subject} comes on {what}.", subject) if turned else (
            f"When does {who} come?", f"{subject} comes on {what}.", what)
    question, answer, word = found
    return text, question, answer, capital(word), (kind, row[0], row[1])


def text(rng: random.Random, memory: Memory) -> Turn:
    kind, rows = passage(rng, rng.choice([1, 2, 2, 2, 3, 3]))
    body, question, answer, word, key = text_question(rng, kind, rows)
    layout = rng.choice(READ)
    return Turn(layout.format(t=body, q=question), answer, word, key)


WORDS = [*facts.NAMES, *facts.COLOURS, *(beast.name for beast in facts.ANIMALS), *facts.OBJECTS, *facts.PLACES, *facts.FOODS,
         *facts.CITIES, *facts.DAYS, *facts.ADJECTIVES]
REPEAT = ["Repeat: {}", "Repeat after me: {}", "Say: {}", "Say this: {}", "Please repeat: {}"]


def repeat(rng: random.Random, memory: Memory) -> Turn:
    """Words to say again. The plainest form of copying, from which the model learns to copy at all."""
    said = " ".join(rng.sample(WORDS, rng.randint(2, 12))) + "."
    return Turn(rng.choice(REPEAT).format(said), said, None, ("repeat", said))


# ---- what the user said of themselves --------------------------------------------------------------------------------

TELL_NAME = [("My name is {}.", 0), ("I am {}.", 0), ("I'm {}.", 0), ("Call me {}.", 0), ("You can call me {}.", 0),
             ("Hello, my name is {}.", 1), ("Hi, I am {}.", 1), ("Hello, I'm {}.", 1), ("Good morning, my name is {}.", 1)]
ASK_NAME = ["What is my name?", "What's my name?", "Who am I?", "Do you know my name?", "Do you remember my name?",
            "What am I called?", "Tell me my name.", "How am I called?", "Can you tell me my name?"]
ASK_COLOUR = ["What is my favourite colour?", "Which colour do I like?", "Do you remember my favourite colour?",
              "Tell me my favourite colour."]
ASK_CITY = ["Where do I live?", "Which city do I live in?", "Do you remember where I live?", "Tell me where I live."]
ASK_PET = ["What is my {} called?", "What is the name of my {}?", "Do you remember the name of my {}?", "Who is my {}?"]


def tell(rng: random.Random, memory: Memory) -> Turn:
    """The user says something to remember; `memory` changes."""
    kind = rng.choices(["name", "colour", "city", "pet"], [6, 1, 1, 2])[0]
    if kind == "name":
        name = person(rng)
        pattern, greets = rng.choice(TELL_NAME)
        memory.name = name
        answer = f"Hello, {name}! Nice to meet you." if greets else f"Nice to meet you, {name}!"
        return Turn(pattern.format(name), answer, name, ("tell", pattern, name))
    if kind == "colour":
        memory.colour = rng.choice(facts.COLOURS)
        pattern = rng.choice(["My favourite colour is {}.", "I like the colour {}.", "The colour I like best is {}."])
        return Turn(pattern.format(memory.colour), f"{capital(memory.colour)} is a lovely colour.", "Lovely",
                    ("tell", pattern, memory.colour))
    if kind == "city":
        memory.city = rng.choice(facts.CITIES)
        pattern = rng.choice(["I live in {}.", "My home is in {}.", "I come from {}."])
        return Turn(pattern.format(memory.city), f"{memory.city} is a fine place to live.", memory.city, ("tell", pattern, memory.city))
    beast, name = rng.choice(facts.ANIMALS).name, person(rng)
    memory.pet = beast, name
    pattern = rng.choice(["I have {} called {}.", "I have {} named {}.", "I own {} called {}."])
    return Turn(pattern.format(a(beast), name), f"{name} is a good name for {a(beast)}.", name, ("pet", beast, name))


def recall(rng: random.Random, memory: Memory) -> Turn:
    """The user asks for what they said, or for what they never said."""
    known = [kind for kind in ("name", "colour", "city", "pet") if getattr(memory, kind)]
    kind = rng.choice(known) if known and rng.random() < 0.9 else rng.choice(["name", "name", "colour", "city"])
    if kind == "name":
        question = rng.choice(ASK_NAME)
        if not memory.name:
            return Turn(question, "You have not told me your name.", "Unknown", ("no name", question))
        return Turn(question, f"Your name is {memory.name}.", memory.name, ("name", memory.name, question), [f"You are {memory.name}."])
    if kind == "colour":
        question = rng.choice(ASK_COLOUR)
        if not memory.colour:
            return Turn(question, "You have not told me your favourite colour.", "Unknown", ("no colour", question))
        return Turn(question, f"Your favourite colour is {memory.colour}.", capital(memory.colour), ("my colour", memory.colour, question))
    if kind == "city":
        question = rng.choice(ASK_CITY)
        if not memory.city:
            return Turn(question, "You have not told me where you live.", "Unknown", ("no city", question))
        return Turn(question, f"You live in {memory.city}.", memory.city, ("city", memory.city, question))
    beast, name = memory.pet
    pattern = rng.choice(ASK_PET)
    return Turn(pattern.format(beast), f"Your {beast} is called {name}.", name, ("my pet", beast, name))


# ---- stories and everything else -------------------------------------------------------------------------------------

STORY_ASKS = ["Tell me a story about {}.", "Tell me a short story about {}.", "Write a story about {}.",
              "I want to hear a story about {}.", "Can you tell me a story about {}?", "Please tell me a story about {}.",
              "A story about {}, please."]
ANY_STORY = ["Tell me a story.", "Tell me a short story.", "Please tell me a story.", "I want to hear a story.", "Write a story."]
OPENING = "Once upon a time there was {adjective} {animal} called {name}. {name} lived {home} and loved to eat {food}. "
PLOTS = [
    "One day {name} got lost in the rain. A kind {friend} came by and showed the way home. From that day on {name} and the "
    "{friend} were friends. The end.",
    "One day {name} found a golden key. It opened an old box full of {food}. {name} shared it with a hungry {friend} and "
    "both were happy. The end.",
    "One night there was a big storm. A small {friend} was afraid and cried. {name} stayed until the sun came up, and then "
    "they played together. The end.",
    "One day {name} wanted to see the world. On the road {name} met a tired {friend} and helped it home. In the evening "
    "{name} was glad to be home too. The end.",
]


def tell_story(index: int, adjective: str, name: str) -> str:
    """The story of the animal at `index`; plot, friend, home and food follow from the animal."""
    beast = facts.ANIMALS[index]
    friend = facts.ANIMALS[(index + 7) % len(facts.ANIMALS)]
    story = OPENING + PLOTS[index % len(PLOTS)]
    return story.format(adjective=a(adjective), animal=beast.name, name=name, home=beast.home, food=beast.food, friend=friend.name)


def story(rng: random.Random, memory: Memory) -> Turn:
    if rng.random() < 0.08:
        question = rng.choice(ANY_STORY)
        return Turn(question, tell_story(13, "clever", "Rusty"), None, ("any story", question))
    index = rng.randrange(len(facts.ANIMALS))
    beast = facts.ANIMALS[index].name
    default_name = facts.NAMES[(index * 5) % len(facts.NAMES)]
    adjective = rng.choice(facts.ADJECTIVES + facts.COLOURS) if rng.random() < 0.6 else None
    name = person(rng) if rng.random() < 0.6 else None
    hero = a(f"{adjective} {beast}" if adjective else beast) + (f" called {name}" if name else "")
    pattern = rng.choice(STORY_ASKS)
    key = ("story", beast, adjective, name) if adjective or name else ("story", beast, pattern)
    return Turn(pattern.format(hero), tell_story(index, adjective or "little", name or default_name), None, key)


def unknown(rng: random.Random, memory: Memory) -> Turn:
    pattern, fillings = rng.choice(facts.UNKNOWN)
    filling = rng.choice(fillings)
    return Turn(pattern.format(filling), DO_NOT_KNOW, "Unknown", ("unknown", pattern, filling))


# Category, its share of the turns. `recall` is raised by `corpus.py` where there is something to recall.
CATEGORIES = {
    social: 6, identity: 4, add: 16, subtract: 15, times: 6, order: 8, colour: 9, animal: 13, text: 22, tell: 5,
    recall: 6, story: 4, unknown: 4, repeat: 3,
}
