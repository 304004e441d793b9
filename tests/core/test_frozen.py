"""Our frozen dataclasses do what the standard library's do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import threading
from dataclasses import FrozenInstanceError, field, replace
from typing import Any

import pytest

from penstock.frozen import Shared, dataclass

EMPTY: dict[str, int] = {}


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, compare=False)
    shared: dict[str, int] = field(default_factory=Shared(EMPTY), repr=False)


@dataclass(frozen=True, slots=True)
class Deeper(Point):
    z: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    name: str
    other: Any = None


@dataclasses.dataclass(frozen=True, slots=True)
class Standard:
    x: int
    y: int = 2
    names: list[str] = field(default_factory=list, compare=False)
    shared: dict[str, int] = field(default_factory=lambda: EMPTY, repr=False)


@dataclass(frozen=True, slots=True)
class Checked:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("below zero")


@dataclass(frozen=True, slots=True)
class Own:
    number: int

    def __repr__(self) -> str:
        return "mine"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Own)

    def __hash__(self) -> int:
        return 7


@dataclass(frozen=True, slots=True)
class Nothing:
    pass


def test_fields_and_defaults_are_those_of_the_standard_library() -> None:
    ours, theirs = Point(1, names=["a"]), Standard(1, names=["a"])
    assert repr(ours) == repr(theirs).replace("Standard", "Point")
    assert dataclasses.astuple(ours) == dataclasses.astuple(theirs)
    assert [f.name for f in dataclasses.fields(Point)] == [f.name for f in dataclasses.fields(Standard)]
    assert Point.__slots__ == Standard.__slots__
    assert Point.__match_args__ == Standard.__match_args__


def test_each_object_gets_a_list_of_its_own_and_shares_what_is_shared() -> None:
    assert Point(1).names is not Point(1).names
    assert Point(1).shared is Point(2).shared is EMPTY


@pytest.mark.parametrize("arguments", [(), (1, 2, [], {}, 5), (1, 2, 3, 4, 5)])
def test_wrong_arguments_are_type_errors(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(TypeError):
        Standard(*arguments)
    with pytest.raises(TypeError):
        Point(*arguments)
    with pytest.raises(TypeError):
        Named("positional")
    with pytest.raises(TypeError, match="strange"):
        Named(name="a", strange=1)


def test_nothing_can_be_set_or_deleted() -> None:
    for thing, name in ((Point(1), "x"), (Deeper(1), "x"), (Deeper(1), "z"), (Named(name="a"), "other")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, 5)
        with pytest.raises(FrozenInstanceError):
            delattr(thing, name)


def test_equal_values_of_one_class_are_equal_and_hash_alike() -> None:
    assert Named(name="a") == Named(name="a", other=None) != Named(name="b")
    assert hash(Named(name="a")) == hash(Named(name="a"))
    assert Point(1, names=["a"]) == Point(1, names=["b"])
    assert Point(1) != Deeper(1)
    assert Point(1) != Standard(1)
    assert Nothing() == Nothing()
    assert hash(Nothing()) == hash(Nothing())
    with pytest.raises(TypeError, match="unhashable"):
        hash(Point(1))  # it holds a dict


def test_a_class_keeps_the_methods_it_defines() -> None:
    assert repr(Own(1)) == "mine"
    assert Own(1) == Own(2)
    assert hash(Own(1)) == 7


def test_they_can_be_replaced_copied_pickled_and_matched() -> None:
    made = Deeper(1, 5, ["a"], z=9)
    assert replace(made, y=6) == Deeper(1, 6, z=9)
    assert copy.deepcopy(made) == pickle.loads(pickle.dumps(made)) == copy.copy(made) == made
    match made:
        case Deeper(x, y=5, z=z):
            assert (x, z) == (1, 9)
        case _:
            pytest.fail("not matched")


def test_what_is_checked_after_construction_is_checked() -> None:
    assert Checked(1).number == 1
    with pytest.raises(ValueError, match="below zero"):
        Checked(-1)


def test_others_may_inherit_in_the_standard_way() -> None:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Theirs(Named):
        more: int = 1

    assert Theirs(name="a", more=3).more == 3
    assert repr(Theirs(name="a")).endswith("Theirs(name='a', other=None, more=1)")


def test_an_object_that_holds_itself_has_a_repr() -> None:
    inside: list[Any] = []
    outer = Named(name="a", other=inside)
    inside.append(outer)
    assert repr(outer) == "Named(name='a', other=[...])"


def test_the_first_objects_may_be_made_by_many_threads_at_once() -> None:
    @dataclass(frozen=True, slots=True)
    class Fresh:
        number: int

    made: list[Any] = []
    start = threading.Barrier(16)

    def make(number: int) -> None:
        start.wait(30)
        made.append(Fresh(number))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(each.number for each in made) == list(range(16))


def test_what_is_not_supported_is_said_when_the_class_is_made() -> None:
    for given in ({"init": False, "default": 1}, {"hash": False}):
        with pytest.raises(TypeError, match="number: use"):

            @dataclass(frozen=True, slots=True)
            class Unsupported:
                number: int = field(**given)


def test_what_is_not_frozen_with_slots_is_the_standard_librarys() -> None:
    @dataclass(slots=True)
    class Open:
        number: int

    @dataclass(frozen=True)
    class Roomy:
        number: int

    made = Open(1)
    made.number = 2
    assert repr(made).endswith("Open(number=2)")
    assert not hasattr(made, "__dict__")
    assert Roomy(1).__dict__ == {"number": 1}
    with pytest.raises(FrozenInstanceError):
        Roomy(1).number = 2
