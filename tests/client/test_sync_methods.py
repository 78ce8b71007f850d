"""The signatures of the blocking methods are those of the asyncio API."""

from __future__ import annotations

import ast
import inspect

import pytest

from farhand_client import client, sync_methods


def overloads(module: object, owner: str, method: str) -> list[str]:
    """Return the parameters of each overload in the source: `typing.get_overloads` does not know those of protocols."""
    tree = ast.parse(inspect.getsource(module))  # type: ignore[arg-type]  # it is a module
    (found,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
    return [
        ast.unparse(node.args)
        for node in found.body
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == method and node.decorator_list
    ]


@pytest.mark.parametrize(
    ("blocking", "method"), [("RunMethod", "run"), ("StartMethod", "start"), ("AttachMethod", "attach")]
)
def test_each_combination_of_arguments_is_the_same(blocking: str, method: str) -> None:
    ours = overloads(sync_methods, blocking, "__call__")
    assert ours == overloads(client, "Client", method)
    assert len(ours) >= 2
