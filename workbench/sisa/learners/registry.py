"""The learners by name, from their specs; each one's libraries are imported only where it is used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from workbench.errors import InputError
from workbench.specs import Registry, Settings

if TYPE_CHECKING:  # else imported with what is made: names and settings need none of it
    from workbench.sisa.shard import Learner


class LearnerSettings(Settings):
    """What a learner is given: public values, independent of the data; each is a parameter of `LearnerSpec.make`."""

    def check(self, slices: int) -> None:
        """Raise ValueError where these settings do not fit so many slices."""


@dataclass(frozen=True, kw_only=True)
class LearnerSpec:
    """What the workbench knows of a learner before it is made.

    `label` is what the app calls it; None: the app does not offer it, since it needs settings that the app does not ask for.
    `few_rows` are the defaults that differ where a shard has few rows, as declared.

    `resumes`: a slice goes on from the checkpoint before it; a learner that can't is trained on shards of one slice alone.
    `grows`: each checkpoint begins with the bytes of the one before it, so that the last holds them all.
    `together`: many shards train faster in one call than in one each.
    `private`: training is differentially private and costs the learner's `event`; noise is drawn anew each time, so that no
    model can be replayed. `make` is then also given `subjects`, about how many people a shard has.
    `doubted`: it is another library's by name; whether it is deterministic is seen when it is trained for the first time.
    """

    name: str
    label: str | None
    settings: type[LearnerSettings]
    make: Callable[..., Learner]
    few_rows: Mapping[str, Any] = field(default_factory=dict)
    resumes: bool = True
    grows: bool = False
    together: bool = False
    private: bool = False
    doubted: bool = False
    rank: int = 100

    def __post_init__(self) -> None:
        fields = self.settings.model_fields.keys()
        if self.private != ({"epsilon", "delta"} <= fields) or (self.private and self.resumes):
            raise InputError(
                f"{self.name}: a private learner, and no other, takes epsilon and delta, and it can't resume",
                hint="declare private, resumes and the settings so that they agree",
            )
        if not self.few_rows.keys() <= fields:
            raise InputError(f"{self.name}: few_rows names other fields than its settings", hint="declare them there")

    @property
    def defaults(self) -> dict[str, Any]:
        """What the learner is given where the config does not say; None for what must be given."""
        return {
            name: None if declared.is_required() else declared.default
            for name, declared in self.settings.model_fields.items()
        }


LEARNERS: Registry[LearnerSpec] = Registry("workbench.sisa.learners", what="learner")
