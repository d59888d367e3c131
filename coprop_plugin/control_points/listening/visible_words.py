"""Nouns for visible things, and the AudioSet labels that tell that one of them sounds."""

from collections.abc import Mapping, Sequence

from coprop_plugin.errors import ControlPointError

Words = Sequence[str] | Mapping[str, Sequence[str]]
"""Names to detect; or names with the labels of a detector that mean them, () for its own match."""

VISIBLE: Mapping[str, tuple[str, ...]] = {
    "person": (
        "Speech", "Male speech, man speaking", "Female speech, woman speaking",
        "Child speech, kid speaking", "Conversation", "Narration, monologue", "Shout", "Yell",
        "Screaming", "Whispering", "Laughter", "Giggle", "Singing", "Male singing",
        "Female singing", "Child singing", "Rapping", "Humming", "Whistling", "Cough", "Sneeze",
        "Snoring", "Clapping", "Children shouting", "Crying, sobbing",
    ),
    "baby": ("Baby cry, infant cry", "Baby laughter", "Babbling"),
    "crowd": ("Crowd", "Applause", "Cheering", "Children playing", "Choir"),
    "dog": ("Dog", "Bark", "Yip", "Howl", "Bow-wow", "Growling", "Whimper (dog)"),
    "cat": ("Cat", "Purr", "Meow", "Hiss", "Caterwaul"),
    "horse": ("Horse", "Clip-clop", "Neigh, whinny"),
    "cow": ("Cattle, bovinae", "Moo", "Cowbell"),
    "pig": ("Pig", "Oink"),
    "goat": ("Goat", "Bleat"),
    "sheep": ("Sheep",),
    "chicken": ("Chicken, rooster", "Cluck", "Crowing, cock-a-doodle-doo"),
    "duck": ("Duck", "Quack", "Goose", "Honk"),
    "bird": (
        "Bird", "Bird vocalization, bird call, bird song", "Chirp, tweet", "Squawk",
        "Pigeon, dove", "Coo", "Crow", "Caw", "Owl", "Hoot",
    ),
    "lion": ("Roaring cats (lions, tigers)", "Roar"),
    "frog": ("Frog", "Croak"),
    "insect": ("Insect", "Cricket", "Mosquito", "Fly, housefly", "Bee, wasp, etc.", "Buzz"),
    "mouse": ("Mouse", "Rodents, rats, mice"),
    "guitar": (
        "Guitar", "Electric guitar", "Acoustic guitar", "Bass guitar", "Strum",
        "Tapping (guitar technique)", "Steel guitar, slide guitar",
    ),
    "ukulele": ("Ukulele",),
    "banjo": ("Banjo",),
    "sitar": ("Sitar",),
    "piano": (
        "Piano", "Electric piano", "Keyboard (musical)", "Organ", "Synthesizer", "Harpsichord",
    ),
    "drum": (
        "Drum", "Drum kit", "Drum roll", "Snare drum", "Rimshot", "Bass drum", "Timpani", "Tabla",
        "Cymbal", "Hi-hat",
    ),
    "xylophone": ("Marimba, xylophone", "Vibraphone", "Glockenspiel", "Mallet percussion"),
    "tambourine": ("Tambourine",),
    "violin": ("Violin, fiddle", "Pizzicato", "Bowed string instrument"),
    "cello": ("Cello",),
    "double bass": ("Double bass",),
    "harp": ("Harp",),
    "trumpet": ("Trumpet", "Brass instrument"),
    "trombone": ("Trombone",),
    "horn": ("French horn",),
    "flute": ("Flute",),
    "saxophone": ("Saxophone",),
    "clarinet": ("Clarinet",),
    "harmonica": ("Harmonica",),
    "accordion": ("Accordion",),
    "bagpipes": ("Bagpipes",),
    "bell": ("Bell", "Church bell", "Bicycle bell", "Jingle bell", "Chime", "Wind chime"),
    "car": (
        "Car", "Vehicle horn, car horn, honking", "Car alarm", "Skidding", "Tire squeal",
        "Car passing by", "Race car, auto racing",
    ),
    "truck": ("Truck", "Air brake", "Reversing beeps", "Ice cream truck, ice cream van"),
    "bus": ("Bus",),
    "emergency vehicle": (
        "Emergency vehicle", "Police car (siren)", "Ambulance (siren)",
        "Fire engine, fire truck (siren)", "Siren",
    ),
    "motorcycle": ("Motorcycle",),
    "bicycle": ("Bicycle",),
    "skateboard": ("Skateboard",),
    "train": (
        "Train", "Train whistle", "Train horn", "Railroad car, train wagon",
        "Subway, metro, underground",
    ),
    "airplane": ("Aircraft", "Fixed-wing aircraft, airplane", "Jet engine", "Propeller, airscrew"),
    "helicopter": ("Helicopter",),
    "boat": (
        "Boat, Water vehicle", "Motorboat, speedboat", "Ship", "Sailboat, sailing ship",
        "Rowboat, canoe, kayak",
    ),
    "lawn mower": ("Lawn mower",),
    "chainsaw": ("Chainsaw",),
    "power drill": ("Drill", "Power tool"),
    "saw": ("Sawing",),
    "hammer": ("Hammer",),
    "vacuum cleaner": ("Vacuum cleaner",),
    "blender": ("Blender",),
    "hair dryer": ("Hair dryer",),
    "electric shaver": ("Electric shaver, electric razor",),
    "washing machine": ("Washing machine",),
    "sewing machine": ("Sewing machine",),
    "keyboard": ("Computer keyboard", "Typing", "Typewriter"),
    "telephone": ("Telephone", "Telephone bell ringing", "Ringtone"),
    "alarm clock": ("Alarm clock", "Clock", "Tick-tock", "Tick"),
    "gun": ("Gunshot, gunfire", "Machine gun", "Fusillade", "Cap gun"),
    "fireworks": ("Fireworks", "Firecracker"),
    "fire": ("Fire", "Crackle"),
    "water tap": ("Water tap, faucet", "Sink (filling or washing)"),
    "waterfall": ("Waterfall",),
    "ball": ("Basketball bounce",),
    "door": ("Door", "Doorbell", "Sliding door", "Slam", "Knock"),
}  # fmt: skip
"""Nouns by which a detector of pictures finds a thing, and labels of AudioSet that name its sound.

Labels of scenes, music as a whole and what is not seen (wind, silence, echo) are left out."""


