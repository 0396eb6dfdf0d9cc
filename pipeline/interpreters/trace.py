"""The interpreter of the flow that writes down which stage needs which."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, cast

from components.section import Digested
from pipeline.config import Config
from pipeline.flow import Outside, flow
from pipeline.interpreters.base import Interpreter, Invocation


@dataclass(frozen=True)
class Node:
    """A stage of the flow.

    Attributes:
        name: with its branch, such as `control.extract`.
        stage: without it.
        after: the stages whose artifacts it is given, and those it may not run beside.
        trains: whether several hosts compute it together.
    """

    name: str
    stage: str
    after: tuple[str, ...]
    trains: bool


@dataclass(frozen=True)
class _Pending(Digested):
    """Stands for an artifact, or for something from outside, that is not known yet."""

    node: str
    digest: str


@dataclass(frozen=True)
class _Tracer(Interpreter):
    nodes: dict[str, Node]
    made_by: dict[str, str] = field(default_factory=dict)
    """The fingerprint of a call, as far as it is known → the first stage with it."""

    def interpret(self, asked: Invocation) -> Any:
        call, name = asked.call, asked.name
        after = [value.node for value in _pending((*asked.args, *asked.kwargs.values()))]
        first = self.made_by.setdefault(call.fingerprint, name)
        if first != name:  # The very same call in another branch: it reuses what that one made.
            after.append(first)
        marks: Any = asked.stage
        if marks.one_at_a_time:
            after += [n.name for n in self.nodes.values() if n.stage == call.stage][-1:]
        self.nodes[name] = Node(name, call.stage, tuple(dict.fromkeys(after)), marks.trains)
        return _Pending(name, call.fingerprint)


def _pending(value: Any) -> Iterator[_Pending]:
    """Those in an argument that other stages make."""
    if isinstance(value, _Pending):
        if value.node:
            yield value
    elif isinstance(value, tuple | list | dict):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _pending(each)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from _pending(tuple(getattr(value, f.name) for f in dataclasses.fields(value)))


def trace(config: Config) -> dict[str, Node]:
    """Every stage that a run with `config` can have, each after those it needs.

    Some runs have fewer: the first one has no blessed model to evaluate.
    """
    outside: Any = Outside(
        **{name: cast(Any, _Pending("", name)) for name in Outside.__dataclass_fields__}
    )
    if config.model.weights == "pretrain":
        outside = replace(outside, pretrained=None)
    nodes: dict[str, Node] = {}
    flow(_Tracer(nodes), config, outside)
    return nodes


def needed_for(name: str, nodes: dict[str, Node]) -> set[str]:
    """The stages that must be done before the one called `name`."""
    found: set[str] = set()
    left = [name]
    while left:
        for before in nodes[left.pop()].after:
            if before not in found:
                found.add(before)
                left.append(before)
    return found
