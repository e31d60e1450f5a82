"""The server where another address or more endpoints are asked for."""

import json
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from leffa.app import ui_text
from leffa.inference import LoadedModel
from leffa.photo_to_picture import Weights
from leffa.preprocess.photo import Tools

from .visitor import OF_GRADIO

pytest.importorskip("gradio", reason="needs the extra `app`")
from leffa.app.server import served
from leffa.app.settings import Serving

pytestmark = [pytest.mark.slow, *OF_GRADIO]
SOON = 60  # seconds, on a busy machine


def test_all_networks_are_listened_to_where_that_is_asked_for(
    trained: LoadedModel, weights: Path
) -> None:
    models = {"tryon": [Weights.of(trained, weights)]}
    with served(models, Tools(), Serving(host="0.0.0.0", device="cpu")) as address:
        port = urlsplit(address).port
        with socket.create_connection(("127.0.0.2", port), timeout=SOON):
            pass


def test_the_endpoints_are_tools_where_that_is_asked_for(
    trained: LoadedModel, weights: Path
) -> None:
    pytest.importorskip("mcp", reason="needs gradio[mcp]")
    models = {"tryon": [Weights.of(trained, weights)]}
    with served(models, Tools(), Serving(device="cpu", mcp=True)) as address:

        def call(method: str, **parameters: Any) -> httpx.Response:
            asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}
            accepted = {"Accept": "application/json, text/event-stream"}
            place = f"{address.rstrip('/')}/gradio_api/mcp/"
            return httpx.post(place, json=asked, headers=accepted, timeout=SOON)

        listed = json.loads(call("tools/list").text.partition("data: ")[2])["result"]["tools"]
        (tool,) = listed
        assert tool["name"] == "tryon"
        assert tool["inputSchema"]["required"] == ["person", "reference"]
        assert ui_text.CONSENT in tool["description"]
        remote = {"person": "https://example.org/a.png", "reference": "data:image/png;base64,"}
        refused = call("tools/call", name="tryon", arguments=remote)
        assert refused.status_code == 400
        assert "it is not fetched from an address" in refused.text
