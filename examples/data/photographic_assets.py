"""Collect pictures and sounds of a few Debian packages as assets for photographic scenes.

    apt-get download tuxpaint-stamps-default gcompris-qt-data gnome-backgrounds \
        mate-backgrounds plasma-workspace-wallpapers lomiri-wallpapers-16.04
    mkdir packages
    for file in *.deb; do dpkg -x "$file" packages/"${file%%_*}"; done
    python examples/data/photographic_assets.py packages assets

Writes `assets/{train,val,test}/{cutouts,sounds,backgrounds}`, the layout that
`coprop_plugin.world.Assets` reads. Drawings are left out; items that show the same object
(`sheep`, `sheep_lamb`) share a split. The files keep the licences of their packages: read
`/usr/share/doc/PACKAGE/copyright` before you pass on any of them, or anything made of them.
"""

import argparse
import re
import shutil
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from coprop_plugin.errors import DatasetError
from coprop_plugin.world.photographic_assets import read_sound, split_of

STAMPS = "usr/share/tuxpaint/stamps"
KINDS = {
    "animals/birds": "bird",
    "animals/mammals/dogs": "dog",
    "animals/mammals/cats": "cat",
    "animals/mammals/equines": "horse",
    "animals/mammals/bovines": "cattle",
    "animals/mammals/deer": "cattle",
    "animals/mammals/camel": "cattle",
    "animals/mammals": "animal",
    "animals/marsupials": "animal",
    "animals/amphibians": "animal",
    "animals/lizards": "animal",
    "animals/insects": "insect",
    "animals": "animal",
    "vehicles": "vehicle",
    "military/vehicles": "vehicle",
    "hobbies/music": "instrument",
    "people": "person",
    "military/paratrooper": "person",
    "military/fireman": "person",
    "space/spacewalk": "person",
    "food": "thing",
    "household": "thing",
    "hobbies": "thing",
    "plants": "thing",
    "sports": "thing",
    "medical": "thing",
    "space": "thing",
    "seasonal/halloween/grave": "thing",
    "town": "thing",
}
"""Folder of stamps -> kind; the longest match counts."""

DRAWN = re.compile(
    r"cartoon|symbols|roadsigns|plants/trees|plants/(thyme|lavender)|flags|planets|hats/|clothes"
    r"|seasonal/(?!halloween/grave)|toys/"
    r"|naturalforces|body_parts|/(bee|fly|echidna|hedgehog|button|pizza|highlighter|glass|lightbulb"
    r"|key|wrench|tooth|final-roll-call|holly_leaves|liberia-palm|moon_crescent|rugby_goal_posts"
    r"|inukshuk-outline|xmaswreath|birch|sedan_police|bandage_adhesive|syringe|scissors.*|nutcracker"
    r"|mercurythermometer)\.png$",
    re.IGNORECASE,
)
"""Drawings, silhouettes, and objects that are too thin or too translucent."""

GCOMPRIS_SOUNDS = {
    "bird": r"explore_farm_animals/.*(chickens|duck|owl)|memory-sound/.*BirdS",
    "dog": r"explore_farm_animals/.*dog|LRBark",
    "cat": r"explore_farm_animals/.*cat\b",
    "horse": r"explore_farm_animals/.*horse",
    "cattle": r"explore_farm_animals/.*(sheep|cow)",
    "animal": r"explore_farm_animals/.*pig|LRFrogs",
    "instrument": r"/instruments/|explore_world_music|guitar_|gong",
    "vehicle": r"CarEngine|Train_slow",
    "thing": r"Factory_noise|Hits_|Object_falling|Door_|Ring_|Applauses",
}
PHOTOS = re.compile(
    r"explore_monuments/resource/.*webp|images/(monuments|renewable)/|clickgame/resource/sea"
)
BACKGROUNDS = re.compile(
    r"mate/nature/(?!Wood|Aqua)|(Altai|Autumn|BytheWater|ColdRipple|DarkestHour|EveningGlow"
    r"|FallenLeaf|Grey|Kite|Path|OneStandsOut|Canopee|ColorfulCups|SafeLanding|MilkyWay"
    r"|Honeywave|Patak)/contents/images/(1920x1080|2560x1440)"
    r"|(Bridge|Dragonfly|Picture_|Wine|aitzgorri|free|friends|greentock|life|picos|seeding|sunset"
    r"|Kleiber).*\.(jpg|png)$"
)
MAX_SPEECH = 400
"""About how many recordings of speech are copied."""