def words_of(names: Sequence[str] | None) -> dict[str, tuple[str, ...]]:
    """Return names with the labels of AudioSet that mean them; None for all of `VISIBLE`.

    Example:
        >>> words_of(["goat", "robot"])
        {'goat': ('Goat', 'Bleat'), 'robot': ()}
    """
    return dict(VISIBLE) if names is None else {name: VISIBLE.get(name, ()) for name in names}


def columns_of(words: Words | None, labels: Sequence[str], model_id: str) -> dict[str, list[int]]:
    """Return the columns of a detector with fixed labels that mean each of some names.

    Args:
        words: As for `Detector.activity`; None for all labels.
        labels: The names of its columns.
        model_id: For messages.

    Returns:
        Columns by name. Names whose own labels the detector lacks are left out.

    Raises:
        ControlPointError: If a name without labels of its own matches no label.

    Example:
        >>> columns_of({"dog": ("Bark", "Yip"), "cat": ("Meow",)}, ["Hum", "Bark"], "model")
        {'dog': [1]}
        >>> columns_of(["a violin"], ["Cello", "Violin, fiddle, a bow"], "model")
        {'a violin': [1]}
    """
    if not words:
        return {label: [n] for n, label in enumerate(labels)}
    places = {label: n for n, label in enumerate(labels)}
    meant = words if isinstance(words, Mapping) else dict.fromkeys(words, ())
    columns = {
        name: [places[label] for label in own if label in places]
        if own
        else _matching(name, labels, model_id)
        for name, own in meant.items()
    }
    return {name: found for name, found in columns.items() if found}


def _matching(name: str, labels: Sequence[str], model_id: str) -> list[int]:
    """Return the labels with all words of a name: "dog" matches "Dog" and "Dog bark"."""
    exact = [n for n, label in enumerate(labels) if label.lower() == name.lower()]
    wanted = _letters(name)
    found = exact or [n for n, label in enumerate(labels) if wanted and wanted <= _letters(label)]
    if not found:
        raise ControlPointError(
            f"The category {name!r} matches none of the {len(labels)} labels of {model_id} "
            f"({', '.join(labels[:8])} ...). Name one of them, or use a PE-A-Frame model, which "
            "takes any words."
        )
    return found


def _letters(text: str) -> set[str]:
    letters = "".join(c if c.isalnum() else " " for c in text.lower())
    return set(letters.split())
