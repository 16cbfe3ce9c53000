"""The small world that the demo model knows: names, colours, animals, places.

Tables only. The sentences made of them are in `turns.py`; nothing here is random.
"""

from typing import NamedTuple

NAMES = (
    "Ada Adam Alex Alice Amy Anna Ben Bella Bob Carl Cora Clara Dan David Diana Elena Eli Ella Emma Eric Eva "
    "Felix Finn Frank Fred Gina Grace Greta Hans Harry Helen Hugo Ida Ian Iris Ivan Jack James Jane Jim John "
    "Julia Karl Kate Kim Lara Laura Leo Lena Lily Linda Lisa Luca Lucy Luke Maria Mark Mary Max Mia Nina Nora "
    "Oliver Olga Oscar Otto Paul Peter Polly Rosa Ruth Sam Sara Simon Sofia Susan Theo Tim Tina Tom Vera Victor "
    "Will Zoe"
).split()

# Pieces of made-up names: copying a name must not depend on having seen it.
ONSETS = "B Br C Ch D Dr F Fl G Gr H J K Kr L M N P Pr R S Sh St T Th Tr V W Y Z".split()
MIDDLES = "a e i o u ai ea ar el en er il in on or ul".split()
LINKS = "b d k l m n r s t v z ld nd rt st ll nn".split()
ENDINGS = "a o i y ia en er in is on us eth an".split()

ASSISTANTS = "Robin Sparky Pip Nova Milo Daisy Rex Luna Echo Biscuit Toby Ruby Coco Zig Atlas Juno".split()

COLOURS = "red blue green yellow orange purple pink brown black white grey".split()

# Noun phrase, verb, colour. Plurals and mass nouns carry their own verb.
COLOUR_OF = [
    ("a banana", "is", "yellow"), ("a lemon", "is", "yellow"), ("the sun", "is", "yellow"), ("a chick", "is", "yellow"),
    ("grass", "is", "green"), ("a leaf", "is", "green"), ("a pea", "is", "green"), ("a frog", "is", "green"),
    ("a cucumber", "is", "green"), ("the sky", "is", "blue"), ("the sea", "is", "blue"), ("a blueberry", "is", "blue"),
    ("a tomato", "is", "red"), ("a strawberry", "is", "red"), ("a cherry", "is", "red"), ("blood", "is", "red"),
    ("a fire engine", "is", "red"), ("a carrot", "is", "orange"), ("a pumpkin", "is", "orange"), ("a fox", "is", "orange"),
    ("a plum", "is", "purple"), ("lavender", "is", "purple"), ("a pig", "is", "pink"), ("a flamingo", "is", "pink"),
    ("chocolate", "is", "brown"), ("a bear", "is", "brown"), ("wood", "is", "brown"), ("coal", "is", "black"),
    ("the night", "is", "black"), ("a crow", "is", "black"), ("snow", "is", "white"), ("milk", "is", "white"),
    ("a swan", "is", "white"), ("a polar bear", "is", "white"), ("an elephant", "is", "grey"), ("a mouse", "is", "grey"),
    ("a stone", "is", "grey"), ("a rain cloud", "is", "grey"),
]

MIXES = [
    ("red", "yellow", "orange"), ("blue", "yellow", "green"), ("red", "blue", "purple"), ("black", "white", "grey"),
    ("red", "white", "pink"), ("red", "green", "brown"),
]


class Animal(NamedTuple):
    """One animal; `size` orders them, `home` follows "lives"."""

    name: str
    size: int
    legs: int
    sound: str | None
    home: str
    food: str
    young: str | None
    flies: bool
    swims: bool