def embedded_files(archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the bytes of each file in a Qt resource archive (format 2 or later)."""
    blob = archive.read_bytes()
    if blob[:4] != b"qres":
        return
    _, tree, data, names = struct.unpack(">4I", blob[4:20])
    pending = [(0, "")]
    while pending:
        number, folder = pending.pop()
        node = tree + 22 * number
        name_at, flags = struct.unpack(">IH", blob[node : node + 6])
        (length,) = struct.unpack(">H", blob[names + name_at : names + name_at + 2])
        start = names + name_at + 6
        path = f"{folder}/{blob[start : start + 2 * length].decode('utf-16-be')}"
        if flags & 2:
            count, first = struct.unpack(">II", blob[node + 6 : node + 14])
            pending += [(first + n, path if number else "") for n in range(count)]
            continue
        (offset,) = struct.unpack(">I", blob[node + 10 : node + 14])
        (size,) = struct.unpack(">I", blob[data + offset : data + offset + 4])
        content = blob[data + offset + 4 : data + offset + 4 + size]
        if not flags & 4:
            yield path, zlib.decompress(content[4:]) if flags & 1 else content


def kind_of(path: str) -> str | None:
    """Return the kind of a stamp; None if it is left out."""
    if DRAWN.search("/" + path):
        return None
    fitting = [folder for folder in KINDS if path.startswith(folder)]
    return KINDS[max(fitting, key=len)] if fitting else None


def is_audible(sound: Path) -> bool:
    """Return whether a file is not silent: the giraffe's sound is all zeros."""
    try:
        read_sound(sound)
    except DatasetError:
        return False
    return True


def write_stamps(stamps: Path, out: Path) -> None:
    """Copy cut-outs with their own sounds, and speech as the sound of people."""
    for file in sorted(stamps.rglob("*.png")):
        kind = kind_of(str(file.relative_to(stamps)))
        if kind is None or "_mirror" in file.stem:
            continue
        folder = out / split_of(file.stem) / "cutouts" / kind
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).convert("RGBA")
        image.crop(image.getchannel("A").getbbox()).save(folder / f"{file.stem.lower()}.png")
        for sound in (file.with_suffix(".ogg"), file.with_suffix(".wav")):
            if sound.is_file() and is_audible(sound):
                shutil.copy(sound, folder / f"{file.stem.lower()}{sound.suffix}")
    speech = defaultdict(list)
    for file in sorted(stamps.rglob("*_desc_*.ogg")):
        speech[file.stem.rpartition("_desc_")[2]].append(file)
    for language, files in speech.items():
        folder = out / split_of(f"speech {language}") / "sounds" / "person"
        folder.mkdir(parents=True, exist_ok=True)
        share = max(1, len(files) * len(speech) // MAX_SPEECH)
        for file in files[::share]:
            shutil.copy(file, folder / f"{language}_{file.name}")


def write_archives(folder: Path, out: Path) -> None:
    """Copy sounds and photographs of places from the archives of gcompris."""
    for archive in sorted(folder.rglob("*.rcc")):
        for path, content in embedded_files(archive):
            kind = next((k for k, p in GCOMPRIS_SOUNDS.items() if re.search(p, path)), None)
            name = Path(path)
            if name.suffix in (".ogg", ".wav") and kind and "voices" not in path:
                target = out / split_of(name.stem) / "sounds" / kind
            elif name.suffix in (".webp", ".jpg") and PHOTOS.search(path):
                target = out / split_of(name.stem) / "backgrounds"
            else:
                continue
            target.mkdir(parents=True, exist_ok=True)
            (target / name.name).write_bytes(content)


def write_backgrounds(packages: Path, out: Path) -> None:
    """Copy photographic wallpapers, at most 1280 pixels wide."""
    for file in sorted(packages.rglob("*")):
        if not BACKGROUNDS.search(str(file)) or not file.is_file() or "stamps" in str(file):
            continue
        if file.suffix.lower() not in (".jpg", ".png", ".webp"):
            continue
        name = file.parts[-4] if file.parts[-3] == "contents" else file.stem
        folder = out / split_of(name) / "backgrounds"
        folder.mkdir(parents=True, exist_ok=True)
        image = Image.open(file).convert("RGB")
        image.thumbnail((1280, 1280))
        image.save(folder / f"{name.lower()}.jpg", quality=95)


def main() -> None:
    """Collect the files of the packages named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("packages", type=Path, nargs="+", help="folders of unpacked packages")
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    for folder in arguments.packages:
        for stamps in folder.glob(f"**/{STAMPS}"):
            write_stamps(stamps, arguments.out)
        write_archives(folder, arguments.out)
        write_backgrounds(folder, arguments.out)
    for split in ("train", "val", "test"):
        parts = {
            part: sum(1 for f in (arguments.out / split / part).rglob("*") if f.is_file())
            for part in ("cutouts", "sounds", "backgrounds")
        }
        print(split, parts)


if __name__ == "__main__":
    main()
