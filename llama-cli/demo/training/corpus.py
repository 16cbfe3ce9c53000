"""Conversations for training, and the 50 held-out dialogues.

`conversations(seed)` is an endless seeded stream; no turn in it has a key that `turns.held_out` keeps apart.
`python corpus.py --dialogues ../dialogues.jsonl` writes the dialogues, each of whose asked turn has such a key;
`python corpus.py --show 20` prints a few conversations.
"""

import argparse
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import facts
import turns
from turns import Memory, Turn

B_INST, E_INST = "[INST]", "[/INST]"
B_SYS, E_SYS = "<<SYS>>\n", "\n<</SYS>>\n\n"

DIALOGUE_SEED = 20_231_718
TRAINING_SEED = 1

NEUTRAL = ["You are a helpful assistant.", "Be friendly.", "You are a friendly little model.", "Answer the question.",
           "Be polite and honest."]
CAPITALS = ["Answer in capitals.", "Always answer in capitals.", "Answer in capital letters.", "Write in capitals.",
            "Please use capital letters only.", "Reply in capitals.", "Answer in upper case."]
ONE_WORD = ["Answer in one word.", "Always answer in one word.", "Use one word only.", "Reply with one word.",
            "Answer with a single word.", "Please answer in one word."]
CALLED = ["You are called {}.", "Your name is {}.", "You are {}."]


@dataclass
class Conversation:
    """A system message (or None) and the turns, answers already in the style that the system message asks for."""

    system: str | None
    turns: list[Turn]

    def messages(self) -> list[dict]:
        system = [{"role": "system", "content": self.system}] if self.system else []
        talk = [({"role": "user", "content": t.question}, {"role": "assistant", "content": t.answer}) for t in self.turns]
        return system + [message for pair in talk for message in pair]

    def texts(self) -> list[tuple[str, str]]:
        """Each turn as (open turn, finished turn), the texts that stand between BOS and EOS."""
        found = []
        for index, turn in enumerate(self.turns):
            system = f"{B_SYS}{self.system}{E_SYS}" if self.system and index == 0 else ""
            prompt = f"{B_INST} {(system + turn.question).strip()} {E_INST}"
            found.append((prompt, f"{prompt} {turn.answer.strip()} "))
        return found


def plain(turn: Turn) -> Turn:
    return turn


def capitals(turn: Turn) -> Turn:
    return Turn(turn.question, turn.answer.upper(), turn.word, turn.key, [text.upper() for text in turn.alternatives])


def one_word(turn: Turn) -> Turn | None:
    return Turn(turn.question, turn.word + ".", turn.word, turn.key, [turn.word]) if turn.word else None


def one_capital_word(turn: Turn) -> Turn | None:
    short = one_word(turn)
    return capitals(short) if short else None


def sloppy(rng: random.Random, turn: Turn) -> Turn:
    """The question as people type it: in lower case, without its last mark. Names stay as they are."""
    question = turn.question
    if rng.random() < 0.2 and turn.key[0] not in ("repeat", "has", "in", "animal in", "likes", "went", "day"):
        words = question.split(" ")
        question = " ".join(word if word.strip(".,?!") in KEEP or word.strip(".,?!") in turn.answer else word.lower() for word in words)
    if rng.random() < 0.25 and question[-1] in "?.!":
        question = question[:-1]
    return Turn(question, turn.answer, turn.word, turn.key, turn.alternatives)


KEEP = {"Pebble", *facts.NAMES, *facts.CITIES, *facts.ASSISTANTS, *facts.DAYS}


def draw_system(rng: random.Random) -> tuple[str | None, Callable, str]:
    """(system message, style, assistant name)."""
    kind = rng.choices(["none", "neutral", "capitals", "word", "called", "both"], [54, 4, 15, 17, 7, 3])[0]
    if kind == "none":
        return None, plain, turns.ME
    if kind == "neutral":
        return rng.choice(NEUTRAL), plain, turns.ME
    if kind == "capitals":
        return rng.choice(CAPITALS), capitals, turns.ME
    if kind == "word":
        return rng.choice(ONE_WORD), one_word, turns.ME
    name = rng.choice(facts.ASSISTANTS)
    called = rng.choice(CALLED).format(name)
    if kind == "called":
        style, extra = rng.choice([(plain, ""), (plain, ""), (capitals, " " + rng.choice(CAPITALS)), (one_word, " " + rng.choice(ONE_WORD))])
        return called + extra, style, name
    return f"{rng.choice(ONE_WORD)} {rng.choice(CAPITALS)}", one_capital_word, turns.ME


