"""Tests of the training tools: python -m unittest discover -s tools/train_demo"""
import random
import unittest

import torch
from tokenizers import Tokenizer, models, pre_tokenizers

import data
import held_out
import model as demo
import questions
from scenes import Scene, SceneObject, make_scene, mirrored, render
from shared_prefix import answer_logits


def scene_of(*objects):
    return Scene("white", [SceneObject(*o) for o in objects])


def byte_tokenizer():
    """A tokenizer of single bytes, enough for a model with random weights."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<image>"])
    return tokenizer


def random_model(tokenizer, layers):
    torch.manual_seed(0)
    model = demo.build_model(tokenizer, layers).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    return model


class SceneTest(unittest.TestCase):
    def test_a_seed_fixes_scene_and_pixels(self):
        first, second = (render(make_scene(rng), rng, 112) for rng in (random.Random(3), random.Random(3)))
        self.assertTrue((first == second).all())

    def test_mirroring_swaps_columns_and_keeps_reading_order(self):
        scene = mirrored(scene_of((0, "star", "red", "large"), (1, "heart", "blue", "small")))
        self.assertEqual([(o.cell, o.shape) for o in scene.objects], [(1, "heart"), (2, "star")])


class QuestionTest(unittest.TestCase):
    def answers(self, kind, scene, question_part):
        """All answers to questions of a kind that contain a text, over many draws."""
        rng = random.Random(1)
        pairs = [questions.QUESTIONS[kind](rng, scene) for _ in range(3000)]
        found = {answer for question, answer in pairs if question_part in question}
        self.assertTrue(found)
        return found

    def test_a_relation_is_answered_by_the_nearest_object_in_the_row(self):
        scene = scene_of((3, "star", "red", "large"), (4, "heart", "blue", "small"), (5, "cross", "orange", "large"))
        self.assertEqual(self.answers("relation", scene, "right of the red star"), {"a small blue heart"})
        self.assertEqual(self.answers("relation", scene, "left of the red star"), {"nothing"})

    def test_a_relation_skips_empty_cells(self):
        scene = scene_of((1, "star", "red", "large"), (7, "cross", "orange", "large"))
        self.assertEqual(self.answers("relation", scene, "above the orange cross"), {"a red star"})

    def test_several_matches_are_all_named(self):
        scene = scene_of((0, "circle", "red", "large"), (8, "circle", "cyan", "small"))
        self.assertEqual(self.answers("color_of", scene, "color is the circle"), {"red and cyan"})

    def test_what_is_not_there_is_said_so(self):
        scene = scene_of((0, "circle", "red", "large"))
        self.assertEqual(self.answers("color_of", scene, "color is the cat"), {"there is no cat"})

    def test_equal_sizes_have_no_bigger_one(self):
        scene = scene_of((0, "circle", "red", "large"), (8, "star", "cyan", "large"))
        self.assertEqual(self.answers("compare", scene, "Which is bigger"), {"they are the same size"})


class HeldOutTest(unittest.TestCase):
    def test_every_kind_is_asked_about_every_scene(self):
        made = held_out.make(2)
        kinds = [q.kind for q in made.questions if q.image == "scene_0001.png"]
        self.assertEqual(sorted(kinds), sorted([*questions.KINDS, *questions.CAPTION_KINDS, "in_chat"]))


class ModelTest(unittest.TestCase):
    def setUp(self):
        self.tokenizer = byte_tokenizer()
        rng = random.Random(2)
        self.scenes = [make_scene(rng) for _ in range(2)]
        self.images = torch.randn(2, 3, demo.IMAGE_SIZE, demo.IMAGE_SIZE)

    @torch.no_grad()
    def test_shared_prefix_logits_are_those_of_transformers(self):
        model = random_model(self.tokenizer, 2)
        texts = data.TextBatcher(self.tokenizer)
        rows = [texts.row("how?", "a", 0, "where"), texts.row("", "bc", 1, "caption"), texts.row("is it", "no", 1, "where")]
        _, queries = demo.see(model, self.images)
        batch = data.pack(rows)
        got = answer_logits(model, model.language_projection(queries), batch.groups)
        visual = [model.config.image_token_index] * demo.QUERIES
        expected = []
        for row in sorted(rows, key=lambda r: len(r.ids)):
            ids = torch.tensor([visual + row.ids[:-1]])
            logits = model(pixel_values=self.images[row.image:row.image + 1], input_ids=ids,
                           attention_mask=torch.ones_like(ids)).logits
            expected.append(logits[0, demo.QUERIES + row.answer_at - 1:])
        torch.testing.assert_close(got, torch.cat(expected), rtol=1e-4, atol=1e-4)

    @torch.no_grad()
    def test_a_deepened_model_computes_the_same(self):
        shallow = random_model(self.tokenizer, 2)
        deep = demo.build_model(self.tokenizer, 4).eval()
        deep.load_state_dict(demo.deepened(shallow.state_dict(), [0, 0, 1, 1]))
        ids = torch.tensor([[shallow.config.image_token_index] * demo.QUERIES + [demo.EOS, 50, 60]])
        shallow_logits, deep_logits = (
            m(pixel_values=self.images[:1], input_ids=ids, attention_mask=torch.ones_like(ids)).logits
            for m in (shallow, deep))
        torch.testing.assert_close(deep_logits, shallow_logits, rtol=1e-4, atol=1e-4)


if __name__ == "__main__":
    unittest.main()
