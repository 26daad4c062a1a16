"""What the suite promises of itself: a test that cannot be made here is skipped, with the reason."""

from pathlib import Path

import pytest
from conftest import impossible
from needs import NotPermitted, NotPossible, without_network


def test_a_missing_tool_fails_where_tools_are_required_and_a_missing_right_never(monkeypatch):
    for required, tool_is_missing in (("0", pytest.skip.Exception), ("1", pytest.fail.Exception)):
        monkeypatch.setenv("REQUIRE_TOOLS", required)
        with pytest.raises(tool_is_missing, match="no tool"):
            impossible(NotPossible("no tool"))
        with pytest.raises(pytest.skip.Exception, match="no right"):
            impossible(NotPermitted("no right"))


def test_where_namespaces_are_forbidden_the_reason_is_handed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotPossible, match="unshare is not installed"):
        without_network()
    unshare = Path(tmp_path / "unshare")
    unshare.write_text("#!/bin/sh\necho 'unshare failed: Operation not permitted' >&2\nexit 1\n")
    unshare.chmod(0o755)
    with pytest.raises(NotPermitted, match="unshare failed: Operation not permitted"):
        without_network()