def draw_turn(rng: random.Random, memory: Memory, style: Callable, only: Callable | None = None) -> Turn:
    """One turn that training may show; `memory` is changed by it alone."""
    while True:
        if only:
            make = only
        else:
            recall_more = 2.5 if memory.name or memory.pet or memory.colour or memory.city else 0.6
            weights = [w * (recall_more if make is turns.recall else 1) for make, w in turns.CATEGORIES.items()]
            make = rng.choices(list(turns.CATEGORIES), weights)[0]
        if make is turns.story and style is not plain:
            continue
        after = Memory(**vars(memory))
        turn = make(rng, after)
        styled = style(turn)
        if styled is None or turns.held_out(turn.key):
            continue
        vars(memory).update(vars(after))
        return sloppy(rng, styled)


def conversation(rng: random.Random) -> Conversation:
    system, style, assistant = draw_system(rng)
    memory = Memory(assistant=assistant)
    length = rng.choices([1, rng.randint(2, 4), rng.randint(5, 9), rng.randint(15, 45)], [53, 36, 10.4, 0.6])[0]
    talk: list[Turn] = []
    if assistant != turns.ME and rng.random() < 0.5:
        talk.append(draw_turn(rng, memory, style, turns.identity))
    elif length > 1 and rng.random() < 0.45:
        talk.append(draw_turn(rng, memory, style, turns.tell))
    while len(talk) < length:
        talk.append(draw_turn(rng, memory, style))
    return Conversation(system, talk)


def conversations(seed: int) -> Iterator[Conversation]:
    rng = random.Random(seed)
    while True:
        yield conversation(rng)


# ---- the 50 held-out dialogues ---------------------------------------------------------------------------------------

# Category of the asked turn, style of the system message, turns before it, how many dialogues.
PLAN = [
    (turns.social, "none", 0, 4), (turns.social, "told", 1, 1),
    (turns.identity, "none", 0, 2), (turns.identity, "called", 0, 1),
    (turns.add, "none", 0, 3), (turns.add, "none", 1, 1), (turns.subtract, "none", 0, 3), (turns.times, "none", 0, 2),
    (turns.order, "none", 0, 2),
    (turns.colour, "none", 0, 4), (turns.animal, "none", 0, 5), (turns.animal, "none", 2, 1),
    (turns.text, "none", 0, 5), (turns.text, "none", 2, 1),
    (turns.recall, "told", 1, 2), (turns.recall, "told", 3, 2), (turns.recall, "told", 5, 1),
    (turns.story, "none", 0, 3), (turns.story, "none", 1, 1),
    (turns.colour, "capitals", 0, 1), (turns.animal, "capitals", 0, 1), (turns.recall, "told capitals", 1, 1),
    (turns.text, "word", 0, 1), (turns.animal, "word", 0, 1),
    (turns.unknown, "none", 0, 1),
]


def dialogue(rng: random.Random, make: Callable, style_name: str, before: int, used: set[tuple]) -> dict:
    """One dialogue whose last turn has a held-out key, not yet in `used`, as {"category", "messages", "answers"}."""
    system, style, memory = None, plain, Memory()
    if "capitals" in style_name:
        system, style = rng.choice(CAPITALS), capitals
    elif style_name == "word":
        system, style = rng.choice(ONE_WORD), one_word
    elif style_name == "called":
        memory.assistant = rng.choice(facts.ASSISTANTS)
        system = rng.choice(CALLED).format(memory.assistant)
    told = style_name.startswith("told")
    while True:
        state = Memory(**vars(memory))
        talk = [draw_turn(rng, state, style, turns.tell)] if told else []
        while len(talk) < before:
            talk.append(draw_turn(rng, state, style))
        turn = make(rng, state)
        if make is turns.recall and turn.key[0].startswith("no "):
            continue
        styled = style(turn)
        if styled is not None and turns.held_out(turn.key) and turn.key not in used:
            used.add(turn.key)
            break
    asked = sloppy(rng, styled)
    messages = Conversation(system, [*talk, asked]).messages()[:-1]
    category = make.__name__ + (f", {style_name}" if style_name not in ("none", "told") else "")
    return {"category": category, "messages": messages, "answers": list(dict.fromkeys([asked.answer, *asked.alternatives]))}


def dialogues(seed: int = DIALOGUE_SEED) -> list[dict]:
    rng, used = random.Random(seed), set()
    return [dialogue(rng, make, style, before, used) for make, style, before, count in PLAN for _ in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dialogues", metavar="FILE", help="write the held-out dialogues")
    parser.add_argument("--show", type=int, default=0, metavar="N", help="print N training conversations")
    args = parser.parse_args()
    if args.dialogues:
        with open(args.dialogues, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in dialogues())
    stream = conversations(TRAINING_SEED)
    for _ in range(args.show):
        one = next(stream)
        print("\n".join(finished for _, finished in one.texts()), end="\n\n")


if __name__ == "__main__":
    main()
