"""Descriptions of fields: a JSON schema shows the docstrings, though no class pays for reading them."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, create_model

from workbench.described import Described


class Colour(BaseModel):
    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str = "red"
    """What it is called:
    one word.
    """
    depth: int = 8
    shade: float = Field(default=0.5, description="From its field.")
    """From below."""
    kin: list[Colour] | None = None
    """Colours beside it."""


def test_the_json_schema_is_what_pydantic_makes_of_the_docstrings() -> None:
    theirs = Colour.model_json_schema()

    class Colour_(Described):  # noqa: N801
        name: str = "red"
        """What it is called:
        one word.
        """
        depth: int = 8
        shade: float = Field(default=0.5, description="From its field.")
        """From below."""
        kin: list[Colour_] | None = None
        """Colours beside it."""

    ours = Colour_.model_json_schema()
    assert str(ours).replace("Colour_", "Colour") == str(theirs)


def test_fields_of_a_parent_keep_their_descriptions() -> None:
    class Parent(Described):
        a: int = 0
        """A's."""
        b: int = 0
        """B's."""

    class Child(Parent):
        b: int = 1
        """B's of the child."""

    shown = Child.model_json_schema()["properties"]
    assert {name: field["description"] for name, field in shown.items()} == {"a": "A's.", "b": "B's of the child."}


def test_a_model_without_source_has_no_descriptions() -> None:
    made = create_model("Made", __base__=Described, a=(int, 0))
    assert "description" not in made.model_json_schema()["properties"]["a"]