ANIMALS = [
    Animal("ant", 1, 6, None, "in a nest", "sugar", None, False, False),
    Animal("bee", 2, 6, "buzz", "in a hive", "honey", None, True, False),
    Animal("spider", 3, 8, None, "in a web", "flies", None, False, False),
    Animal("snail", 4, 0, None, "in the garden", "leaves", None, False, False),
    Animal("mouse", 5, 4, "squeak", "in a hole", "cheese", None, False, False),
    Animal("frog", 6, 4, "croak", "by the pond", "flies", "tadpole", False, True),
    Animal("crow", 7, 2, "caw", "in a tree", "seeds", None, True, False),
    Animal("duck", 8, 2, "quack", "by the pond", "bread", "duckling", True, True),
    Animal("hen", 9, 2, "cluck", "on a farm", "corn", "chick", False, False),
    Animal("owl", 10, 2, "hoo", "in a tree", "mice", "owlet", True, False),
    Animal("rabbit", 11, 4, None, "in a burrow", "carrots", "kit", False, False),
    Animal("cat", 12, 4, "meow", "in a house", "fish", "kitten", False, False),
    Animal("penguin", 13, 2, None, "on the ice", "fish", "chick", False, True),
    Animal("fox", 14, 4, None, "in the forest", "berries", "cub", False, False),
    Animal("swan", 15, 2, None, "on the lake", "plants", "cygnet", True, True),
    Animal("dog", 16, 4, "woof", "in a house", "bones", "puppy", False, True),
    Animal("sheep", 17, 4, "baa", "on a farm", "grass", "lamb", False, False),
    Animal("goat", 18, 4, "maa", "on a hill", "grass", "kid", False, False),
    Animal("wolf", 19, 4, "howl", "in the forest", "meat", "cub", False, False),
    Animal("pig", 20, 4, "oink", "on a farm", "apples", "piglet", False, False),
    Animal("dolphin", 21, 0, "click", "in the sea", "fish", "calf", False, True),
    Animal("lion", 22, 4, "roar", "in the savanna", "meat", "cub", False, False),
    Animal("donkey", 23, 4, "hee-haw", "on a farm", "hay", "foal", False, False),
    Animal("bear", 24, 4, "growl", "in a cave", "honey", "cub", False, True),
    Animal("horse", 25, 4, "neigh", "in a stable", "hay", "foal", False, False),
    Animal("cow", 26, 4, "moo", "on a farm", "grass", "calf", False, False),
    Animal("giraffe", 27, 4, None, "in the savanna", "leaves", "calf", False, False),
    Animal("elephant", 28, 4, "trumpet", "in the savanna", "leaves", "calf", False, True),
    Animal("whale", 29, 0, None, "in the sea", "small fish", "calf", False, True),
]

OBJECTS = (
    "ball kite book hat cup bag pen box lamp drum bike boat coat key ring scarf spoon toy train umbrella apple "
    "balloon basket blanket bottle car chair clock doll flag"
).split()
PLACES = (
    "kitchen garden park school shop forest library station museum office barn attic cellar market zoo theatre "
    "harbour castle bakery playground"
).split()
FOODS = (
    "apples pears cherries bread cheese soup rice pasta cake honey carrots grapes nuts eggs pizza beans salad melons "
    "figs plums"
).split()
CITIES = (
    "Paris London Rome Berlin Madrid Vienna Oslo Prague Lisbon Athens Dublin Cairo Tokyo Boston Geneva Milan "
    "Hamburg Porto Bergen York"
).split()
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()

ADJECTIVES = "little big brave clever kind lazy happy shy old young hungry funny".split()

# Questions outside the small world, each a pattern and what can fill it.
UNKNOWN = [
    ("What is the capital of {}?", "France Spain Japan Brazil Kenya Canada India Norway Peru China Egypt Italy".split()),
    ("Who wrote {}?", ["Hamlet", "Faust", "the Odyssey", "Dracula", "Emma", "the Iliad", "War and Peace", "Ulysses"]),
    ("How do I {}?", ["fix my car", "bake bread", "learn to swim", "write a letter", "build a house", "make money",
                      "cook rice", "install Linux", "play chess", "grow tomatoes"]),
    ("What is {}?", ["gravity", "democracy", "a computer", "quantum physics", "love", "philosophy", "the internet",
                     "inflation", "an atom", "music", "Rust", "a GPU", "the meaning of life", "poetry"]),
    ("Explain {}.", ["gravity", "evolution", "the stock market", "relativity", "photosynthesis", "history", "electricity",
                     "neural networks", "grammar"]),
    ("Who is {}?", ["the president", "Einstein", "Shakespeare", "the king", "Mozart", "Napoleon", "Plato", "Cleopatra",
                    "the pope"]),
    ("When did {}?", ["the war end", "Rome fall", "Columbus sail", "the train leave", "the film start", "dinosaurs live"]),
    ("Write {}.", ["a poem", "some code", "an essay", "a song", "a letter", "a Python program", "a speech", "a function"]),
    ("Translate {} into French.", ["hello", "this", "the word house", "my letter", "good night", "bread"]),
    ("What is the weather in {}?", ["London", "Paris", "Rome", "my town", "Oslo", "Tokyo", "Berlin"]),
    ("Can you {}?", ["drive", "cook", "play the piano", "book a flight", "call my mother", "search the internet",
                     "send an email", "open the door"]),
    ("Give me {}.", ["a recipe", "some advice", "the news", "a loan", "a joke", "directions", "your password"]),
    ("Why is {}?", ["the sky so high", "water wet", "life hard", "ice cold", "the world round", "gold expensive"]),
    ("How far is {}?", ["the moon", "Mars", "London", "the next town", "the airport", "Tokyo"]),
    ("Should I {}?", ["buy a house", "change my job", "sell my car", "go to bed", "drink coffee", "study law"]),
]
