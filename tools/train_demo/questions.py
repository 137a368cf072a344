"""Questions about a scene, their true answers, captions, and the prompts in which people put them.

Every kind of question is one function `(rng, scene) -> (question, answer)`, registered in `QUESTIONS`.
"""
import random
from dataclasses import dataclass

from scenes import BACKGROUND_NAMES, COLOR_NAMES, SHAPES, SIZES, Scene, SceneObject

# Where a cell is, as the model says it (reading order) ...
PLACES = ["in the top left", "at the top", "in the top right",
          "on the left", "in the center", "on the right",
          "in the bottom left", "at the bottom", "in the bottom right"]
# ... and how a person may say it.
PLACE_WORDINGS = [
    ["in the top left", "in the top left corner", "at the top left", "in the upper left", "in the upper left corner"],
    ["at the top", "in the top center", "at the top center", "in the top middle", "at the top middle"],
    ["in the top right", "in the top right corner", "at the top right", "in the upper right",
     "in the upper right corner"],
    ["on the left", "on the left side", "in the middle left", "in the center left", "at the left"],
    ["in the center", "in the middle", "at the center", "in the centre", "in the middle of the image"],
    ["on the right", "on the right side", "in the middle right", "in the center right", "at the right"],
    ["in the bottom left", "in the bottom left corner", "at the bottom left", "in the lower left",
     "in the lower left corner"],
    ["at the bottom", "in the bottom center", "at the bottom center", "in the bottom middle", "at the bottom middle"],
    ["in the bottom right", "in the bottom right corner", "at the bottom right", "in the lower right",
     "in the lower right corner"],
]
# Never in a scene: the true answers are "no", "0" and "there is no ...".
FOREIGN_NOUNS = ["diamond", "hexagon", "cat", "dog", "car", "person", "tree", "house", "ball", "flower", "bird", "face"]
FOREIGN_COLORS = ["black", "white", "gray", "brown"]
GENERIC_NOUNS = ["shape", "shape", "object", "thing"]
RELATIONS = {  # row step, column step, wordings
    "left": (0, -1, ["to the left of", "on the left of", "left of"]),
    "right": (0, 1, ["to the right of", "on the right of", "right of"]),
    "above": (-1, 0, ["above", "directly above", "over"]),
    "below": (1, 0, ["below", "directly below", "under"]),
}


def noun_phrase(o: SceneObject) -> str:
    """An object as captions name it: "a small red star"; large goes unsaid."""
    if o.size == "small":
        return f"a small {o.color} {o.shape}"
    return with_article(f"{o.color} {o.shape}")


def with_article(text):
    return ("an " if text[0] in "aeiou" else "a ") + text


def plural(noun):
    if noun == "person":
        return "people"
    return noun + "es" if noun.endswith(("cross", "x", "s")) else noun + "s"


