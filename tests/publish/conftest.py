import warnings

import pytest
from hubserver import serving
from hubstate import WRITER


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub of our own, which the real client talks to here and in processes that we start."""
    from huggingface_hub import constants

    # The client's own way to hand a file to its HTTP library
    warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
    with serving(tmp_path) as running:
        monkeypatch.setenv("HF_ENDPOINT", running.url)
        monkeypatch.setenv("HF_TOKEN", WRITER)
        monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
        monkeypatch.setenv("HF_HUB_DISABLE_XET", "1")
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf/hub"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield running


@pytest.fixture(scope="session")
def smoke_runs(tmp_path_factory):
    """A store with one finished run of the smoke recipe."""
    import tracecraft as tc
    from places import ROOT

    store = tmp_path_factory.mktemp("smoke") / "runs"
    tc.run(tc.plan(tc.load_recipe(ROOT / "recipes/smoke.yaml"), store))
    return store