def enumerate_parts(parts):
    """"a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def caption(scene: Scene) -> str:
    return enumerate_parts([f"{noun_phrase(o)} {PLACES[o.cell]}" for o in scene.objects])


def description(scene: Scene) -> str:
    count = len(scene.objects)
    head = "There is 1 shape" if count == 1 else f"There are {count} shapes"
    return f"{head} on a {scene.background} background: {caption(scene)}."


@dataclass(slots=True)
class Reference:
    """A referring expression: optional size, optional colour, and a shape or else a generic noun."""

    size: str | None = None
    color: str | None = None
    shape: str | None = None

    def matches(self, scene: Scene) -> list[SceneObject]:
        return [o for o in scene.objects
                if self.size in (None, o.size) and self.color in (None, o.color) and self.shape in (None, o.shape)]

    def text(self, noun="shape"):
        return " ".join(word for word in (self.size, self.color, self.shape or noun) if word)

    def absent(self):
        return "there is no " + self.text()


def _reference(rng, scene, forms):
    """A reference that mostly fits an object, sometimes nearly, and is sometimes foreign to all scenes.

    A form names the attributes used: z size, c colour, s shape.
    """
    form = rng.choice(forms)
    o, u = rng.choice(scene.objects), rng.random()
    size, color, shape = o.size, o.color, o.shape
    if u > 0.80:
        changed = rng.choice(form)
        if changed == "c":
            color = rng.choice(COLOR_NAMES)
        elif changed == "s":
            shape = rng.choice(SHAPES)
        else:
            size = rng.choice(SIZES)
    elif u > 0.765 and "s" in form:
        shape = rng.choice(FOREIGN_NOUNS)
    elif u > 0.75 and "c" in form:
        color = rng.choice(FOREIGN_COLORS)
    return Reference(size if "z" in form else None, color if "c" in form else None, shape if "s" in form else None)


def _unambiguous_reference(rng, scene, forms=("cs", "cs", "cs", "s", "zs", "c")):
    """A reference with one match or none."""
    for _ in range(8):
        reference = _reference(rng, scene, forms)
        if len(reference.matches(scene)) <= 1:
            return reference
    return Reference(color=rng.choice(COLOR_NAMES), shape="hexagon")


def _cell(rng, scene, any_share=0.2):
    """A cell: an occupied one, or with the probability `any_share` any of the nine."""
    return rng.randrange(9) if rng.random() < any_share else rng.choice(scene.objects).cell


def _distinct(values):
    return list(dict.fromkeys(values))


def color_of(rng, scene):
    reference = _reference(rng, scene, ("s", "s", "s", "zs"))
    question = rng.choice(["What color is the {}?", "What is the color of the {}?", "Which color is the {}?",
                           "What color does the {} have?", "Tell me the color of the {}."]).format(reference.text())
    colors = _distinct(o.color for o in reference.matches(scene))
    return question, enumerate_parts(colors) if colors else reference.absent()


def color_at(rng, scene):
    cell = _cell(rng, scene)
    noun = rng.choice(GENERIC_NOUNS)
    wording = rng.choice(["What color is the {} {}?", "What is the color of the {} {}?", "Which color is the {} {}?"])
    o = scene.at(cell)
    return wording.format(noun, rng.choice(PLACE_WORDINGS[cell])), o.color if o else "nothing"


def shape_at(rng, scene):
    cell = _cell(rng, scene)
    wording = rng.choice(["What shape is {}?", "Which shape is {}?", "What kind of shape is {}?",
                          "What shape is the object {}?", "What shape do you see {}?"])
    o = scene.at(cell)
    return wording.format(rng.choice(PLACE_WORDINGS[cell])), o.shape if o else "nothing"


def what_at(rng, scene):
    cell = _cell(rng, scene)
    wording = rng.choice(["What is {}?", "What is there {}?", "What do you see {}?", "What can be seen {}?",
                          "What object is {}?", "What's {}?"])
    o = scene.at(cell)
    return wording.format(rng.choice(PLACE_WORDINGS[cell])), noun_phrase(o) if o else "nothing"


def shape_of(rng, scene):
    reference = _reference(rng, scene, ("c", "c", "c", "zc"))
    noun = rng.choice(["object", "thing", "shape"])
    question = rng.choice(["What shape is the {}?", "Which shape is the {}?", "What is the {}?",
                           "What is the shape of the {}?", "What shape does the {} have?"]).format(reference.text(noun))
    shapes = _distinct(o.shape for o in reference.matches(scene))
    return question, enumerate_parts(shapes) if shapes else reference.absent()


def size_of(rng, scene):
    reference = _unambiguous_reference(rng, scene, ("cs", "cs", "s", "c"))
    question = rng.choice(["What size is the {}?", "How big is the {}?", "Is the {} small or large?",
                           "What is the size of the {}?", "How large is the {}?",
                           "Is the {} big or small?"]).format(reference.text())
    found = reference.matches(scene)
    return question, found[0].size if found else reference.absent()


def where(rng, scene):
    reference = _reference(rng, scene, ("cs", "cs", "s", "c", "zs"))
    question = rng.choice(["Where is the {}?", "Where is the {} located?", "In which position is the {}?",
                           "Where can I find the {}?", "Where do you see the {}?", "What is the position of the {}?"])
    question = question.format(reference.text(rng.choice(GENERIC_NOUNS)))
    places = [PLACES[o.cell] for o in reference.matches(scene)]
    return question, enumerate_parts(places) if places else reference.absent()


def _how_many(rng, plural_text):
    return rng.choice(["How many {} are there?", "How many {} are in the image?", "How many {} do you see?",
                       "How many {} can you see?", "What is the number of {}?", "Count the {}.",
                       "How many {} are there in the picture?"]).format(plural_text)


def count_all(rng, scene):
    return _how_many(rng, rng.choice(["shapes", "shapes", "objects", "things"])), str(len(scene.objects))


def count_some(rng, scene):
    reference = _reference(rng, scene, ("c", "c", "s", "s", "cs", "z"))
    *qualifiers, noun = reference.text(rng.choice(GENERIC_NOUNS)).split()
    return _how_many(rng, " ".join([*qualifiers, plural(noun)])), str(len(reference.matches(scene)))


def _near_miss(rng, scene, reference):
    """Changes the colour or the shape of a matching reference, in place, until nothing matches (six tries)."""
    for _ in range(6):
        if reference.color and (not reference.shape or rng.random() < 0.5):
            reference.color = rng.choice(COLOR_NAMES)
        elif reference.shape:
            reference.shape = rng.choice(SHAPES)
        if not reference.matches(scene):
            return


def exists(rng, scene):
    reference = _reference(rng, scene, ("cs", "cs", "cs", "s", "c", "zs"))
    if rng.random() < 0.42 and reference.matches(scene):  # about half of the answers are to be "no"
        _near_miss(rng, scene, reference)
    text = reference.text(rng.choice(GENERIC_NOUNS))
    *qualifiers, noun = text.split()
    question = rng.choice(["Is there {one}?", "Is there {one} in the image?", "Do you see {one}?", "Can you see {one}?",
                           "Are there any {many}?", "Does the image contain {one}?", "Is {one} in the picture?"])
    question = question.format(one=with_article(text), many=" ".join([*qualifiers, plural(noun)]))
    return question, "yes" if reference.matches(scene) else "no"


def exists_at(rng, scene):
    cell = _cell(rng, scene, any_share=0.6)
    wording = rng.choice(["Is there a shape {}?", "Is there an object {}?", "Is there anything {}?",
                          "Is there something {}?", "Do you see anything {}?"])
    return wording.format(rng.choice(PLACE_WORDINGS[cell])), "yes" if scene.at(cell) else "no"


def is_color(rng, scene):
    reference = _unambiguous_reference(rng, scene, ("s", "s", "zs"))
    found = reference.matches(scene)
    color = found[0].color if found and rng.random() < 0.5 else rng.choice(COLOR_NAMES)
    wording = rng.choice(["Is the {} {}?", "Is the color of the {} {}?", "Does the {} look {}?"])
    answer = ("yes" if found[0].color == color else "no") if found else reference.absent()
    return wording.format(reference.text(), color), answer


def _neighbour(scene, cell, row_step, column_step):
    """The nearest object from a cell along a row or a column, or None."""
    row, column = cell // 3 + row_step, cell % 3 + column_step
    while 0 <= row < 3 and 0 <= column < 3:
        if o := scene.at(row * 3 + column):
            return o
        row, column = row + row_step, column + column_step
    return None


def relation(rng, scene):
    """What is the nearest object left or right of (in its row), above or below (in its column) another?"""
    for _ in range(6):  # most questions are to have an object as their answer
        reference = _unambiguous_reference(rng, scene)
        row_step, column_step, wordings = RELATIONS[rng.choice(list(RELATIONS))]
        anchors = reference.matches(scene)
        found = _neighbour(scene, anchors[0].cell, row_step, column_step) if anchors else None
        if found or rng.random() < (0.15 if anchors else 0.25):
            break
    question = rng.choice(["What is {} the {}?", "What is there {} the {}?", "Which shape is {} the {}?",
                           "What do you see {} the {}?", "What object is {} the {}?"])
    question = question.format(rng.choice(wordings), reference.text())
    if not anchors:
        return question, reference.absent()
    return question, noun_phrase(found) if found else "nothing"


def compare(rng, scene):
    """Which of two objects is bigger? Scenes without two unambiguous objects get a `size_of` question."""
    unique = [o for o in scene.objects if len(Reference(color=o.color, shape=o.shape).matches(scene)) == 1]
    if len(unique) < 2:
        return size_of(rng, scene)
    a, b = rng.sample(unique, 2)
    if a.size == b.size and rng.random() < 0.4:
        a, b = rng.sample(unique, 2)
    text_a, text_b = f"{a.color} {a.shape}", f"{b.color} {b.shape}"
    bigger = rng.random() < 0.5
    a_has_it = a.size != b.size and (a.size == "large") == bigger
    if rng.random() < 0.6:
        question = rng.choice(["Which is {}, the {} or the {}?", "Which one is {}, the {} or the {}?",
                               "What is {}, the {} or the {}?"])
        question = question.format(rng.choice(["bigger", "larger"]) if bigger else "smaller", text_a, text_b)
        return question, "they are the same size" if a.size == b.size else "the " + (text_a if a_has_it else text_b)
    adjective = rng.choice(["bigger", "larger"]) if bigger else "smaller"
    return f"Is the {text_a} {adjective} than the {text_b}?", "yes" if a_has_it else "no"


def background(rng, scene):
    if rng.random() < 0.4:
        named = scene.background if rng.random() < 0.5 else rng.choice(BACKGROUND_NAMES + ["red", "blue", "green"])
        wording = rng.choice(["Is the background {}?", "Is the color of the background {}?"])
        return wording.format(named), "yes" if named == scene.background else "no"
    return rng.choice(["What color is the background?", "What is the background color?",
                       "Which color is the background?", "What is the color of the background?",
                       "What color does the background have?"]), scene.background


QUESTIONS = {f.__name__: f for f in (
    color_of, color_at, shape_at, what_at, shape_of, size_of, where, count_all, count_some, exists, exists_at,
    is_color, relation, compare, background)}
KINDS = list(QUESTIONS)
CAPTION_KINDS = ["caption", "photo_of", "describe"]
DESCRIBE = ["Describe the image.", "Describe this image.", "Describe the picture.", "Describe the image in detail.",
            "What is in the image?", "What can you see in the image?", "What do you see?"]
PHOTO_OF = ["a photo of", "an image of", "a picture of", "this is a picture of", "a drawing of"]


def as_prompt(rng, question):
    """The prompt as people type it: mostly "Question: ... Answer:", one in five times the bare question."""
    u = rng.random()
    if u < 0.35:
        question = question[0].lower() + question[1:]
    if 0.30 < u < 0.40 and question[-1] in "?.":
        question = question[:-1]
    if rng.random() < 0.12:
        question = question.replace("color", "colour").replace("center", "centre")
    return question if rng.random() < 0.2 else f"Question: {question} Answer:"


def ask(rng: random.Random, scene: Scene, kind: str) -> tuple[str, str]:
    """(prompt, answer) of one question of a kind."""
    question, answer = QUESTIONS[kind](rng, scene)
    return as_prompt(rng, question), answer


def ask_caption(rng: random.Random, scene: Scene) -> tuple[str, str, str]:
    """(kind, prompt, answer) of a caption without a prompt, one with a beginning given, or a description."""
    u = rng.random()
    if u < 0.45:
        return "caption", "", caption(scene)
    if u < 0.70:
        return "photo_of", rng.choice(PHOTO_OF), caption(scene)
    request = rng.choice(DESCRIBE)
    return "describe", request if rng.random() < 0.4 else f"Question: {request} Answer:", description(scene)


def ask_in_chat(rng: random.Random, scene: Scene, earlier: list[str], kind: str) -> tuple[str, str]:
    """(prompt, answer) of a question that follows answered ones of the kinds `earlier`."""
    end = rng.choice([" ", ". "])
    turns = [QUESTIONS[k](rng, scene) for k in earlier]
    question, answer = QUESTIONS[kind](rng, scene)
    asked = "".join(f"Question: {q} Answer: {a}{end}" for q, a in turns)
    return f"{asked}Question: {question} Answer:", answer
